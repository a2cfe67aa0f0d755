// Two formats that no hardware has. Tiny is small enough to try everything: 3 levels of 4 slots,
// pages of 16 bytes, and at level 0 also leaves of two slots. Wide spans all 64 bits of IOVA.
#pragma once

#include "pagetable/format.hpp"

namespace pinfold::pagetable {

struct Tiny {
    using Word = std::uint64_t;

    static constexpr unsigned kGranuleLg2 = 4;
    static constexpr unsigned kSlotsLg2 = 2;
    static constexpr unsigned kMaxLevels = 3;
    static constexpr unsigned kPaddrBits = 64;

    static constexpr Word kTable = 4;
    static constexpr Word kPair = 8;
    static constexpr Word kFlags = 15;

    static constexpr unsigned slots_lg2(unsigned) { return kSlotsLg2; }
    static constexpr unsigned slot_lg2(unsigned level) { return kGranuleLg2 + kSlotsLg2 * level; }
    static constexpr PageSizes leaf_sizes(unsigned level)
    {
        Word const pair = level == 0 ? 2U << kGranuleLg2 : 0;
        return PageSizes{(Word{1} << slot_lg2(level)) | pair};
    }
    static constexpr Entry entry(Word word, unsigned level)
    {
        if ((word & 3) == 0) return Entry::empty;
        if ((word & kTable) != 0) return level == 0 ? Entry::reserved : Entry::table;
        return Entry::leaf;
    }
    static constexpr Word attributes(Asked const& asked) { return static_cast<Word>(asked.prot); }
    static constexpr Word make_leaf(Paddr paddr, unsigned level, PageSize size, Word attributes)
    {
        return paddr.raw() | attributes | (size.lg2() == slot_lg2(level) ? 0 : kPair);
    }
    static constexpr PageSize leaf_size(Word word, unsigned level)
    {
        return PageSize::lg2_of(slot_lg2(level) + ((word & kPair) != 0 ? 1 : 0));
    }
    static constexpr Paddr leaf_paddr(Word word, unsigned level)
    {
        return Paddr{leaf_size(word, level).align_down(word & ~kFlags)};
    }
    static constexpr Word leaf_attributes(Word word, unsigned) { return word & 3; }
    static constexpr Word make_table(Paddr paddr, unsigned) { return paddr.raw() | kTable | 3; }
    static constexpr Paddr table_paddr(Word word) { return Paddr{word & ~kFlags}; }
    static constexpr Prot prot(Word word, unsigned) { return static_cast<Prot>(word & 3); }
};
static_assert(PageTableFormat<Tiny>);

struct Wide : Tiny {
    static constexpr unsigned kGranuleLg2 = 12;
    static constexpr unsigned kSlotsLg2 = 13;
    static constexpr unsigned kMaxLevels = 4;

    static constexpr unsigned slots_lg2(unsigned) { return kSlotsLg2; }
    static constexpr unsigned slot_lg2(unsigned level) { return kGranuleLg2 + kSlotsLg2 * level; }
    static constexpr PageSizes leaf_sizes(unsigned level)
    {
        return PageSizes{level < 3 ? Word{1} << slot_lg2(level) : 0};
    }
    static constexpr Word make_leaf(Paddr paddr, unsigned, PageSize, Word attributes)
    {
        return paddr.raw() | attributes;
    }
    static constexpr PageSize leaf_size(Word, unsigned level)
    {
        return PageSize::lg2_of(slot_lg2(level));
    }
    static constexpr Paddr leaf_paddr(Word word, unsigned) { return Paddr{word & ~kFlags}; }
};
static_assert(PageTableFormat<Wide>);

}  // namespace pinfold::pagetable
