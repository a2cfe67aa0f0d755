#include "native/readers.hpp"

#include <linux/membarrier.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <new>

#include "native/spin_lock.hpp"

namespace pinfold::native {
namespace {

bool membarrier(int command) { return ::syscall(SYS_membarrier, command, 0, 0) == 0; }

std::atomic<bool>& has_membarrier()
{
    static std::atomic<bool> has{membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED)};
    return has;
}

void pause_processor()
{
#ifdef __x86_64__
    __builtin_ia32_pause();
#endif
}

}  // namespace

void wait_a_little(unsigned& steps)
{
    constexpr unsigned kPauses = 2000;
    constexpr unsigned kYields = 200;
    if (steps < kPauses) {
        pause_processor();
    } else if (steps < kPauses + kYields) {
        (void)::sched_yield();
    } else {
        timespec const nap{.tv_sec = 0, .tv_nsec = 50'000};
        (void)::nanosleep(&nap, nullptr);
        return;
    }
    ++steps;
}

Result<Readers::Reader*> Readers::add(Reading reading)
try {
    if (reading == Reading::sections && !has_membarrier().load()) reading = Reading::fenced;
    Reader& reader = readers_.emplace_back();
    reader.epoch_ = &epoch_;
    reader.reading_ = reading;
    reader.plain_ = reading == Reading::sections;
    if (reading == Reading::polling) reader.enter();
    return &reader;
} catch (std::bad_alloc const&) {
    return fail(Errno::nomem);
}

void Readers::remove(Reader* reader)
{
    readers_.remove_if([&](Reader const& each) { return &each == reader; });
}

// Whether each reader with plain sections has shown the new time, which says all that is to be
// known of it. Of one that is idle for long that is asked for the last time: it fences when it
// comes back, and knows of it when there has been a barrier.
bool Readers::all_plain_show(std::uint64_t now, Reader const* self)
{
    constexpr unsigned kLong = 3;
    unsigned pauses = 0;
    bool all = true;
    for (Reader& reader : readers_) {
        if (&reader == self || !reader.plain_.load(std::memory_order_seq_cst)) continue;
        bool const idle = reader.seen_.load(std::memory_order_acquire) < now - kTick;
        reader.idle_ = idle ? reader.idle_ + 1 : 0;
        if (reader.idle_ == kLong) {
            reader.idle_ = 0;
            reader.plain_.store(false, std::memory_order_seq_cst);
        }
        all = all && !idle && shows(reader, now, pauses);
    }
    return all;
}

// One that was inside since the last wait gets the time for another section or two.
bool Readers::shows(Reader& reader, std::uint64_t now, unsigned& pauses)
{
    constexpr unsigned kPauses = 64;
    for (; reader.seen_.load(std::memory_order_acquire) < now; ++pauses) {
        if (pauses == kPauses) return false;
        pause_processor();
    }
    return true;
}

// Makes every thread with plain sections execute a fence.
void Readers::fence_everywhere()
{
    if (membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED)) return;
    // A filter took the call away from us in mid-run. Readers fence from now on; a store that is
    // under way leaves its processor within microseconds.
    has_membarrier().store(false);
    for (Reader& reader : readers_)
        if (reader.reading() == Reading::sections) {
            reader.reading_.store(Reading::fenced);
            reader.plain_.store(false);
        }
    timespec const ample{.tv_sec = 0, .tv_nsec = 1'000'000};
    (void)::nanosleep(&ample, nullptr);
}

// What the writer took away is gone for whoever has read the new time. Who has an older one, or may
// have looked already without showing it, is made to show it by the barrier.
void Readers::wait_for_all(Reader const* self)
{
    std::uint64_t const now = epoch_.fetch_add(kTick, std::memory_order_seq_cst) + kTick;
    if (!all_plain_show(now, self)) fence_everywhere();
    for (Reader const& reader : readers_) {
        if (&reader == self) continue;
        for (unsigned steps = 0;;) {
            std::uint64_t const seen = reader.seen_.load(std::memory_order_seq_cst);
            if ((seen & kInside) == 0 || seen >= now) break;
            wait_a_little(steps);
        }
    }
}

}  // namespace pinfold::native
