// Intel VT-d, second-stage translation: 3, 4 or 5 levels (39, 48, 57 bits of IOVA), 4 KiB tables,
// leaves of 4 KiB, 2 MiB and 1 GiB. There is no present bit: a word that permits nothing is empty.
// A leaf says exactly what was asked, so write-only is 2; drivers before Linux 7.3 ask for reads
// too. Hardware sets A and D where the context says so. VT-d specification, 3.7 and 9.10.
#pragma once

#include "pagetable/x86_geometry.hpp"

namespace pinfold::pagetable {

struct Vtdss : X86Geometry {
    static constexpr unsigned kMinLevels = 3;

    static constexpr Word kRead = Word{1} << 0;
    static constexpr Word kWrite = Word{1} << 1;
    static constexpr Word kAccessed = Word{1} << 8;
    static constexpr Word kDirty = Word{1} << 9;
    static constexpr Word kSnoop = Word{1} << 11;

    static constexpr Entry entry(Word word, unsigned level)
    {
        if ((word & (kRead | kWrite)) == 0) return Entry::empty;
        return present_entry(word, level);
    }

    static constexpr Word attributes(Asked const& asked)
    {
        return static_cast<Word>(asked.prot) | (asked.snoop == Snoop::always ? kSnoop : 0);
    }
    static constexpr Paddr leaf_paddr(Word word, unsigned) { return Paddr{word & kAddress}; }

    static constexpr Word leaf_attributes(Word word, unsigned)
    {
        return word & (kRead | kWrite | kSnoop | kAccessed | kDirty);
    }

    static constexpr Word make_table(Paddr paddr, unsigned) { return paddr.raw() | kRead | kWrite; }

    static constexpr Prot prot(Word word, unsigned)
    {
        return static_cast<Prot>(word & (kRead | kWrite));
    }

    static constexpr bool dirty(Word leaf) { return (leaf & kDirty) != 0; }
    static constexpr Word make_clean(Word leaf) { return leaf & ~kDirty; }
    static constexpr Word make_accessed(Word leaf) { return leaf | kAccessed; }
    static constexpr Word make_dirty(Word leaf) { return leaf | kAccessed | kDirty; }
};

static_assert(TracksDirty<Vtdss>);

// Words computed by hand from the bit table, and the way back.
namespace vtdss_checks {

constexpr Word leaf(std::uint64_t paddr, unsigned level, Prot prot, Snoop snoop = Snoop::as_asked)
{
    return Vtdss::make_leaf(Paddr{paddr}, level, Vtdss::slot_size(level),
                            Vtdss::attributes({.prot = prot, .snoop = snoop}));
}
constexpr bool round_trips(std::uint64_t paddr, unsigned level, Prot prot)
{
    Word const word = leaf(paddr, level, prot);
    return Vtdss::entry(word, level) == Entry::leaf && Vtdss::prot(word, level) == prot &&
           Vtdss::leaf_paddr(word, level) == Paddr{paddr} &&
           Vtdss::leaf_attributes(word, level) == Vtdss::attributes({.prot = prot}) &&
           !Vtdss::dirty(word) && Vtdss::dirty(Vtdss::make_dirty(word)) &&
           Vtdss::make_clean(Vtdss::make_dirty(word)) == Vtdss::make_accessed(word);
}

static_assert(leaf(0x1234'5000, 0, Prot::read_write) == 0x0000'0000'1234'5003);
static_assert(leaf(0x1234'5000, 0, Prot::read) == 0x0000'0000'1234'5001);
static_assert(leaf(0x1234'5000, 0, Prot::write) == 0x0000'0000'1234'5002);
static_assert(leaf(0x8020'0000, 1, Prot::read_write, Snoop::always) == 0x0000'0000'8020'0883);
static_assert(leaf(0x1'4000'0000, 2, Prot::read) == 0x0000'0001'4000'0081);
static_assert(Vtdss::make_table(Paddr{0x7000}, 1) == 0x7003);

static_assert(round_trips(0x000f'ffff'ffff'f000, 0, Prot::read));
static_assert(round_trips(0x000f'ffff'ffe0'0000, 1, Prot::write));
static_assert(round_trips(0x000f'ffff'c000'0000, 2, Prot::read_write));
static_assert(round_trips(0, 0, Prot::write));
static_assert(Vtdss::entry(0x7003, 1) == Entry::table);
static_assert(Vtdss::table_paddr(0x7003) == Paddr{0x7000});

// Accessed and dirty are the hardware's to set and change nothing else; a word that permits nothing
// is empty whatever else stands in it; a large leaf has no address bits below its size.
static_assert(Vtdss::entry(0x1234'5303, 0) == Entry::leaf);
static_assert(Vtdss::leaf_paddr(0x1234'5303, 0) == Paddr{0x1234'5000});
static_assert(Vtdss::prot(0x1234'5303, 0) == Prot::read_write);
static_assert(Vtdss::make_dirty(leaf(0x1234'5000, 0, Prot::read_write)) == 0x1234'5303);
static_assert(Vtdss::entry(0xffff'ffff'ffff'fffc, 0) == Entry::empty);
static_assert(Vtdss::entry(0x8020'1083, 1) == Entry::reserved);
static_assert(Vtdss::entry(0x83, 3) == Entry::reserved);

}  // namespace vtdss_checks

}  // namespace pinfold::pagetable
