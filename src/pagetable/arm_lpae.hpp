// Arm long-descriptor tables (LPAE, 64 bits), stage 1, as an SMMUv3 walks them: granules of 4 KiB,
// 16 KiB and 64 KiB, a table as large as the granule. Above level 0 a leaf is called a block. Our
// levels count upwards from 0 where Arm's count down to 3. Arm ARM, D8.3.
#pragma once

#include "pagetable/format.hpp"

namespace pinfold::pagetable {

template <unsigned GranuleLg2>
struct ArmLpae {
    static_assert(GranuleLg2 == 12 || GranuleLg2 == 14 || GranuleLg2 == 16);

    static constexpr unsigned kGranuleLg2 = GranuleLg2;
    static constexpr unsigned kSlotsLg2 = GranuleLg2 - 3;
    static constexpr unsigned kPaddrBits = GranuleLg2 == 16 ? 52 : 48;
    static constexpr unsigned kIovaBits = kPaddrBits;
    static constexpr unsigned kMaxLevels = (kIovaBits - kGranuleLg2 + kSlotsLg2 - 1) / kSlotsLg2;

    static constexpr Word kValid = Word{1} << 0;
    static constexpr Word kTableOrPage = Word{1} << 1;  // clear in a block
    static constexpr Word kCached = Word{1} << 2;       // memory attributes 1: write-back
    static constexpr Word kUnprivileged = Word{1} << 6;
    static constexpr Word kReadOnly = Word{1} << 7;
    static constexpr Word kInnerShareable = Word{3} << 8;
    static constexpr Word kAccessed = Word{1} << 10;
    static constexpr Word kNotGlobal = Word{1} << 11;
    static constexpr Word kTableUnprivilegedNone = Word{1} << 61;  // of all below this table
    static constexpr Word kTableReadOnly = Word{1} << 62;

    static constexpr PageSize slot_size(unsigned level)
    {
        return PageSize::lg2_of(kGranuleLg2 + kSlotsLg2 * level);
    }

    // 4K, 2M, 1G; 16K, 32M; 64K, 512M and, where addresses have 52 bits, 4T.
    static constexpr PageSizes leaf_sizes(unsigned level)
    {
        return level <= kTopLeafLevel ? PageSizes{slot_size(level).bytes()} : PageSizes{};
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

    // Every mapping is of cached memory (rule M-10). Stage 1 cannot say "write only".
    static constexpr Word attributes(Prot prot, Snoop)
    {
        bool const writes = (prot & Prot::write) != Prot::none;
        return kValid | kCached | kUnprivileged | (writes ? 0 : kReadOnly) | kInnerShareable |
               kAccessed | kNotGlobal;
    }
    static constexpr Word make_leaf(Paddr paddr, unsigned level, PageSize, Word attributes)
    {
        return field(paddr) | attributes | (level == 0 ? kTableOrPage : 0);
    }
    static constexpr PageSize leaf_size(Word, unsigned level) { return slot_size(level); }
    static constexpr Paddr leaf_paddr(Word word, unsigned) { return Paddr{address(word)}; }
    static constexpr Word leaf_attributes(Word word)
    {
        return word & ~(kAddress | kHighAddress | kTableOrPage);
    }

    static constexpr Word make_table(Paddr paddr, unsigned)
    {
        return field(paddr) | kTableOrPage | kValid;
    }
    static constexpr Paddr table_paddr(Word word) { return Paddr{address(word)}; }

    // A device's accesses are unprivileged. A leaf that is not marked as accessed faults.
    static constexpr Prot prot(Word word, unsigned level)
    {
        if (level > 0 && (word & kTableOrPage) != 0) {
            if ((word & kTableUnprivilegedNone) != 0) return Prot::none;
            return (word & kTableReadOnly) != 0 ? Prot::read : Prot::read_write;
        }
        if ((word & kUnprivileged) == 0 || (word & kAccessed) == 0) return Prot::none;
        return (word & kReadOnly) != 0 ? Prot::read : Prot::read_write;
    }

private:
    static constexpr unsigned kTopLeafLevel = kGranuleLg2 == 14 ? 1 : 2;
    // Bits 47 to the granule; with 64 KiB, address bits 51:48 stand in 15:12.
    static constexpr Word kAddress = (Word{1} << 48) - (Word{1} << kGranuleLg2);
    static constexpr Word kHighAddress = kPaddrBits > 48 ? Word{0xf000} : 0;
    static constexpr unsigned kHighShift = 48 - 12;

    static constexpr Word field(Paddr paddr)
    {
        return (paddr.raw() & kAddress) | ((paddr.raw() >> kHighShift) & kHighAddress);
    }
    static constexpr std::uint64_t address(Word word)
    {
        return (word & kAddress) | ((word & kHighAddress) << kHighShift);
    }
};

static_assert(PageTableFormat<ArmLpae<12>>);
static_assert(PageTableFormat<ArmLpae<14>>);
static_assert(PageTableFormat<ArmLpae<16>>);

// Words computed by hand from the bit table, and the way back.
namespace arm_lpae_checks {

template <class F>
constexpr Word leaf(std::uint64_t paddr, unsigned level, Prot prot)
{
    return F::make_leaf(Paddr{paddr}, level, F::slot_size(level),
                        F::attributes(prot, Snoop::as_asked));
}
template <class F>
constexpr bool round_trips(std::uint64_t paddr, unsigned level, Prot prot)
{
    Word const word = leaf<F>(paddr, level, prot);
    return F::entry(word, level) == Entry::leaf && F::leaf_paddr(word, level) == Paddr{paddr} &&
           F::leaf_size(word, level) == F::slot_size(level) &&
           F::prot(word, level) == (prot == Prot::read ? Prot::read : Prot::read_write) &&
           F::leaf_attributes(word) == F::attributes(prot, Snoop::as_asked);
}
// The lowest and the highest place that each level's leaves can lead to.
template <class F>
constexpr bool every_level_round_trips()
{
    for (unsigned level = 0; !F::leaf_sizes(level).empty(); ++level) {
        std::uint64_t const highest =
            (std::uint64_t{1} << F::kPaddrBits) - F::slot_size(level).bytes();
        for (auto const prot : {Prot::read, Prot::write, Prot::read_write})
            if (!round_trips<F>(0, level, prot) || !round_trips<F>(highest, level, prot))
                return false;
        std::uint64_t const table = highest & ~std::uint64_t{0xffff};
        if (F::table_paddr(F::make_table(Paddr{table}, level + 1)) != Paddr{table}) return false;
    }
    return true;
}

using G4 = ArmLpae<12>;
using G16 = ArmLpae<14>;
using G64 = ArmLpae<16>;

static_assert(G4::kMaxLevels == 4 && G16::kMaxLevels == 4 && G64::kMaxLevels == 3);
static_assert(G4::slot_size(1) == k2M && G4::slot_size(2) == k1G);
static_assert(G16::slot_size(1).bytes() == 0x200'0000 && G16::leaf_sizes(2).empty());
static_assert(G64::slot_size(1).bytes() == 0x2000'0000 && G64::slot_size(2).lg2() == 42);

static_assert(leaf<G4>(0x8000'1000, 0, Prot::read_write) == 0x0000'0000'8000'1f47);
static_assert(leaf<G4>(0x8000'1000, 0, Prot::write) == 0x0000'0000'8000'1f47);
static_assert(leaf<G4>(0x8000'2000, 0, Prot::read) == 0x0000'0000'8000'2fc7);
static_assert(leaf<G4>(0x8020'0000, 1, Prot::read_write) == 0x0000'0000'8020'0f45);
static_assert(leaf<G4>(0x1'0000'0000, 2, Prot::read) == 0x0000'0001'0000'0fc5);
static_assert(leaf<G64>(0x000d'0000'abcd'0000, 0, Prot::read_write) == 0x0000'0000'abcd'df47);
static_assert(leaf<G64>(0x000f'0000'6000'0000, 1, Prot::read_write) == 0x0000'0000'6000'ff45);
static_assert(leaf<G16>(0x1'2345'4000, 0, Prot::read_write) == 0x0000'0001'2345'4f47);
static_assert(leaf<G16>(0x400'0000, 1, Prot::read_write) == 0x0000'0000'0400'0f45);
static_assert(G4::make_table(Paddr{0x1000'1000}, 1) == 0x0000'0000'1000'1003);

static_assert(every_level_round_trips<G4>());
static_assert(every_level_round_trips<G16>());
static_assert(every_level_round_trips<G64>());

// At level 0 a block is reserved, and so is one that is misaligned or too high up.
static_assert(G4::entry(0x8000'1f45, 0) == Entry::reserved);
static_assert(G4::entry(0x8000'1f45, 1) == Entry::reserved);
static_assert(G4::entry(0x0f45, 3) == Entry::reserved);
static_assert(G16::entry(0x0f45, 2) == Entry::reserved);
static_assert(G64::entry(0x6001'ff45, 1) == Entry::reserved);
static_assert(G4::entry(0x1000'1003, 1) == Entry::table);
static_assert(G4::entry(~Word{1}, 0) == Entry::empty);
// Bits 15:12 are address with 4 KiB and 16 KiB.
static_assert(G4::leaf_paddr(0x8000'ff47, 0) == Paddr{0x8000'f000});
static_assert(G16::leaf_paddr(0x8000'cf47, 0) == Paddr{0x8000'c000});
// A privileged leaf, one without the access flag, and what tables take from all below.
static_assert(G4::prot(0x8000'1f07, 0) == Prot::none && G4::prot(0x8000'1b47, 0) == Prot::none);
static_assert(G4::prot(0x1003, 1) == Prot::read_write);
static_assert(G4::prot(0x4000'0000'0000'1003, 1) == Prot::read);
static_assert(G4::prot(0x2000'0000'0000'1003, 1) == Prot::none);

}  // namespace arm_lpae_checks

}  // namespace pinfold::pagetable
