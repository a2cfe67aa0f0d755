#include "base/standstill.hpp"

#include <time.h>

namespace pinfold {
namespace {

// Sections of threads that are not known, and so cannot be told from one another.
constinit std::atomic<unsigned> uncounted{0};

void wait_a_moment()
{
    timespec const moment{0, 50'000};
    (void)::nanosleep(&moment, nullptr);
}

bool is_busy(readers::Reader const& reader)
{
    return reader.busy.load(std::memory_order_acquire) != 0;
}

bool held_up()
{
    auto const* const whose = readers::still_for.load(std::memory_order_acquire);
    return whose != nullptr && whose != &readers::self;
}

}  // namespace

namespace readers {

constinit std::atomic<Reader const*> still_for{nullptr};

void pass_standstill()
{
    while (held_up()) {
        self.busy.store(0, std::memory_order_release);
        while (held_up()) wait_a_moment();
        self.busy.store(1, std::memory_order_relaxed);
        std::atomic_thread_fence(std::memory_order_seq_cst);
    }
}

void enter_uncounted()
{
    uncounted.fetch_add(1);
    while (held_up()) {
        uncounted.fetch_sub(1);
        while (held_up()) wait_a_moment();
        uncounted.fetch_add(1);
    }
}

void leave_uncounted() { uncounted.fetch_sub(1); }

}  // namespace readers

std::optional<Standstill> Standstill::reach(std::chrono::milliseconds patience)
{
    if (!readers::self.known && !readers::join()) return std::nullopt;
    readers::Reader const* nobody = nullptr;
    if (!readers::still_for.compare_exchange_strong(nobody, &readers::self)) return std::nullopt;
    Standstill reached;
    readers::fence_everywhere();
    auto const end = std::chrono::steady_clock::now() + patience;
    while (readers::any_other(is_busy) || uncounted.load() != 0) {
        if (std::chrono::steady_clock::now() > end) return std::nullopt;
        wait_a_moment();
    }
    return reached;
}

Standstill::~Standstill()
{
    if (has_) readers::still_for.store(nullptr, std::memory_order_release);
}

}  // namespace pinfold
