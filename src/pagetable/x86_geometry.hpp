// The shape of x86-64's tables, which VT-d's second stage has taken over: 4 KiB tables of 512
// slots, leaves of 4 KiB, 2 MiB and 1 GiB, a bit that tells a large leaf from a table, addresses in
// bits 51:12.
#pragma once

#include "pagetable/format.hpp"

namespace pinfold::pagetable {

struct X86Geometry {
    using Word = std::uint64_t;

    static constexpr unsigned kGranuleLg2 = 12;
    static constexpr unsigned kSlotsLg2 = 9;
    static constexpr unsigned kMaxLevels = 5;
    static constexpr unsigned kPaddrBits = 52;

    static constexpr Word kPageSize = Word{1} << 7;  // a leaf, at levels 1 and 2
    static constexpr Word kAddress = 0x000f'ffff'ffff'f000;

    static constexpr unsigned slots_lg2(unsigned) { return kSlotsLg2; }
    static constexpr PageSize slot_size(unsigned level)
    {
        return PageSize::lg2_of(kGranuleLg2 + kSlotsLg2 * level);
    }
    static constexpr PageSizes leaf_sizes(unsigned level)
    {
        return level <= kTopLeafLevel ? PageSizes{slot_size(level).bytes()} : PageSizes{};
    }

    static constexpr Word make_leaf(Paddr paddr, unsigned level, PageSize, Word attributes)
    {
        return paddr.raw() | attributes | (level == 0 ? 0 : kPageSize);
    }
    static constexpr PageSize leaf_size(Word, unsigned level) { return slot_size(level); }
    static constexpr Paddr table_paddr(Word word) { return Paddr{word & kAddress}; }

protected:
    // Of a word that is not empty. `no_address`: bits below a large leaf's address that may be set.
    static constexpr Entry present_entry(Word word, unsigned level, Word no_address = 0)
    {
        if (level == 0) return Entry::leaf;
        if ((word & kPageSize) == 0) return Entry::table;
        bool const aligned = (word & kAddress & slot_size(level).mask() & ~no_address) == 0;
        return level <= kTopLeafLevel && aligned ? Entry::leaf : Entry::reserved;
    }

private:
    static constexpr unsigned kTopLeafLevel = 2;
};

}  // namespace pinfold::pagetable
