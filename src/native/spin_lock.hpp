// A lock for the control path: half a pthread mutex's price when it is free, which is nearly
// always. Who waits long gives the processor away, and sleeps in the end. Never taken by devices.
#pragma once

#include <atomic>

namespace pinfold::native {

// One step of waiting for another thread: at first a pause of the processor, then a yield, then
// 50 us of sleep. `steps` counts them.
void wait_a_little(unsigned& steps);

class SpinLock {
public:
    void lock()
    {
        for (unsigned steps = 0; taken_.exchange(true, std::memory_order_acquire);)
            while (taken_.load(std::memory_order_relaxed)) wait_a_little(steps);
    }
    void unlock() { taken_.store(false, std::memory_order_release); }

private:
    std::atomic<bool> taken_{false};
};

}  // namespace pinfold::native
