// x86-64 page tables with 4 or 5 levels, as a CPU walks them: VT-d's first stage and AMD's "v2".
// 4 KiB tables, leaves of 4 KiB, 2 MiB and 1 GiB. Whatever is present can be read. A domain uses
// the lower half of the addresses: 47 or 56 bits. Intel SDM, volume 3, 4.5; VT-d
// specification, 9.7.
#pragma once

#include "pagetable/x86_geometry.hpp"

namespace pinfold::pagetable {

// Whose driver it is: they write different bits for the same request. `generic`: the page-table
// library of Linux 7.3, for both units. `vtd61`: VT-d before it, which forbids execution
// everywhere. `amd61`: AMD before it, which makes every leaf dirty.
enum class X86Writer : std::uint8_t { generic, vtd61, amd61 };

template <X86Writer Writer>
struct X86_64 : X86Geometry {
    static constexpr Word kPresent = Word{1} << 0;
    static constexpr Word kWrite = Word{1} << 1;
    static constexpr Word kUser = Word{1} << 2;
    static constexpr Word kAccessed = Word{1} << 5;
    static constexpr Word kDirty = Word{1} << 6;
    static constexpr Word kNoExecute = Word{1} << 63;

    static constexpr Entry entry(Word word, unsigned level)
    {
        if ((word & kPresent) == 0) return Entry::empty;
        return present_entry(word, level, kPat);
    }

    // A leaf that can be written is made dirty, unless its first write is to be seen.
    static constexpr Word attributes(Asked const& asked)
    {
        bool const writes = allows(asked.prot, Access::write);
        bool const dirty = Writer == X86Writer::amd61 || writes;
        return kPresent | kUser | kAccessed | kForbidden | (writes ? kWrite : 0) |
               (dirty && !asked.tracked ? kDirty : 0);
    }
    static constexpr Paddr leaf_paddr(Word word, unsigned level)
    {
        return Paddr{slot_size(level).align_down(word & kAddress)};
    }
    static constexpr Word leaf_attributes(Word word, unsigned)
    {
        return word & (kPresent | kWrite | kUser | kAccessed | kDirty | kNoExecute);
    }

    static constexpr Word make_table(Paddr paddr, unsigned)
    {
        return paddr.raw() | kPresent | kWrite | kUser | kAccessed | kForbidden;
    }

    // A device's accesses are the user's.
    static constexpr Prot prot(Word word, unsigned)
    {
        if ((word & kUser) == 0) return Prot::none;
        return (word & kWrite) != 0 ? Prot::read_write : Prot::read;
    }

    static constexpr bool dirty(Word leaf) { return (leaf & kDirty) != 0; }
    static constexpr Word make_clean(Word leaf) { return leaf & ~kDirty; }
    static constexpr Word make_accessed(Word leaf) { return leaf | kAccessed; }
    static constexpr Word make_dirty(Word leaf) { return leaf | kAccessed | kDirty; }

private:
    static constexpr Word kPat = Word{1} << 12;  // of a large leaf: no address bit
    static constexpr Word kForbidden = Writer == X86Writer::vtd61 ? kNoExecute : 0;
};

// Bits of IOVA: without the half that sign extension gives to addresses from 2^63 up.
constexpr unsigned x86_width(unsigned levels) { return 12 + 9 * levels - 1; }

static_assert(TracksDirty<X86_64<X86Writer::generic>>);
static_assert(TracksDirty<X86_64<X86Writer::vtd61>>);
static_assert(TracksDirty<X86_64<X86Writer::amd61>>);
static_assert(x86_width(4) == 47 && x86_width(5) == 56);

// Words computed by hand from the bit table, and the way back.
namespace x86_64_checks {

using Generic = X86_64<X86Writer::generic>;
using Vtd61 = X86_64<X86Writer::vtd61>;
using Amd61 = X86_64<X86Writer::amd61>;

template <class F = Generic>
constexpr Word leaf(std::uint64_t paddr, unsigned level, Asked const& asked)
{
    return F::make_leaf(Paddr{paddr}, level, F::slot_size(level), F::attributes(asked));
}
constexpr Asked kRw{.prot = Prot::read_write};
constexpr Asked kR{.prot = Prot::read};
constexpr Asked kW{.prot = Prot::write};

template <class F>
constexpr bool every_size_round_trips()
{
    for (unsigned level = 0; !F::leaf_sizes(level).empty(); ++level)
        for (auto const prot : {Prot::read, Prot::write, Prot::read_write})
            for (bool const tracked : {false, true}) {
                Paddr const highest{(std::uint64_t{1} << 52) - F::slot_size(level).bytes()};
                Word const attributes = F::attributes({.prot = prot, .tracked = tracked});
                Word const word = F::make_leaf(highest, level, F::slot_size(level), attributes);
                Prot const rights = prot == Prot::read ? Prot::read : Prot::read_write;
                if (F::entry(word, level) != Entry::leaf || F::leaf_paddr(word, level) != highest ||
                    F::leaf_attributes(word, level) != attributes ||
                    F::prot(word, level) != rights || (tracked && F::dirty(word)) ||
                    !F::dirty(F::make_dirty(word)))
                    return false;
            }
    return true;
}
static_assert(every_size_round_trips<Generic>());
static_assert(every_size_round_trips<Vtd61>());
static_assert(every_size_round_trips<Amd61>());

static_assert(leaf(0x1234'5000, 0, kRw) == 0x0000'0000'1234'5067);
static_assert(leaf(0x1234'5000, 0, kR) == 0x0000'0000'1234'5025);
static_assert(leaf(0x1234'5000, 0, kW) == 0x0000'0000'1234'5067);
static_assert(leaf(0x8020'0000, 1, kRw) == 0x0000'0000'8020'00e7);
static_assert(leaf(0x4000'0000, 2, kR) == 0x0000'0000'4000'00a5);
static_assert(leaf<Vtd61>(0x1234'5000, 0, kRw) == 0x8000'0000'1234'5067);
static_assert(leaf<Amd61>(0x1234'5000, 0, kR) == 0x0000'0000'1234'5065);
static_assert(Generic::make_table(Paddr{0x1000'2000}, 1) == 0x1000'2027);
static_assert(Amd61::make_table(Paddr{0x1000'2000}, 1) == 0x1000'2027);
static_assert(Vtd61::make_table(Paddr{0x1000'2000}, 1) == 0x8000'0000'1000'2027);
static_assert(Generic::entry(0x1000'2027, 1) == Entry::table);
static_assert(Generic::table_paddr(0x8000'0000'1000'2027) == Paddr{0x1000'2000});

// A large leaf too high up or misaligned (its bit 12 is memory type), one that is not present, one
// that is the supervisor's.
static_assert(Generic::entry(0x0000'0000'0000'00e7, 3) == Entry::reserved);
static_assert(Generic::entry(0x0000'0000'8020'20e7, 1) == Entry::reserved);
static_assert(Generic::entry(0x0000'0000'8020'10e7, 1) == Entry::leaf);
static_assert(Generic::leaf_paddr(0x0000'0000'8020'10e7, 1) == Paddr{0x8020'0000});
static_assert(Generic::entry(~Word{1}, 0) == Entry::empty);
static_assert(Generic::prot(0x1234'5063, 0) == Prot::none);

}  // namespace x86_64_checks

}  // namespace pinfold::pagetable
