// Arm short descriptors (v7s): two levels of 32-bit words. The first table has 4096 slots of 1 MiB
// and takes 16 KiB; a second-level table has 256 slots of 4 KiB and takes 1 KiB. Leaves: 4 KiB,
// 64 KiB (16 words alike), 1 MiB, 16 MiB (16 words alike). A leaf that may not be written can be
// read, whatever was asked. Arm ARM (ARMv7-A), B3.5; SMMUv2.
#pragma once

#include "pagetable/format.hpp"

namespace pinfold::pagetable {

// MediaTek's variant has 34 bits of IOVA and 35 of paddr, and no permissions.
enum class V7sKind : std::uint8_t { arm, non_secure, mediatek };

template <V7sKind Kind = V7sKind::arm>
struct ArmV7s {
    using Word = std::uint32_t;

    static constexpr unsigned kGranuleLg2 = 12;
    static constexpr unsigned kMaxLevels = 2;
    static constexpr bool kMediatek = Kind == V7sKind::mediatek;
    static constexpr unsigned kPaddrBits = kMediatek ? 35 : 32;
    static constexpr unsigned kIovaBits = kMediatek ? 34 : 32;

    static constexpr unsigned slots_lg2(unsigned level)
    {
        return level == 0 ? 8U : kIovaBits - 20U;
    }
    static constexpr PageSize slot_size(unsigned level)
    {
        return PageSize::lg2_of(level == 0 ? kGranuleLg2 : 20U);
    }
    // 16 MiB only where the driver asks: the sizes that a domain is given decide.
    static constexpr PageSizes leaf_sizes(unsigned level)
    {
        return PageSizes{level == 0 ? 0x1'1000U : 0x110'0000U};
    }

    static constexpr Entry entry(Word word, unsigned level)
    {
        Word const type = word & kType;
        if (type == 0) return Entry::empty;
        if (level == 0) return Entry::leaf;
        if (type == kTable) return Entry::table;
        bool const super = (word & kSupersection) != 0;
        // Of a supersection, bits 23:20 and 8:5 are those of the paddr above 32.
        bool const high = !kMediatek && super && (word & kSuperHighAddress) != 0;
        return type == kSection && !high ? Entry::leaf : Entry::reserved;
    }

    // In the places of a section's word, where everything has one of its own.
    static constexpr Word attributes(Asked const& asked)
    {
        Word word = kNotGlobal | kShared;
        if (!asked.device) word |= kTex1;
        if (!kMediatek) {
            word |= kAccessed;
            if (!asked.privileged) word |= kUnprivileged;
            if (!allows(asked.prot, Access::write)) word |= kReadOnly;
            if (asked.no_execute) word |= kNoExecute;
        }
        if (asked.device)
            word |= kBuffered;
        else if (asked.cached)
            word |= kBuffered | kCached;
        if (Kind == V7sKind::non_secure) word |= kNonSecure;
        return word;
    }
    static constexpr Word make_leaf(Paddr paddr, unsigned level, PageSize size, Word attributes)
    {
        Word const address = field(size.align_down(paddr.raw()));
        Word const buffers = attributes & (kBuffered | kCached);
        bool const no_execute = (attributes & kNoExecute) != 0;
        if (level == 1)
            return address | attributes | kSection | (size == kSuper ? kSupersection : 0);
        Word const access = (attributes & kAccessBits) >> kPageShift;
        if (size == k4K) return address | access | buffers | kSmall | (no_execute ? 1U : 0U);
        // A large page's TEX stands higher, and XN above it.
        Word const tex = (access & kPageTex) << kLargeTexShift;
        return address | (access & ~kPageTex) | tex | buffers | kLarge |
               (no_execute ? kLargeNoExecute : 0);
    }
    static constexpr PageSize leaf_size(Word word, unsigned level)
    {
        if (level == 1) return (word & kSupersection) != 0 ? kSuper : slot_size(1);
        return (word & kType) == kLarge ? k64K : k4K;
    }
    static constexpr Paddr leaf_paddr(Word word, unsigned level)
    {
        return Paddr{leaf_size(word, level).align_down(address(word))};
    }
    static constexpr Word leaf_attributes(Word word, unsigned level)
    {
        Word const buffers = word & (kBuffered | kCached);
        if (level == 1) return (word & (kAccessBits | kExecuteBit | kNonSecureBit)) | buffers;
        bool const large = (word & kType) == kLarge;
        Word access = word & (kAccessBits >> kPageShift);
        if (large) access = (access & ~kPageTex) | ((word >> kLargeTexShift) & kPageTex);
        bool const no_execute = large ? (word & kLargeNoExecute) != 0 : (word & 1) != 0;
        return access << kPageShift | buffers | (no_execute && !kMediatek ? kNoExecute : 0) |
               (Kind == V7sKind::non_secure ? kNonSecure : 0);
    }

    static constexpr Word make_table(Paddr paddr, unsigned)
    {
        return field(paddr.raw()) | kTable | (Kind == V7sKind::non_secure ? 8U : 0U);
    }
    static constexpr Paddr table_paddr(Word word)
    {
        return Paddr{(word & kTableAddress) | high(word)};
    }

    static constexpr Prot prot(Word word, unsigned level)
    {
        if (kMediatek || (level == 1 && (word & kType) == kTable)) return Prot::read_write;
        Word const access = level == 1 ? word : word << kPageShift;
        if ((access & kAccessed) == 0 || (access & kUnprivileged) == 0) return Prot::none;
        return (access & kReadOnly) != 0 ? Prot::read : Prot::read_write;
    }

private:
    static constexpr PageSize kSuper = PageSize::lg2_of(24);

    static constexpr Word kType = 3;
    static constexpr Word kTable = 1;
    static constexpr Word kSection = 2;
    static constexpr Word kLarge = 1;
    static constexpr Word kSmall = 2;
    static constexpr Word kSupersection = Word{1} << 18;
    static constexpr Word kSuperHighAddress = 0x00f0'01e0;

    static constexpr Word kBuffered = Word{1} << 2;
    static constexpr Word kCached = Word{1} << 3;
    static constexpr Word kNoExecute = Word{1} << 4;
    static constexpr Word kAccessed = Word{1} << 10;
    static constexpr Word kUnprivileged = Word{1} << 11;
    static constexpr Word kTex1 = Word{1} << 12;
    static constexpr Word kReadOnly = Word{1} << 15;
    static constexpr Word kShared = Word{1} << 16;
    static constexpr Word kNotGlobal = Word{1} << 17;
    static constexpr Word kNonSecure = Word{1} << 19;
    static constexpr Word kAccessBits =
        (Word{0xff} << 10) & ~(kMediatek ? kAccessed | kUnprivileged | kReadOnly : Word{0});
    static constexpr Word kExecuteBit = kMediatek ? 0 : kNoExecute;
    static constexpr Word kNonSecureBit = Kind == V7sKind::non_secure ? kNonSecure : 0;
    // From a section's places to a page's.
    static constexpr unsigned kPageShift = 6;
    static constexpr Word kPageTex = Word{7} << 6;
    static constexpr unsigned kLargeTexShift = 6;
    static constexpr Word kLargeNoExecute = Word{1} << 15;

    static constexpr Word kLeafAddress = 0xffff'f000;
    static constexpr Word kTableAddress = 0xffff'fc00;
    // MediaTek's paddr bits 32, 33 and 34 stand in bits 9, 4 and 5.
    static constexpr Word field(std::uint64_t address)
    {
        Word word = static_cast<Word>(address);
        if (kMediatek)
            word |= static_cast<Word>((address >> 32 & 1) << 9 | (address >> 33 & 1) << 4 |
                                      (address >> 34 & 1) << 5);
        return word;
    }
    static constexpr std::uint64_t high(Word word)
    {
        if (!kMediatek) return 0;
        std::uint64_t const wide = word;
        return (wide >> 9 & 1) << 32 | (wide >> 4 & 1) << 33 | (wide >> 5 & 1) << 34;
    }
    static constexpr std::uint64_t address(Word word) { return (word & kLeafAddress) | high(word); }
};

static_assert(PageTableFormat<ArmV7s<>>);
static_assert(PageTableFormat<ArmV7s<V7sKind::non_secure>>);
static_assert(PageTableFormat<ArmV7s<V7sKind::mediatek>>);

// Words computed by hand from the bit table, and the way back.
namespace arm_v7s_checks {

using Plain = ArmV7s<>;
using NonSecure = ArmV7s<V7sKind::non_secure>;
using Mediatek = ArmV7s<V7sKind::mediatek>;

template <class F = Plain>
constexpr std::uint32_t leaf(std::uint64_t paddr, unsigned lg2, Asked const& asked)
{
    return F::make_leaf(Paddr{paddr}, lg2 < 20 ? 0 : 1, PageSize::lg2_of(lg2),
                        F::attributes(asked));
}
template <class F>
constexpr bool every_size_round_trips()
{
    for (unsigned const lg2 : {12U, 16U, 20U, 24U})
        for (auto const prot : {Prot::read, Prot::write, Prot::read_write})
            for (bool const x : {false, true})
                for (bool const device : {false, true}) {
                    PageSize const size = PageSize::lg2_of(lg2);
                    unsigned const level = lg2 < 20 ? 0 : 1;
                    Paddr const highest{(std::uint64_t{1} << F::kPaddrBits) - size.bytes()};
                    auto const attributes =
                        F::attributes({.prot = prot, .device = device, .no_execute = x});
                    auto const word = F::make_leaf(highest, level, size, attributes);
                    auto const rights =
                        prot == Prot::read && !F::kMediatek ? Prot::read : Prot::read_write;
                    if (F::entry(word, level) != Entry::leaf || F::leaf_size(word, level) != size ||
                        F::leaf_paddr(word, level) != highest || F::prot(word, level) != rights ||
                        F::leaf_attributes(word, level) != attributes)
                        return false;
                }
    return true;
}
static_assert(every_size_round_trips<Plain>());
static_assert(every_size_round_trips<NonSecure>());
static_assert(every_size_round_trips<Mediatek>());

constexpr Asked kRwc{.prot = Prot::read_write};
constexpr Asked kRcx{.prot = Prot::read, .no_execute = true};
static_assert(leaf(0x8000'1000, 12, kRwc) == 0x8000'1c7e);
static_assert(leaf(0x8000'2000, 12, {.prot = Prot::read, .cached = false}) == 0x8000'2e72);
static_assert(
    leaf(0x8000'3000, 12,
         {.prot = Prot::read_write, .cached = false, .device = true, .no_execute = true}) ==
    0x8000'3c37);
static_assert(leaf(0x8000'4000, 12, {.prot = Prot::read_write, .privileged = true}) == 0x8000'4c5e);
static_assert(leaf(0x8001'0000, 16, kRwc) == 0x8001'1c3d);
static_assert(leaf(0x8001'5000, 16, kRwc) == 0x8001'1c3d);
static_assert(leaf(0x8002'0000, 16, kRcx) == 0x8002'9e3d);
static_assert(leaf(0x8010'0000, 20, kRwc) == 0x8013'1c0e);
static_assert(leaf(0x8020'0000, 20, kRcx) == 0x8023'9c1e);
static_assert(leaf(0x8100'0000, 24, kRwc) == 0x8107'1c0e);
static_assert(leaf<NonSecure>(0x8010'0000, 20, kRwc) == 0x801b'1c0e);
static_assert(leaf<Mediatek>(0x7'4000'1000, 12, {.prot = Prot::read_write, .cached = false}) ==
              0x4000'1e72);
static_assert(Plain::make_table(Paddr{0x1000'4000}, 1) == 0x1000'4001);
static_assert(NonSecure::make_table(Paddr{0x1000'4000}, 1) == 0x1000'4009);
static_assert(Plain::table_paddr(0x1000'4009) == Paddr{0x1000'4000});
static_assert(Plain::entry(0x1000'4001, 1) == Entry::table);
static_assert(Plain::entry(0x1000'4003, 1) == Entry::reserved);
// A supersection beyond 32 bits of paddr.
static_assert(ArmV7s<>::entry(0x8127'1c0e, 1) == Entry::reserved);
static_assert(Plain::entry(0x8000'1c7c, 0) == Entry::empty);
// Privileged, and never accessed.
static_assert(Plain::prot(0x8000'4c5e, 0) == Prot::none);
static_assert(Plain::prot(0x8000'1c6e, 0) == Prot::none);

}  // namespace arm_v7s_checks

}  // namespace pinfold::pagetable
