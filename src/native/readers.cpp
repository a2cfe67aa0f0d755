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

bool has_membarrier()
{
    static bool const registered = membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
    return registered;
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
    if (reading == Reading::sections && !has_membarrier()) reading = Reading::fenced;
    Reader& reader = readers_.emplace_back();
    reader.epoch_ = &epoch_;
    reader.reading_ = reading;
    if (reading == Reading::sections) ++plain_;
    if (reading == Reading::polling) reader.enter();
    return &reader;
} catch (std::bad_alloc const&) {
    return fail(Errno::nomem);
}

void Readers::remove(Reader* reader)
{
    if (reader->reading_ == Reading::sections) --plain_;
    readers_.remove_if([&](Reader const& each) { return &each == reader; });
}

// What the writer took away is gone for whoever reads the new time; who has an older one, or none
// yet but has looked already, is made to show it by the barrier.
void Readers::wait_for_all(Reader const* self)
{
    std::uint64_t const now = epoch_.fetch_add(1, std::memory_order_seq_cst) + 1;
    if (plain_ != 0) (void)membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
    for (Reader const& reader : readers_) {
        if (&reader == self) continue;
        for (unsigned steps = 0;;) {
            std::uint64_t const seen = reader.seen_.load(std::memory_order_seq_cst);
            if (seen == 0 || seen >= now) break;
            wait_a_little(steps);
        }
    }
}

}  // namespace pinfold::native
