// The lock of one function. A device that does DMA holds its own, and another's memory is behind
// that one's; so whoever comes as a device waits for a while only, as a bus does before it gives a
// read up for lost (its completion timeout).
#pragma once

#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>

namespace pinfold::pci {

class PatientMutex {
public:
    void lock()
    {
        mutex_.lock();
        owner_.store(std::this_thread::get_id(), std::memory_order_relaxed);
    }
    void unlock()
    {
        owner_.store({}, std::memory_order_relaxed);
        mutex_.unlock();
    }
    // False: this thread has it already, or another has had it for 50 ms.
    bool lock_as_a_device()
    {
        auto const self = std::this_thread::get_id();
        if (owner_.load(std::memory_order_relaxed) == self) return false;
        if (!mutex_.try_lock_for(std::chrono::milliseconds{50})) return false;
        owner_.store(self, std::memory_order_relaxed);
        return true;
    }

private:
    std::timed_mutex mutex_;
    std::atomic<std::thread::id> owner_;
};

}  // namespace pinfold::pci
