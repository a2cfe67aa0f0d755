// RISC-V Sv39, Sv48 and Sv57: 3, 4 or 5 levels, 4 KiB tables, and a leaf at every level: 4 KiB,
// 2 MiB, 1 GiB, 512 GiB, 256 TiB; with Svnapot also 64 KiB, 16 words that are all alike. A word
// with neither R, W nor X leads to a table. A domain uses the lower half of the addresses: 38, 47
// or 56 bits. Privileged architecture, 12.3 to 12.6; Svnapot and Svpbmt.
#pragma once

#include "pagetable/format.hpp"

namespace pinfold::pagetable {

// Whether words can say a memory type of their own (Svpbmt).
enum class Svpbmt : bool { off, on };

template <Svpbmt Types = Svpbmt::off>
struct Riscv {
    using Word = std::uint64_t;

    static constexpr unsigned kGranuleLg2 = 12;
    static constexpr unsigned kSlotsLg2 = 9;
    static constexpr unsigned kMaxLevels = 5;
    static constexpr unsigned kPaddrBits = 56;
    static constexpr Errno kNoRights = Errno::opnotsupp;

    static constexpr Word kValid = Word{1} << 0;
    static constexpr Word kRead = Word{1} << 1;
    static constexpr Word kWrite = Word{1} << 2;
    static constexpr Word kExecute = Word{1} << 3;
    static constexpr Word kUser = Word{1} << 4;
    static constexpr Word kAccessed = Word{1} << 6;
    static constexpr Word kDirty = Word{1} << 7;
    static constexpr unsigned kPageNumberShift = 10;
    static constexpr Word kPageNumber = (Word{1} << 54) - (Word{1} << kPageNumberShift);
    static constexpr Word kNonCacheable = Word{1} << 61;
    static constexpr Word kDevice = Word{2} << 61;
    static constexpr Word kNapot = Word{1} << 63;
    static constexpr Word kReserved = Word{0x7f} << 54;

    static constexpr unsigned slots_lg2(unsigned) { return kSlotsLg2; }
    static constexpr PageSize slot_size(unsigned level)
    {
        return PageSize::lg2_of(kGranuleLg2 + kSlotsLg2 * level);
    }
    // 64 KiB is Svnapot's: the sizes that a domain is given decide whether it is used.
    static constexpr PageSizes leaf_sizes(unsigned level)
    {
        return PageSizes{slot_size(level).bytes() | (level == 0 ? k64K.bytes() : 0)};
    }

    static constexpr Entry entry(Word word, unsigned level)
    {
        if ((word & kValid) == 0) return Entry::empty;
        bool const type =
            Types == Svpbmt::off ? (word & kTypeBoth) == 0 : (word & kTypeBoth) != kTypeBoth;
        if ((word & kReserved) != 0 || !type) return Entry::reserved;
        if ((word & (kRead | kWrite | kExecute)) == 0) {
            bool const plain = (word & (kUser | kAccessed | kDirty | kNapot | kTypeBoth)) == 0;
            return level > 0 && plain ? Entry::table : Entry::reserved;
        }
        if ((word & (kRead | kWrite)) == kWrite) return Entry::reserved;
        if ((word & kNapot) != 0)
            return level == 0 && (word & kNapotPattern) == kNapot64K ? Entry::leaf
                                                                     : Entry::reserved;
        return slot_size(level).aligned(address(word)) ? Entry::leaf : Entry::reserved;
    }

    // W without R is reserved. A leaf that can be written is made dirty, unless its first write is
    // to be seen.
    static constexpr Word attributes(Asked const& asked)
    {
        bool const writes = allows(asked.prot, Access::write);
        Word word = kValid | kAccessed | kUser | kRead;
        if (writes) word |= kWrite;
        if (writes && !asked.tracked) word |= kDirty;
        if (!asked.no_execute) word |= kExecute;
        if (Types == Svpbmt::on) word |= asked.device ? kDevice : asked.cached ? 0 : kNonCacheable;
        return word;
    }
    static constexpr Word make_leaf(Paddr paddr, unsigned level, PageSize size, Word attributes)
    {
        if (size == slot_size(level)) return field(paddr.raw()) | attributes;
        return field(size.align_down(paddr.raw())) | kNapot64K | kNapot | attributes;
    }
    static constexpr PageSize leaf_size(Word word, unsigned level)
    {
        return (word & kNapot) != 0 ? k64K : slot_size(level);
    }
    static constexpr Paddr leaf_paddr(Word word, unsigned level)
    {
        return Paddr{leaf_size(word, level).align_down(address(word))};
    }
    static constexpr Word leaf_attributes(Word word, unsigned)
    {
        return word & ~(kPageNumber | kNapot);
    }

    static constexpr Word make_table(Paddr paddr, unsigned) { return field(paddr.raw()) | kValid; }
    static constexpr Paddr table_paddr(Word word) { return Paddr{address(word)}; }

    // A device's accesses are the user's. A leaf that is not marked as accessed faults.
    static constexpr Prot prot(Word word, unsigned)
    {
        if ((word & (kRead | kWrite | kExecute)) == 0) return Prot::read_write;  // a table
        if ((word & kUser) == 0 || (word & kAccessed) == 0) return Prot::none;
        Prot const read = (word & kRead) != 0 ? Prot::read : Prot::none;
        return (word & kWrite) != 0 ? read | Prot::write : read;
    }

    static constexpr bool dirty(Word leaf) { return (leaf & kDirty) != 0; }
    static constexpr Word make_clean(Word leaf) { return leaf & ~kDirty; }
    static constexpr Word make_accessed(Word leaf) { return leaf | kAccessed; }
    static constexpr Word make_dirty(Word leaf) { return leaf | kAccessed | kDirty; }

private:
    static constexpr Word kTypeBoth = kNonCacheable | kDevice;
    static constexpr Word kNapotPattern = Word{0xf} << kPageNumberShift;
    static constexpr Word kNapot64K = Word{8} << kPageNumberShift;

    static constexpr Word field(std::uint64_t address)
    {
        return address >> kGranuleLg2 << kPageNumberShift;
    }
    static constexpr std::uint64_t address(Word word)
    {
        return (word & kPageNumber) >> kPageNumberShift << kGranuleLg2;
    }
};

// Bits of IOVA: without the half that sign extension gives to addresses from 2^63 up.
constexpr unsigned riscv_width(unsigned levels) { return 12 + 9 * levels - 1; }

static_assert(TracksDirty<Riscv<>>);
static_assert(TracksDirty<Riscv<Svpbmt::on>>);

// Words computed by hand from the bit table, and the way back.
namespace riscv_checks {

using Plain = Riscv<>;
using Typed = Riscv<Svpbmt::on>;

template <class F = Plain>
constexpr Word leaf(std::uint64_t paddr, PageSize size, Asked const& asked)
{
    unsigned const level = size == k64K ? 0 : (size.lg2() - 12) / 9;
    return F::make_leaf(Paddr{paddr}, level, size, F::attributes(asked));
}
constexpr Asked kRwx{.prot = Prot::read_write};
constexpr Asked kRw{.prot = Prot::read_write, .no_execute = true};
constexpr Asked kR{.prot = Prot::read, .no_execute = true};

template <class F>
constexpr bool every_size_round_trips()
{
    for (unsigned level = 0; level < F::kMaxLevels; ++level)
        for (std::uint64_t sizes = F::leaf_sizes(level).bitmap(); sizes != 0; sizes &= sizes - 1) {
            PageSize const size = *PageSize::of(sizes & -sizes);
            Paddr const highest{(std::uint64_t{1} << 56) - size.bytes()};
            for (auto const prot : {Prot::read, Prot::write, Prot::read_write})
                for (bool const tracked : {false, true}) {
                    Word const attributes = F::attributes({.prot = prot, .tracked = tracked});
                    Word const word = F::make_leaf(highest, level, size, attributes);
                    Prot const rights = prot == Prot::read ? Prot::read : Prot::read_write;
                    if (F::entry(word, level) != Entry::leaf || F::prot(word, level) != rights ||
                        F::leaf_paddr(word, level) != highest ||
                        F::leaf_size(word, level) != size ||
                        F::leaf_attributes(word, level) != attributes ||
                        (tracked && F::dirty(word)) || !F::dirty(F::make_dirty(word)))
                        return false;
                }
        }
    return true;
}
static_assert(every_size_round_trips<Plain>());
static_assert(every_size_round_trips<Typed>());

static_assert(leaf(0x8000'1000, k4K, kRwx) == 0x0000'0000'2000'04df);
static_assert(leaf(0x8000'1000, k4K, kRw) == 0x0000'0000'2000'04d7);
static_assert(leaf(0x8000'1000, k4K, kR) == 0x0000'0000'2000'0453);
static_assert(leaf(0x8020'0000, k2M, kRw) == 0x0000'0000'2008'00d7);
static_assert(leaf(0x8001'0000, k64K, kRw) == 0x8000'0000'2000'60d7);
static_assert(leaf(0x8001'7000, k64K, kRw) == 0x8000'0000'2000'60d7);
static_assert(leaf<Typed>(0x2800'0000, k4K,
                          {.prot = Prot::read_write, .device = true, .no_execute = true}) ==
              0x4000'0000'0a00'00d7);
static_assert(leaf<Typed>(0x2800'0000, k4K,
                          {.prot = Prot::read_write, .cached = false, .no_execute = true}) ==
              0x2000'0000'0a00'00d7);
static_assert(Plain::make_table(Paddr{0x1000'2000}, 1) == 0x0000'0000'0400'0801);
static_assert(Plain::entry(0x0400'0801, 1) == Entry::table);
static_assert(Plain::table_paddr(0x0400'0801) == Paddr{0x1000'2000});

// A table at level 0, one with a leaf's bits, W without R, a misaligned large leaf, another pattern
// or another level for N, reserved bits, a memory type where there are none.
static_assert(Plain::entry(0x0400'0801, 0) == Entry::reserved);
static_assert(Plain::entry(0x0400'0811, 1) == Entry::reserved);
static_assert(Plain::entry(0x2000'04d5, 0) == Entry::reserved);
static_assert(Plain::entry(0x2000'04d7, 1) == Entry::reserved);
static_assert(Plain::entry(0x8000'0000'2000'40d7, 0) == Entry::reserved);
static_assert(Plain::entry(0x8000'0000'2008'00d7, 1) == Entry::reserved);
static_assert(Plain::entry(0x0040'0000'2000'04d7, 0) == Entry::reserved);
static_assert(Plain::entry(0x4000'0000'0a00'00d7, 0) == Entry::reserved);
static_assert(Typed::entry(0x4000'0000'0a00'00d7, 0) == Entry::leaf);
static_assert(Typed::entry(0x6000'0000'0a00'00d7, 0) == Entry::reserved);
static_assert(Plain::entry(~Word{1}, 0) == Entry::empty);
// The supervisor's leaf, and one that was never accessed.
static_assert(Plain::prot(0x2000'04c7, 0) == Prot::none);
static_assert(Plain::prot(0x2000'0497, 0) == Prot::none);

}  // namespace riscv_checks

}  // namespace pinfold::pagetable
