// A moment at which nobody is amid a change of what a fork is to copy whole: the machine, when a
// child is to go on with it. Whoever changes it from outside is Busy meanwhile; a Standstill waits
// until nobody is, and holds newcomers up as long as it lasts.
//
// Being Busy costs a thread two plain stores and a load; it may be nested, and is async-signal-safe
// where ReadSection is. A thread that has a Standstill passes through it.
#pragma once

#include <chrono>
#include <optional>
#include <utility>

#include "base/read_section.hpp"

namespace pinfold {

namespace readers {

extern constinit std::atomic<Reader const*> still_for;  // whose Standstill there is; nullptr
// Until there is no Standstill; the thread is busy then.
void pass_standstill();
// In place of busy, for a thread that is not known.
void enter_uncounted();
void leave_uncounted();

}  // namespace readers

class Busy {
public:
    Busy() : self_{readers::self}
    {
        if (!self_.known && !readers::join()) [[unlikely]] {
            readers::enter_uncounted();
            uncounted_ = true;
            return;
        }
        unsigned const before = self_.busy.load(std::memory_order_relaxed);
        self_.busy.store(before + 1, std::memory_order_relaxed);
        // The fence that belongs here is brought by the one who waits, as for a ReadSection.
        std::atomic_signal_fence(std::memory_order_seq_cst);
        if ((readers::epoch.load(std::memory_order_relaxed) & readers::kFenced) != 0) [[unlikely]]
            std::atomic_thread_fence(std::memory_order_seq_cst);
        if (before == 0 && readers::still_for.load(std::memory_order_acquire) != nullptr)
            [[unlikely]]
            readers::pass_standstill();
    }
    ~Busy()
    {
        if (uncounted_) [[unlikely]]
            readers::leave_uncounted();
        else
            self_.busy.store(self_.busy.load(std::memory_order_relaxed) - 1,
                             std::memory_order_release);
    }
    Busy(Busy const&) = delete;
    Busy& operator=(Busy const&) = delete;

private:
    readers::Reader& self_;
    bool uncounted_ = false;
};

// Belongs to the thread that made it; in a child that this thread forks, to the child's thread.
class Standstill {
public:
    // nullopt: another thread has one, or somebody was busy for all of `patience`. REQUIRES: the
    // calling thread is not Busy.
    static std::optional<Standstill> reach(std::chrono::milliseconds patience);
    // Whether the calling thread has it.
    static bool mine()
    {
        return readers::still_for.load(std::memory_order_relaxed) == &readers::self;
    }
    Standstill(Standstill&& other) noexcept : has_{std::exchange(other.has_, false)} {}
    Standstill& operator=(Standstill&&) = delete;
    ~Standstill();

private:
    Standstill() = default;
    bool has_ = true;
};

}  // namespace pinfold
