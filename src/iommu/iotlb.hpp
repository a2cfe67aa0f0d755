// A device's translation cache: direct mapped, one entry per 4 KiB page of IOVA, and beside these
// some for 2 MiB blocks inside larger leaves; read without locks. It keeps what it has until it is
// told to let go: whoever changes a live translation invalidates and then waits for the readers
// (ReadSection), as hardware's invalidation waits for completion. Misses are not cached. As in
// hardware, an entry knows whether its page has been noted as written, so that the next write need
// not note it again; where that is asked for, there are entries of pages only.
//
// Thread safety: lookup() and fill() from any thread inside a ReadSection, invalidate() from any
// thread.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/address.hpp"
#include "base/page_size.hpp"
#include "base/prot.hpp"
#include "base/range.hpp"
#include "iommu/invalidation.hpp"

namespace pinfold::iommu {

class Iotlb {
public:
    struct Entry {
        Paddr paddr;         // of the page that the lookup asked for, with the offset in it
        std::uint64_t size;  // contiguous bytes from there on, within the cached leaf
        Prot prot;
        std::uint64_t noted;  // bytes from there on that count as written already, or ever
    };

    static constexpr unsigned kEntries = 256;
    static constexpr unsigned kBlocks = 32;

    // False: a miss, and `entry` is untouched. Not an optional, whose copies would go through
    // memory on the one way that every access takes.
    [[gnu::always_inline]] bool find(Iova iova, Entry& entry) const;
    std::optional<Entry> lookup(Iova iova) const
    {
        Entry entry{};
        return find(iova, entry) ? std::optional{entry} : std::nullopt;
    }
    // What a fill knows of the writes to its page. `unasked`: nobody wants to know.
    enum class Written : std::uint8_t { no, yes, unasked };
    // `leaf` is the whole leaf that a walk found, `paddr` where leaf.start leads. `generation` is
    // generation() as it was before the walk: a fill that raced with an invalidation is dropped.
    void fill(Iova iova, IovaRange leaf, Paddr paddr, Prot prot, Written written,
              std::uint64_t generation);
    // What lookup() found is good for longer than a section, while this stays the same. REQUIRES:
    // asked for inside a ReadSection, before lookup().
    std::uint64_t generation() const { return generation_.load(); }

    void invalidate(Invalidation const& what);
    void invalidate_all();

    // Fills that were asked for. About right only when several threads fill at once.
    std::uint64_t misses() const { return misses_.load(std::memory_order_relaxed); }

private:
    // A seqlock: odd while somebody writes, and a reader that saw it change has a miss. `tag` is
    // the page's or the block's IOVA, kValid, what is Written and the prot; 0 is an empty slot.
    struct alignas(32) Slot {
        std::atomic<std::uint64_t> sequence{0};
        std::atomic<std::uint64_t> tag{0};
        std::atomic<std::uint64_t> paddr{0};  // of the page or the block
        std::atomic<std::uint64_t> last{0};   // of the leaf
    };
    static constexpr std::uint64_t kPageMask = k4K.mask();
    static constexpr std::uint64_t kProtMask = 3;
    static constexpr std::uint64_t kValid = 4;
    static constexpr std::uint64_t kWritten = 8;
    static constexpr std::uint64_t kUnasked = 16;

    static std::uint64_t bits(Written written);
    [[gnu::always_inline]] static bool read(Slot const& slot, Iova iova, PageSize unit,
                                            Entry& entry);
    static void drop(Slot& slot, IovaRange range);
    static void drop_all(std::span<Slot> slots, PageSize unit, Invalidation const& what);
    // Folded, so that pages at strides of powers of two do not share entries. `count` is one.
    [[gnu::always_inline]] static std::size_t index(Iova iova, PageSize unit, std::size_t count)
    {
        auto const lg2 = static_cast<unsigned>(std::countr_zero(count));
        std::uint64_t const number = iova.raw() >> unit.lg2();
        return (number ^ number >> lg2 ^ number >> 2 * lg2) & (count - 1);
    }
    static bool overlaps(std::uint64_t tag, std::uint64_t last, IovaRange range);
    static void write(Slot& slot, std::uint64_t tag, std::uint64_t raw_paddr, std::uint64_t last);

    std::array<Slot, kEntries> slots_;  // of pages
    std::array<Slot, kBlocks> blocks_;
    std::atomic<std::uint64_t> generation_{0};
    std::atomic<std::uint64_t> misses_{0};
};

inline bool Iotlb::find(Iova iova, Entry& entry) const
{
    return read(slots_[index(iova, k4K, kEntries)], iova, k4K, entry) ||
           read(blocks_[index(iova, k2M, kBlocks)], iova, k2M, entry);
}

// One load for each word, then the sequence again: acquire keeps that order, and costs nothing on
// x86.
inline bool Iotlb::read(Slot const& slot, Iova iova, PageSize unit, Entry& entry)
{
    std::uint64_t const sequence = slot.sequence.load(std::memory_order_acquire);
    std::uint64_t const tag = slot.tag.load(std::memory_order_acquire);
    std::uint64_t const paddr = slot.paddr.load(std::memory_order_acquire);
    std::uint64_t const last = slot.last.load(std::memory_order_acquire);
    bool const whole =
        (sequence & 1) == 0 && slot.sequence.load(std::memory_order_relaxed) == sequence;

    std::uint64_t const offset = iova.raw() & unit.mask();
    if (!whole || (tag & ~(kProtMask | kWritten | kUnasked)) != ((iova.raw() - offset) | kValid))
        return false;
    std::uint64_t const size = last - iova.raw() + 1;
    std::uint64_t const noted = (tag & kUnasked) != 0   ? size
                                : (tag & kWritten) != 0 ? unit.bytes() - offset
                                                        : 0;
    entry = {Paddr{paddr + offset}, size, static_cast<Prot>(tag & kProtMask), noted};
    return true;
}

}  // namespace pinfold::iommu
