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
#include "native/memory.hpp"

namespace pinfold::native {

class DirtyLog {
public:
    // ENOMEM.
    static Result<std::unique_ptr<DirtyLog>> create(Memory& memory);
    ~DirtyLog();
    DirtyLog(DirtyLog const&) = delete;
    DirtyLog& operator=(DirtyLog const&) = delete;

    // Makes room for what is written in `range`: 128 KiB for each GiB that it touches and that had
    // none. ENOMEM: also where `range` touches more than 15 TiB.
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

    struct Half {
        std::array<std::uint64_t, kWordsInBlock> bits;
        std::array<std::uint64_t, kWordsInBlock / kWordsInGroup / 64> summary;
    };
    // Not all in the same sets of a cache: a harvest reads the summaries of many blocks.
    struct alignas(64) Block {
        std::array<Half, 2> halves;
        std::array<std::byte, 64> skew;
    };
    using Blocks = std::array<std::atomic<Block*>, std::size_t{1} << (kWindowLg2 - kBlockLg2)>;
    using Windows = std::array<std::atomic<Blocks*>, std::size_t{1} << (64 - kWindowLg2)>;
    struct Taking;

    explicit DirtyLog(Memory& memory) : memory_{memory}, arena_{memory} {}

    Block* block_at(std::uint64_t raw) const
    {
        Blocks const* blocks = lowest_;
        if (raw >> kWindowLg2 != 0) [[unlikely]]
            blocks = (*windows_)[raw >> kWindowLg2].load(std::memory_order_acquire);
        if (blocks == nullptr) [[unlikely]]
            return nullptr;
        return (*blocks)[(raw >> kBlockLg2) % blocks->size()].load(std::memory_order_acquire);
    }
    Result<> cover_block(std::uint64_t raw);
    void mark_words(Iova iova, Iova last);
    static void mark_word(Half& half, std::size_t word, std::uint64_t bits);
    void take(unsigned half, IovaRange range, std::span<std::uint64_t> into);
    static void take_block(Half& half, Taking const& taking);
    static bool take_64_groups(Half& half, std::size_t word, Taking const& taking);
    static void take_group(Half& half, std::size_t group, Taking const& taking);

    Memory& memory_;
    std::atomic<unsigned> active_{0};  // the half that devices write
    Blocks* lowest_ = nullptr;
    Windows* windows_ = nullptr;
    Arena<sizeof(Block)> arena_;
};

inline void DirtyLog::mark_word(Half& half, std::size_t word, std::uint64_t bits)
{
    std::atomic_ref<std::uint64_t> const here{half.bits[word]};
    if ((here.load(std::memory_order_relaxed) & bits) == bits) return;
    (void)here.fetch_or(bits, std::memory_order_relaxed);
    std::size_t const group = word / kWordsInGroup;
    std::uint64_t const bit = std::uint64_t{1} << (group % 64);
    std::atomic_ref<std::uint64_t> const summary{half.summary[group / 64]};
    if ((summary.load(std::memory_order_relaxed) & bit) == 0)
        (void)summary.fetch_or(bit, std::memory_order_relaxed);
}

// 64 pages that lie together are one word, as nearly always.
inline void DirtyLog::mark(Iova iova, Iova last)
{
    if ((iova.raw() ^ last.raw()) >> kWordLg2 != 0) [[unlikely]]
        return mark_words(iova, last);
    unsigned const first_bit = (iova.raw() >> 12) % 64;
    unsigned const last_bit = (last.raw() >> 12) % 64;
    std::uint64_t const bits =
        (~std::uint64_t{0} >> (63 - last_bit)) & (~std::uint64_t{0} << first_bit);
    unsigned const active = active_.load(std::memory_order_acquire);
    if (Block* const block = block_at(iova.raw())) [[likely]]
        mark_word(block->halves[active], (iova.raw() >> kWordLg2) % kWordsInBlock, bits);
}

}  // namespace pinfold::native
