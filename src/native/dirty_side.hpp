// What devices write of a dirty log (dirty_log.hpp): a bit for each 4 KiB of IOVA, in halves of a
// GiB each, beside a summary with a bit for each 512 of them. They set a bit only where it is
// clear.
//
// Thread safety: mark() from any thread, in a section or between quiescent states.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <tuple>

#include "base/address.hpp"

namespace pinfold::native {

// Of one GiB: half of what the log has of it.
struct alignas(64) DirtyHalf {
    static constexpr unsigned kLg2 = 30;
    static constexpr unsigned kWordLg2 = 18;   // bytes of IOVA in a word of bits
    static constexpr unsigned kGroupLg2 = 21;  // and in a bit of the summary
    static constexpr std::size_t kWords = std::size_t{1} << (kLg2 - kWordLg2);
    static constexpr std::size_t kWordsInGroup = std::size_t{1} << (kGroupLg2 - kWordLg2);

    static std::size_t word_of(std::uint64_t raw) { return (raw >> kWordLg2) % kWords; }
    std::uint64_t at(std::size_t word)
    {
        return std::atomic_ref{bits[word]}.load(std::memory_order_relaxed);
    }
    void set(std::size_t word, std::uint64_t ones);
    void set_the_clear(std::size_t word, std::uint64_t ones)
    {
        if ((at(word) & ones) != ones) set(word, ones);
    }

    std::array<std::uint64_t, kWords / kWordsInGroup / 64> summary;
    std::array<std::uint64_t, kWords> bits;
    // Never set: what follows the last word may be looked at as if it were one.
    std::uint64_t behind;
    // Not all in the same sets of a cache: a harvest reads the summaries of many.
    std::array<std::byte, 56> skew;
};

// All zero when it is new. What a device follows to a bit is as short as it can be: a locked
// instruction makes the next mark wait for all of it.
class DirtySide {
public:
    // Pages of [iova, iova + size) are dirty; none if size is 0. What the log does not cover is
    // left out. REQUIRES: iova + size does not wrap.
    void mark(Iova iova, std::uint64_t size);

private:
    friend class DirtyLog;
    static constexpr unsigned kWindowLg2 = 48;
    static constexpr std::size_t kInWindow = std::size_t{1} << (kWindowLg2 - DirtyHalf::kLg2);
    using Halves = std::array<std::atomic<DirtyHalf*>, kInWindow>;

    DirtyHalf* half_at(std::uint64_t raw) const;
    void mark_pages(Iova iova, std::uint64_t size);
    void mark_far(Iova iova, Iova last);
    static void set_both(DirtyHalf& half, std::size_t word, std::uint64_t low, std::uint64_t high);

    Halves lowest_;  // of the window that all but all addresses are in
    std::array<std::atomic<Halves*>, std::size_t{1} << (64 - kWindowLg2)> windows_;
};

// The summary is looked at before the locked instruction, which would make that wait.
[[gnu::always_inline]] inline void DirtyHalf::set(std::size_t word, std::uint64_t ones)
{
    std::size_t const group = word / kWordsInGroup;
    std::uint64_t const bit = std::uint64_t{1} << (group % 64);
    std::atomic_ref const its_summary{summary[group / 64]};
    bool const first = (its_summary.load(std::memory_order_relaxed) & bit) == 0;
    (void)std::atomic_ref{bits[word]}.fetch_or(ones, std::memory_order_relaxed);
    if (first) [[unlikely]]
        (void)its_summary.fetch_or(bit, std::memory_order_relaxed);
}

// In one page, as most often.
[[gnu::always_inline]] inline void DirtySide::mark(Iova iova, std::uint64_t size)
{
    std::uint64_t const raw = iova.raw();
    std::uint64_t const block = raw >> DirtyHalf::kLg2;
    if (size - 1 > (~raw & 0xfff) || block >= kInWindow) return mark_pages(iova, size);
    DirtyHalf* const half = lowest_[block].load(std::memory_order_acquire);
    if (half == nullptr) [[unlikely]]
        return;
    std::size_t const word = DirtyHalf::word_of(raw);
    unsigned const page = (raw >> 12) % 64;
    if ((half->at(word) >> page & 1) == 0) half->set(word, std::uint64_t{1} << page);
}

// Up to 64 pages of one half lie in a word and the next. Where all are dirty already there is but
// one branch, wherever they begin.
[[gnu::always_inline]] inline void DirtySide::mark_pages(Iova iova, std::uint64_t size)
{
    if (size == 0) [[unlikely]]
        return;
    std::uint64_t const raw = iova.raw();
    std::uint64_t const last = raw + (size - 1);
    std::uint64_t const more = (last >> 12) - (raw >> 12);
    if (((raw ^ last) >> DirtyHalf::kLg2 | raw >> kWindowLg2 | more >> 6) != 0) [[unlikely]]
        return mark_far(iova, Iova{last});
    DirtyHalf* const half = lowest_[raw >> DirtyHalf::kLg2].load(std::memory_order_acquire);
    if (half == nullptr) [[unlikely]]
        return;
    unsigned const shift = (raw >> 12) % 64;
    std::uint64_t const ones = ~std::uint64_t{0} >> (63 - more);
    std::uint64_t const low = ones << shift;
    std::uint64_t const high = ones >> 1 >> (63 - shift);
    std::size_t const word = DirtyHalf::word_of(raw);
    std::uint64_t* const bits = half->bits.data() + word;
    std::uint64_t const clear = (low & ~std::atomic_ref{bits[0]}.load(std::memory_order_relaxed)) |
                                (high & ~std::atomic_ref{bits[1]}.load(std::memory_order_relaxed));
    if (clear != 0) set_both(*half, word, low, high);
}

}  // namespace pinfold::native
