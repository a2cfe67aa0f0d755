// Which pages devices wrote to: a bit for each 4 KiB of IOVA, in blocks of a GiB, beside a summary
// with a bit for each 512 of them. Devices set a bit only where it is clear. There are two of each:
// a harvest makes devices go on in the other one and waits for those that had begun, and has the
// first one to itself then, without a locked instruction per word.
//
// Thread safety: mark() from any thread, in a section or between quiescent states. All else by one
// thread at a time.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>

#include "base/address.hpp"
#include "base/function_ref.hpp"
#include "base/range.hpp"
#include "base/result.hpp"
#include "native/arena.hpp"
#include "native/dirty_words.hpp"
#include "native/memory.hpp"

namespace pinfold::native {

class DirtyLog {
public:
    // ENOMEM.
    static Result<std::unique_ptr<DirtyLog>> create(Memory& memory);
    ~DirtyLog();
    DirtyLog(DirtyLog const&) = delete;
    DirtyLog& operator=(DirtyLog const&) = delete;

    // Makes room for what is written in `range`: 64 KiB, and some bytes, for each GiB that it
    // touches and that had none. ENOMEM: also where `range` touches more than 15 TiB.
    Result<> cover(IovaRange range);

    // Pages of [iova, last] are dirty. What cover() was not called for is left out.
    void mark(Iova iova, Iova last);

    // Sets the bit of each page of `range` that was marked (bit 0 of word 0: the first page), and
    // forgets the marks; other bits stay as they are. `wait` returns when no mark() that began
    // before is under way. REQUIRES: whole pages; a bit in `into` for each.
    void harvest(IovaRange range, std::span<std::uint64_t> into, FunctionRef<void()> wait);

private:
    static constexpr unsigned kBlockLg2 = 30;
    static constexpr unsigned kWordLg2 = 18;   // bytes of IOVA in a word of bits
    static constexpr unsigned kGroupLg2 = 21;  // and in a bit of the summary
    static constexpr unsigned kWindowLg2 = 48;
    static constexpr std::size_t kWordsInBlock = std::size_t{1} << (kBlockLg2 - kWordLg2);
    static constexpr std::size_t kWordsInGroup = std::size_t{1} << (kGroupLg2 - kWordLg2);

    struct alignas(64) Half {
        std::array<std::uint64_t, kWordsInBlock / kWordsInGroup / 64> summary;
        std::array<std::uint64_t, kWordsInBlock> bits;
        // Never set: what follows the last word may be looked at as if it were one.
        std::uint64_t behind;
        // Not all in the same sets of a cache: a harvest reads the summaries of many blocks.
        std::array<std::byte, 56> skew;
    };
    using Block = std::array<Half, 2>;
    // For each block its half, of one of both sides.
    using Halves = std::array<std::atomic<Half*>, std::size_t{1} << (kWindowLg2 - kBlockLg2)>;
    using Windows = std::array<std::atomic<Halves*>, std::size_t{1} << (64 - kWindowLg2)>;
    struct Side {
        Halves* lowest = nullptr;
        Windows* windows = nullptr;
    };
    struct Taking;

    explicit DirtyLog(Memory& memory) : memory_{memory}, arena_{memory} {}

    Half* lowest_half_at(std::uint64_t raw) const
    {
        Halves const& halves = *active_lowest_.load(std::memory_order_acquire);
        return halves[raw >> kBlockLg2].load(std::memory_order_acquire);
    }
    static Half* half_at(Side const& side, std::uint64_t raw);
    Result<> cover_block(std::uint64_t raw);
    Result<Halves*> window_of(Side& side, std::uint64_t raw);
    bool take_side(Side& side);
    void drop_side(Side const& side);
    void mark_pages(Iova iova, Iova last);
    void mark_far(Iova iova, Iova last);
    static void set_both(Half& half, std::size_t word, std::uint64_t low, std::uint64_t high);
    static void set_the_clear(Half& half, std::size_t word, std::uint64_t bits);
    static void set(Half& half, std::size_t word, std::uint64_t bits);
    void take(Side const& side, IovaRange range, std::span<std::uint64_t> into);
    void take_block(Half& half, Taking const& taking);
    bool take_64_groups(Half& half, std::size_t word, Taking const& taking);
    static void take_group(Half& half, std::size_t group, Taking const& taking);

    std::atomic<Halves*> active_lowest_{nullptr};  // of the side that devices write
    std::atomic<unsigned> active_{0};
    std::array<Side, 2> sides_;
    MoveWords const move_words_ = moves_of_words().back();
    Memory& memory_;
    Arena<sizeof(Block)> arena_;
};

[[gnu::always_inline]] inline void DirtyLog::set(Half& half, std::size_t word, std::uint64_t bits)
{
    (void)std::atomic_ref{half.bits[word]}.fetch_or(bits, std::memory_order_relaxed);
    std::size_t const group = word / kWordsInGroup;
    std::uint64_t const bit = std::uint64_t{1} << (group % 64);
    std::atomic_ref const summary{half.summary[group / 64]};
    if ((summary.load(std::memory_order_relaxed) & bit) == 0) [[unlikely]]
        (void)summary.fetch_or(bit, std::memory_order_relaxed);
}

// One page, as most often.
[[gnu::always_inline]] inline void DirtyLog::mark(Iova iova, Iova last)
{
    std::uint64_t const raw = iova.raw();
    if ((raw ^ last.raw()) >> 12 != 0 || raw >> kWindowLg2 != 0) return mark_pages(iova, last);
    Half* const half = lowest_half_at(raw);
    if (half == nullptr) [[unlikely]]
        return;
    std::size_t const word = (raw >> kWordLg2) % kWordsInBlock;
    std::uint64_t const bit = std::uint64_t{1} << ((raw >> 12) % 64);
    std::uint64_t const set_bits =
        std::atomic_ref{half->bits[word]}.load(std::memory_order_relaxed);
    if ((set_bits & bit) == 0) set(*half, word, bit);
}

// Up to 64 pages of one block lie in a word and the next. Where all are dirty already there is but
// one branch, wherever they begin.
[[gnu::always_inline]] inline void DirtyLog::mark_pages(Iova iova, Iova last)
{
    std::uint64_t const raw = iova.raw();
    std::uint64_t const more = (last.raw() >> 12) - (raw >> 12);
    if (((raw ^ last.raw()) >> kBlockLg2 | raw >> kWindowLg2 | more >> 6) != 0) [[unlikely]]
        return mark_far(iova, last);
    Half* const half = lowest_half_at(raw);
    if (half == nullptr) [[unlikely]]
        return;
    unsigned const shift = (raw >> 12) % 64;
    std::uint64_t const ones = ~std::uint64_t{0} >> (63 - more);
    std::uint64_t const low = ones << shift;
    std::uint64_t const high = ones >> 1 >> (63 - shift);
    std::size_t const word = (raw >> kWordLg2) % kWordsInBlock;
    std::uint64_t* const bits = half->bits.data() + word;
    std::uint64_t const clear = (low & ~std::atomic_ref{bits[0]}.load(std::memory_order_relaxed)) |
                                (high & ~std::atomic_ref{bits[1]}.load(std::memory_order_relaxed));
    if (clear != 0) set_both(*half, word, low, high);
}

}  // namespace pinfold::native
