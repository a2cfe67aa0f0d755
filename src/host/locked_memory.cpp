#include "host/locked_memory.hpp"

#include <algorithm>
#include <cassert>
#include <limits>

namespace pinfold::host {
namespace {

constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();

constexpr std::uint64_t saturating_sum(std::uint64_t a, std::uint64_t b)
{
    return a > kMost - b ? kMost : a + b;
}

void raise_to(std::atomic<std::uint64_t>& high, std::uint64_t value)
{
    std::uint64_t seen = high.load(std::memory_order_relaxed);
    while (seen < value && !high.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
    }
}

}  // namespace

LockedMemory::LockedMemory(Source& source, PageSize host_page)
    : source_{source}, host_page_{host_page}
{
}

LockCap LockedMemory::lock_cap() const { return source_.lock_cap(); }

bool LockedMemory::unlimited(LockCap cap) const
{
    return cap == LockCap::yes || source_.limit_bytes() == kMost;
}

// A 64 KiB host locks whole pages of its own: round up.
std::uint64_t LockedMemory::mlocked_pages() const
{
    std::uint64_t const bytes = source_.mlocked_bytes();
    return (bytes >> host_page_.lg2()) + ((bytes & host_page_.mask()) != 0 ? 1 : 0);
}

bool LockedMemory::exceeds(std::uint64_t pages, LockCap cap) const
{
    if (unlimited(cap)) return false;
    std::uint64_t const wanted = saturating_sum(saturating_sum(charged(), mlocked_pages()), pages);
    if (wanted <= limit_pages()) return false;
    raise_to(needed_pages_, wanted);
    return true;
}

std::uint64_t LockedMemory::excess(std::uint64_t pages, LockCap cap) const
{
    if (unlimited(cap)) return 0;
    std::uint64_t const wanted = saturating_sum(saturating_sum(charged(), mlocked_pages()), pages);
    return wanted - std::min(wanted, limit_pages());
}

Result<> LockedMemory::charge(std::uint64_t pages, LockCap cap)
{
    bool const bounded = !unlimited(cap);
    std::uint64_t const limit = bounded ? limit_pages() : kMost;
    std::uint64_t const mlocked = bounded ? mlocked_pages() : 0;

    std::uint64_t before = charged();
    std::uint64_t after = 0;
    do {
        after = saturating_sum(before, pages);
        std::uint64_t const total = saturating_sum(after, mlocked);
        raise_to(needed_pages_, total);
        if (total > limit || after == kMost) return fail(Errno::nomem);
    } while (!charged_.compare_exchange_weak(before, after, std::memory_order_relaxed));
    raise_to(peak_, after);
    return {};
}

void LockedMemory::uncharge(std::uint64_t pages)
{
    [[maybe_unused]] std::uint64_t const before =
        charged_.fetch_sub(pages, std::memory_order_relaxed);
    assert(before >= pages);
}

void LockedMemory::refused(std::uint64_t pages)
{
    raise_to(needed_pages_, saturating_sum(saturating_sum(charged(), mlocked_pages()), pages));
}

std::uint64_t LockedMemory::charged() const { return charged_.load(std::memory_order_relaxed); }

std::uint64_t LockedMemory::peak() const { return peak_.load(std::memory_order_relaxed); }

std::uint64_t LockedMemory::limit_pages() const
{
    return source_.limit_bytes() >> host_page_.lg2();
}

std::uint64_t LockedMemory::limit_bytes() const { return source_.limit_bytes(); }

std::uint64_t LockedMemory::needed_bytes() const
{
    std::uint64_t const pages = needed_pages_.load(std::memory_order_relaxed);
    return pages > (kMost >> host_page_.lg2()) ? kMost : pages << host_page_.lg2();
}

}  // namespace pinfold::host
