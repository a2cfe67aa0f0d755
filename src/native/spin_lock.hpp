// A lock for the control path: half a pthread mutex's price when it is free, which is nearly
// always. Who waits long gives the processor away, and sleeps in the end. Never taken by devices.
#pragma once

#include <atomic>
#include <cassert>
#include <cstdint>

namespace pinfold::native {

// Who may be here at once: many threads, or one at a time by their own arrangement.
enum class Writers : std::uint8_t { many, one };

// One step of waiting for another thread: at first a pause of the processor, then a yield, then
// 50 us of sleep. `steps` counts them.
void wait_a_little(unsigned& steps);

class SpinLock {
public:
    explicit SpinLock(Writers writers = Writers::many) : writers_{writers} {}

    // Of one writer it costs no locked instruction; that there is another is a bug of the program,
    // and nearly always noticed where assertions are.
    void lock()
    {
        if (writers_ == Writers::one) {
            assert(!taken_.load(std::memory_order_relaxed));
            taken_.store(true, std::memory_order_relaxed);
            return;
        }
        for (unsigned steps = 0; taken_.exchange(true, std::memory_order_acquire);)
            while (taken_.load(std::memory_order_relaxed)) wait_a_little(steps);
    }
    void unlock() { taken_.store(false, std::memory_order_release); }

private:
    std::atomic<bool> taken_{false};
    Writers const writers_;
};

}  // namespace pinfold::native
