// AMD I/O page tables for host translations ("v1"): up to 6 levels for all 64 bits of IOVA, 4 KiB
// tables, leaves of every power of two from 4 KiB to 2^52 bytes. The Next Level field of a word
// says what it is: 0 a leaf as large as its slot; 7 a leaf of 2 to 256 slots, which all hold the
// same word; the level counted from 1 of the table below otherwise. Hardware sets A and D, in any
// of a leaf's words, where the device table says so. AMD IOMMU specification, 2.2.3.
//
// The granule is a parameter for tests: half of it shows that nothing takes it for the host's page.
#pragma once

#include <algorithm>

#include "pagetable/format.hpp"

namespace pinfold::pagetable {

template <unsigned GranuleLg2>
struct Amdv1Of {
    using Word = std::uint64_t;

    static constexpr unsigned kGranuleLg2 = GranuleLg2;
    static constexpr unsigned kSlotsLg2 = GranuleLg2 - 3;
    static constexpr unsigned kMaxLevels = 6;
    static constexpr unsigned kPaddrBits = GranuleLg2 + 40;

    static constexpr Word kPresent = Word{1} << 0;
    static constexpr Word kAccessed = Word{1} << 5;
    static constexpr Word kDirty = Word{1} << 6;
    static constexpr unsigned kNextLevelShift = 9;
    static constexpr Word kAddress = 0x000f'ffff'ffff'f000;  // counts granules
    static constexpr Word kForceCoherent = Word{1} << 60;
    static constexpr unsigned kRightsShift = 61;  // IR, and IW above it

    static constexpr unsigned slots_lg2(unsigned) { return kSlotsLg2; }
    static constexpr PageSize slot_size(unsigned level)
    {
        return PageSize::lg2_of(kGranuleLg2 + kSlotsLg2 * level);
    }

    // The highest level holds tables only.
    static constexpr PageSizes leaf_sizes(unsigned level)
    {
        if (level > kTopLeafLevel) return {};
        unsigned const smallest = slot_size(level).lg2();
        unsigned const largest = std::min(smallest + kSlotsLg2 - 1, kPaddrBits);
        return PageSizes{PageSize::lg2_of(largest + 1).mask() & ~PageSize::lg2_of(smallest).mask()};
    }

    static constexpr Entry entry(Word word, unsigned level)
    {
        if ((word & kPresent) == 0) return Entry::empty;
        Word const next = next_level(word);
        if (next == kSizeInAddress)
            return leaf_sizes(level).has(size_in_address(word)) ? Entry::leaf : Entry::reserved;
        if (next == 0) return level > kTopLeafLevel ? Entry::reserved : Entry::leaf;
        // The architecture lets a table skip levels. Linux never does, and nor do we.
        return next == level ? Entry::table : Entry::reserved;
    }

    // Linux makes every leaf force coherency, whoever asks.
    static constexpr Word attributes(Asked const& asked)
    {
        return kForceCoherent | rights(asked.prot) | kPresent;
    }
    static constexpr Word make_leaf(Paddr paddr, unsigned level, PageSize size, Word attributes)
    {
        if (size == slot_size(level)) return field(paddr.raw()) | attributes;
        // Ones below the highest bit of the offset, and a zero there, tell the size.
        std::uint64_t const address = size.align_down(paddr.raw()) | (size.mask() >> 1);
        return field(address) | attributes | (kSizeInAddress << kNextLevelShift);
    }
    static constexpr PageSize leaf_size(Word word, unsigned level)
    {
        return next_level(word) == kSizeInAddress ? size_in_address(word) : slot_size(level);
    }
    static constexpr Paddr leaf_paddr(Word word, unsigned level)
    {
        return Paddr{leaf_size(word, level).align_down(address(word))};
    }
    static constexpr Word leaf_attributes(Word word, unsigned)
    {
        return word & (kForceCoherent | rights(Prot::read_write) | kPresent | kAccessed | kDirty);
    }

    static constexpr Word make_table(Paddr paddr, unsigned level)
    {
        return field(paddr.raw()) | (Word{level} << kNextLevelShift) | rights(Prot::read_write) |
               kPresent;
    }
    static constexpr Paddr table_paddr(Word word) { return Paddr{address(word)}; }

    static constexpr Prot prot(Word word, unsigned)
    {
        return static_cast<Prot>((word >> kRightsShift) & 3);
    }

    static constexpr bool dirty(Word leaf) { return (leaf & kDirty) != 0; }
    static constexpr Word make_clean(Word leaf) { return leaf & ~kDirty; }
    static constexpr Word make_accessed(Word leaf) { return leaf | kAccessed; }
    static constexpr Word make_dirty(Word leaf) { return leaf | kAccessed | kDirty; }

private:
    static constexpr unsigned kTopLeafLevel = kMaxLevels - 2;
    static constexpr Word kSizeInAddress = 7;

    static constexpr Word field(std::uint64_t address)
    {
        return (address << (12 - kGranuleLg2)) & kAddress;
    }
    static constexpr std::uint64_t address(Word word)
    {
        return (word & kAddress) >> (12 - kGranuleLg2);
    }
    static constexpr Word rights(Prot prot) { return static_cast<Word>(prot) << kRightsShift; }
    static constexpr Word next_level(Word word) { return (word >> kNextLevelShift) & 7; }
    static constexpr PageSize size_in_address(Word word)
    {
        Word const granules = (word & kAddress) >> 12;
        return PageSize::lg2_of(kGranuleLg2 + 1 + static_cast<unsigned>(std::countr_one(granules)));
    }
};

using Amdv1 = Amdv1Of<12>;

static_assert(TracksDirty<Amdv1>);
static_assert(TracksDirty<Amdv1Of<11>>);

// Words computed by hand from the bit table, and the way back.
namespace amdv1_checks {

constexpr unsigned level_of(unsigned lg2) { return (lg2 - 12) / 9; }
constexpr Word leaf(std::uint64_t paddr, unsigned lg2, Prot prot)
{
    return Amdv1::make_leaf(Paddr{paddr}, level_of(lg2), PageSize::lg2_of(lg2),
                            Amdv1::attributes({.prot = prot}));
}
// For the word in each of a leaf's slots.
constexpr bool round_trips(std::uint64_t paddr, unsigned lg2, Prot prot)
{
    unsigned const level = level_of(lg2);
    PageSize const slot = Amdv1::slot_size(level);
    Word const word = leaf(paddr, lg2, prot);
    for (std::uint64_t at = paddr; at < paddr + PageSize::lg2_of(lg2).bytes(); at += slot.bytes())
        if (leaf(at, lg2, prot) != word) return false;
    return Amdv1::leaf_sizes(level).has(PageSize::lg2_of(lg2)) &&
           Amdv1::entry(word, level) == Entry::leaf &&
           Amdv1::leaf_size(word, level) == PageSize::lg2_of(lg2) &&
           Amdv1::leaf_paddr(word, level) == Paddr{paddr} && Amdv1::prot(word, level) == prot &&
           Amdv1::leaf_attributes(word, level) == Amdv1::attributes({.prot = prot}) &&
           !Amdv1::dirty(word) && Amdv1::dirty(Amdv1::make_dirty(word)) &&
           Amdv1::make_clean(Amdv1::make_dirty(word)) == Amdv1::make_accessed(word);
}
// The highest place that each size can lead to.
constexpr bool every_size_round_trips()
{
    for (unsigned lg2 = 12; lg2 <= 52; ++lg2)
        if (!round_trips((std::uint64_t{1} << 52) - PageSize::lg2_of(lg2).bytes(), lg2,
                         static_cast<Prot>(1 + lg2 % 3)))
            return false;
    return true;
}

static_assert(leaf(0x1234'5000, 12, Prot::read_write) == 0x7000'0000'1234'5001);
static_assert(leaf(0x1234'5000, 12, Prot::read) == 0x3000'0000'1234'5001);
static_assert(leaf(0x1234'6000, 13, Prot::read_write) == 0x7000'0000'1234'6e01);
static_assert(leaf(0x1234'0000, 16, Prot::read_write) == 0x7000'0000'1234'7e01);
static_assert(leaf(0x8020'0000, 21, Prot::read_write) == 0x7000'0000'8020'0001);
static_assert(leaf(0x8040'0000, 22, Prot::read_write) == 0x7000'0000'805f'fe01);
static_assert(leaf(0x4'0000'0000, 34, Prot::read_write) == 0x7000'0005'ffff'fe01);
static_assert(Amdv1::make_table(Paddr{0x1000'2000}, 1) == 0x6000'0000'1000'2201);
static_assert(Amdv1::make_table(Paddr{0x1000'2000}, 2) == 0x6000'0000'1000'2401);

static_assert(every_size_round_trips());
static_assert(round_trips(0, 12, Prot::write) && round_trips(0, 51, Prot::read));
static_assert(Amdv1::leaf_sizes(0) == PageSizes{0x1f'f000});
static_assert(Amdv1::leaf_sizes(4) == PageSizes{0x1f'0000'0000'0000});
static_assert(Amdv1::leaf_sizes(5).empty());

static_assert(Amdv1::entry(0x6000'0000'1000'2201, 1) == Entry::table);
static_assert(Amdv1::table_paddr(0x6000'0000'1000'2201) == Paddr{0x1000'2000});
// A table that skips a level, one in level 0, a size of another level, a leaf in the highest level.
static_assert(Amdv1::entry(0x6000'0000'1000'2201, 2) == Entry::reserved);
static_assert(Amdv1::entry(0x6000'0000'1000'2201, 0) == Entry::reserved);
static_assert(Amdv1::entry(0x7000'0000'805f'fe01, 0) == Entry::reserved);
static_assert(Amdv1::entry(0x7000'0000'1234'6e01, 1) == Entry::reserved);
static_assert(Amdv1::entry(0x7000'0000'0000'0001, 5) == Entry::reserved);
// Without PR a word is empty. Accessed and dirty are the hardware's to set and change nothing else.
static_assert(Amdv1::entry(~Word{1}, 0) == Entry::empty);
static_assert(Amdv1::make_dirty(0x7000'0000'1234'5001) == 0x7000'0000'1234'5061);
static_assert(Amdv1::leaf_paddr(0x7000'0000'1234'5061, 0) == Paddr{0x1234'5000});

}  // namespace amdv1_checks

}  // namespace pinfold::pagetable
