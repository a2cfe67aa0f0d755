// What Arm's long descriptors of both stages have in common: geometry, types, and where the address
// stands. Arm ARM, D8.3.
#pragma once

#include "pagetable/format.hpp"

namespace pinfold::pagetable {

template <unsigned GranuleLg2, bool Lpa2>
struct ArmDescriptor {
    static_assert(GranuleLg2 == 12 || GranuleLg2 == 14 || GranuleLg2 == 16);
    static_assert(!Lpa2 || GranuleLg2 != 16, "64K has room for 52 bits without");

    using Word = std::uint64_t;

    static constexpr unsigned kGranuleLg2 = GranuleLg2;
    static constexpr unsigned kSlotsLg2 = GranuleLg2 - 3;
    static constexpr unsigned kPaddrBits = GranuleLg2 == 16 || Lpa2 ? 52 : 48;
    static constexpr unsigned kIovaBits = kPaddrBits;
    static constexpr unsigned kMaxLevels = (kIovaBits - kGranuleLg2 + kSlotsLg2 - 1) / kSlotsLg2;

    static constexpr Word kValid = Word{1} << 0;
    static constexpr Word kTableOrPage = Word{1} << 1;  // clear in a block
    static constexpr Word kAccessed = Word{1} << 10;
    static constexpr Word kTracked = Word{1} << 51;  // DBM: hardware says what was written
    static constexpr Word kContiguous = Word{1} << 52;
    static constexpr Word kNoExecuteEl0 = Word{1} << 54;
    static constexpr Word kNoExecute = Word{3} << 53;

    static constexpr unsigned slots_lg2(unsigned) { return kSlotsLg2; }
    static constexpr PageSize slot_size(unsigned level)
    {
        return PageSize::lg2_of(kGranuleLg2 + kSlotsLg2 * level);
    }

    // 4K, 2M, 1G; 16K, 32M; 64K, 512M and, where addresses have 52 bits, 4T. LPA2 adds 512G and
    // 64G. Contiguous runs of 16 (4K), 128 and 32 (16K), 32 (64K) of them where Arm has the hint:
    // the sizes that a domain is given decide whether it is used.
    static constexpr PageSizes leaf_sizes(unsigned level)
    {
        if (level > kTopLeafLevel) return {};
        std::uint64_t const slot = slot_size(level).bytes();
        unsigned const run = run_lg2(level);
        return PageSizes{slot | (run == 0 ? 0 : slot << run)};
    }

    static constexpr Entry entry(Word word, unsigned level)
    {
        if ((word & kValid) == 0) return Entry::empty;
        bool const table_or_page = (word & kTableOrPage) != 0;
        if (level == 0) return table_or_page ? Entry::leaf : Entry::reserved;
        if (table_or_page) return Entry::table;
        bool const block = level <= kTopLeafLevel && slot_size(level).aligned(address(word));
        return block ? Entry::leaf : Entry::reserved;
    }

    static constexpr Word make_leaf(Paddr paddr, unsigned level, PageSize size, Word attributes)
    {
        return field(paddr) | attributes | (level == 0 ? kTableOrPage : 0) |
               (size != slot_size(level) ? kContiguous : 0);
    }
    static constexpr PageSize leaf_size(Word word, unsigned level)
    {
        unsigned const run = (word & kContiguous) != 0 ? run_lg2(level) : 0;
        return PageSize::lg2_of(slot_size(level).lg2() + run);
    }
    static constexpr Paddr leaf_paddr(Word word, unsigned level)
    {
        return Paddr{leaf_size(word, level).align_down(address(word))};
    }
    static constexpr Word leaf_attributes(Word word, unsigned)
    {
        return word & ~(kAddress | kHighAddress | kTableOrPage | kContiguous);
    }
    static constexpr Paddr table_paddr(Word word) { return Paddr{address(word)}; }

protected:
    static constexpr unsigned kTopLeafLevel = (kGranuleLg2 == 14 ? 1 : 2) + (Lpa2 ? 1 : 0);

    // Bits 47 to the granule; with 64 KiB, address bits 51:48 stand in 15:12; with LPA2, bits 49 to
    // the granule, and 51:50 stand in 9:8.
    static constexpr Word kAddress = (Word{1} << (Lpa2 ? 50 : 48)) - (Word{1} << kGranuleLg2);
    static constexpr Word kHighAddress = Lpa2 ? 0x300 : kPaddrBits > 48 ? 0xf000 : 0;
    static constexpr unsigned kHighShift = Lpa2 ? 50 - 8 : 48 - 12;

    // How many slots a contiguous run has; 0: there are none at this level.
    static constexpr unsigned run_lg2(unsigned level)
    {
        if (kGranuleLg2 == 12) return level <= 2 ? 4 : 0;
        if (kGranuleLg2 == 14) return level == 0 ? 7 : level == 1 ? 5 : 0;
        return level <= 1 ? 5 : 0;
    }
    static constexpr Word field(Paddr paddr)
    {
        return (paddr.raw() & kAddress) | ((paddr.raw() >> kHighShift) & kHighAddress);
    }
    static constexpr std::uint64_t address(Word word)
    {
        return (word & kAddress) | ((word & kHighAddress) << kHighShift);
    }
    // With LPA2 the field is the context's.
    static constexpr Word shareability(Asked const& asked)
    {
        constexpr Word kOuter = 2;
        constexpr Word kInner = 3;
        return Lpa2 ? 0 : (asked.cached ? kInner : kOuter) << 8;
    }
};

}  // namespace pinfold::pagetable
