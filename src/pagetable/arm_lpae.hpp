// Arm long-descriptor tables (LPAE, 64 bits), stage 1, as an SMMUv3 walks them: granules of 4 KiB,
// 16 KiB and 64 KiB, a table as large as the granule. Above level 0 a leaf is called a block. Our
// levels count upwards from 0 where Arm's count down to 3. Arm ARM, D8.3.
#pragma once

#include "pagetable/arm_descriptor.hpp"

namespace pinfold::pagetable {

// What a driver writes differently from another.
struct ArmWriter {
    unsigned granule_lg2;
    bool lpa2 = false;         // 52 bits of address with 4K and 16K: DS in the context
    bool non_secure = false;   // NS in leaves, NSTable in tables
    bool privileged_x = true;  // what is not to be executed is so for EL1 as well: PXN beside XN
};

template <ArmWriter Writer>
struct ArmStage1 : ArmDescriptor<Writer.granule_lg2, Writer.lpa2> {
    using Base = ArmDescriptor<Writer.granule_lg2, Writer.lpa2>;
    using Word = std::uint64_t;
    using Base::kTableOrPage, Base::kValid, Base::kAccessed, Base::kContiguous, Base::kTracked;

    static constexpr Word kUnprivileged = Word{1} << 6;
    static constexpr Word kReadOnly = Word{1} << 7;
    static constexpr Word kNotGlobal = Word{1} << 11;
    static constexpr Word kTableUnprivilegedNone = Word{1} << 61;  // of all below this table
    static constexpr Word kTableReadOnly = Word{1} << 62;

    // Stage 1 cannot say "write only". A leaf that is tracked is made dirty.
    static constexpr Word attributes(Asked const& asked)
    {
        bool const writes = (asked.prot & Prot::write) != Prot::none;
        Word const memory = asked.device ? kDevice : asked.cached ? kWriteBack : kNonCacheable;
        Word word = kValid | kAccessed | kNotGlobal | memory << 2 | Base::shareability(asked);
        if (!asked.privileged) word |= kUnprivileged;
        if (!writes) word |= kReadOnly;
        if (writes && asked.tracked) word |= kTracked;
        if (asked.no_execute) word |= Writer.privileged_x ? Base::kNoExecute : Base::kNoExecuteEl0;
        if (Writer.non_secure) word |= kNonSecure;
        return word;
    }

    static constexpr Word make_table(Paddr paddr, unsigned)
    {
        return Base::field(paddr) | kTableOrPage | kValid |
               (Writer.non_secure ? Word{1} << 63 : Word{0});
    }

    // A device's accesses are unprivileged. A leaf that is not marked as accessed faults. With
    // tracking, read only means clean.
    static constexpr Prot prot(Word word, unsigned level)
    {
        if (level > 0 && (word & kTableOrPage) != 0) {
            if ((word & kTableUnprivilegedNone) != 0) return Prot::none;
            return (word & kTableReadOnly) != 0 ? Prot::read : Prot::read_write;
        }
        if ((word & kUnprivileged) == 0 || (word & kAccessed) == 0) return Prot::none;
        return (word & (kReadOnly | kTracked)) == kReadOnly ? Prot::read : Prot::read_write;
    }

    static constexpr bool dirty(Word leaf) { return (leaf & (kTracked | kReadOnly)) == kTracked; }
    static constexpr Word make_clean(Word leaf)
    {
        return (leaf & kTracked) != 0 ? leaf | kReadOnly : leaf;
    }
    static constexpr Word make_accessed(Word leaf) { return leaf | kAccessed; }
    static constexpr Word make_dirty(Word leaf)
    {
        return make_accessed((leaf & kTracked) != 0 ? leaf & ~kReadOnly : leaf);
    }

private:
    // Indexes of memory attributes, as Linux fills the register that they are looked up in.
    static constexpr Word kNonCacheable = 0;
    static constexpr Word kWriteBack = 1;
    static constexpr Word kDevice = 2;
    static constexpr Word kNonSecure = Word{1} << 5;
};

// As Linux's SMMU drivers write them.
template <unsigned GranuleLg2>
using ArmLpae = ArmStage1<ArmWriter{GranuleLg2}>;

static_assert(TracksDirty<ArmLpae<12>>);
static_assert(TracksDirty<ArmLpae<14>>);
static_assert(TracksDirty<ArmLpae<16>>);
static_assert(TracksDirty<ArmStage1<ArmWriter{12, true}>>);
static_assert(TracksDirty<ArmStage1<ArmWriter{14, true}>>);

// Words computed by hand from the bit table, and the way back.
namespace arm_lpae_checks {

using G4 = ArmLpae<12>;
using G16 = ArmLpae<14>;
using G64 = ArmLpae<16>;
using G4Lpa2 = ArmStage1<ArmWriter{12, true}>;
using G16Lpa2 = ArmStage1<ArmWriter{14, true}>;

template <class F>
constexpr Word leaf(std::uint64_t paddr, unsigned level, Asked const& asked)
{
    return F::make_leaf(Paddr{paddr}, level, F::slot_size(level), F::attributes(asked));
}
template <class F = G4>
constexpr Word leaf(std::uint64_t paddr, unsigned level, Prot prot)
{
    return leaf<F>(paddr, level, Asked{.prot = prot});
}
template <class F>
constexpr bool round_trips(std::uint64_t paddr, unsigned level, PageSize size, Asked const& asked)
{
    Word const word = F::make_leaf(Paddr{paddr}, level, size, F::attributes(asked));
    return F::entry(word, level) == Entry::leaf && F::leaf_paddr(word, level) == Paddr{paddr} &&
           F::leaf_size(word, level) == size &&
           F::prot(word, level) == (asked.prot == Prot::read ? Prot::read : Prot::read_write) &&
           F::leaf_attributes(word, level) == F::attributes(asked) &&
           F::make_leaf(Paddr{paddr}, level, size,
                        F::leaf_attributes(F::make_clean(word), level)) == F::make_clean(word);
}
// The lowest and the highest place that the leaves of each level and size can lead to.
template <class F>
constexpr bool every_size_round_trips()
{
    for (unsigned level = 0; level < F::kMaxLevels; ++level) {
        for (std::uint64_t sizes = F::leaf_sizes(level).bitmap(); sizes != 0; sizes &= sizes - 1) {
            PageSize const size = *PageSize::of(sizes & -sizes);
            std::uint64_t const highest = (std::uint64_t{1} << F::kPaddrBits) - size.bytes();
            for (auto const prot : {Prot::read, Prot::write, Prot::read_write})
                for (bool const tracked : {false, true})
                    for (std::uint64_t const paddr : {std::uint64_t{0}, highest})
                        if (!round_trips<F>(paddr, level, size, {.prot = prot, .tracked = tracked}))
                            return false;
        }
        std::uint64_t const table =
            (std::uint64_t{1} << F::kPaddrBits) - (std::uint64_t{1} << F::kGranuleLg2);
        if (F::table_paddr(F::make_table(Paddr{table}, level + 1)) != Paddr{table}) return false;
    }
    return true;
}

static_assert(G4::kMaxLevels == 4 && G16::kMaxLevels == 4 && G64::kMaxLevels == 3);
static_assert(G4Lpa2::kMaxLevels == 5 && G16Lpa2::kMaxLevels == 4);
static_assert(G4::slot_size(1) == k2M && G4::slot_size(2) == k1G);
static_assert(G4::leaf_sizes(0) == PageSizes{0x1'1000} && G4::leaf_sizes(3).empty());
static_assert(G4::leaf_sizes(1) == PageSizes{0x220'0000});
static_assert(G4::leaf_sizes(2) == PageSizes{0x4'4000'0000});
static_assert(G4Lpa2::leaf_sizes(3).has(PageSize::lg2_of(39)) && G4Lpa2::leaf_sizes(4).empty());
static_assert(G16::leaf_sizes(0) == PageSizes{0x20'4000} && G16::leaf_sizes(2).empty());
static_assert(G16::leaf_sizes(1) == PageSizes{0x4200'0000});
static_assert(G16Lpa2::leaf_sizes(2) == PageSizes{0x10'0000'0000});
static_assert(G64::leaf_sizes(0) == PageSizes{0x21'0000} && G64::slot_size(2).lg2() == 42);
static_assert(G64::leaf_sizes(1) == PageSizes{0x4'2000'0000});

constexpr Asked kRwc{.prot = Prot::read_write};
constexpr Asked kReadUncached{.prot = Prot::read, .cached = false};
constexpr Asked kDoorbell{.prot = Prot::write, .cached = false, .device = true, .no_execute = true};
static_assert(leaf(0x8000'1000, 0, Prot::read_write) == 0x0000'0000'8000'1f47);
static_assert(leaf<G4>(0x8000'2000, 0, kReadUncached) == 0x0000'0000'8000'2ec3);
static_assert(leaf<G4>(0x8000'3000, 0, {.prot = Prot::read_write, .no_execute = true}) ==
              0x0060'0000'8000'3f47);
static_assert(leaf<G4>(0x8000'4000, 0, {.prot = Prot::write, .cached = false}) ==
              0x0000'0000'8000'4e43);
static_assert(leaf<G4>(0x800'0000, 0, kDoorbell) == 0x0060'0000'0800'0e4b);
static_assert(leaf<G4>(0x8000'5000, 0, {.prot = Prot::read_write, .privileged = true}) ==
              0x0000'0000'8000'5f07);
static_assert(leaf<G4>(0x8000'5000, 0, {.prot = Prot::read_write, .device = true}) ==
              0x0000'0000'8000'5f4b);
static_assert(leaf(0x8020'0000, 1, Prot::read_write) == 0x0000'0000'8020'0f45);
static_assert(leaf<G4>(0x1'0000'0000, 2, {.prot = Prot::read, .no_execute = true}) ==
              0x0060'0001'0000'0fc5);
static_assert(leaf(0x8000'1000, 0, Prot::write) == 0x0000'0000'8000'1f47);
static_assert(leaf(0x8000'2000, 0, Prot::read) == 0x0000'0000'8000'2fc7);
static_assert(leaf(0x1'0000'0000, 2, Prot::read) == 0x0000'0001'0000'0fc5);
static_assert(leaf<G64>(0x000d'0000'abcd'0000, 0, Prot::read_write) == 0x0000'0000'abcd'df47);
static_assert(leaf<G64>(0x000f'0000'6000'0000, 1, Prot::read_write) == 0x0000'0000'6000'ff45);
static_assert(leaf<G16>(0x1'2345'4000, 0, Prot::read_write) == 0x0000'0001'2345'4f47);
static_assert(leaf<G16>(0x400'0000, 1, {.prot = Prot::read_write, .cached = false}) ==
              0x0000'0000'0400'0e41);
static_assert(leaf<G16>(0x400'0000, 1, Prot::read_write) == 0x0000'0000'0400'0f45);
static_assert(G4::make_table(Paddr{0x1000'1000}, 1) == 0x0000'0000'1000'1003);

using NonSecure = ArmStage1<ArmWriter{.granule_lg2 = 12, .non_secure = true}>;
static_assert(leaf<NonSecure>(0x8000'1000, 0, kRwc) == 0x0000'0000'8000'1f67);
static_assert(NonSecure::make_table(Paddr{0x1000'1000}, 1) == 0x8000'0000'1000'1003);
// What newer drivers leave out of NOEXEC.
using OnlyXn = ArmStage1<ArmWriter{.granule_lg2 = 12, .privileged_x = false}>;
static_assert(leaf<OnlyXn>(0x8000'3000, 0, {.prot = Prot::read_write, .no_execute = true}) ==
              0x0040'0000'8000'3f47);

// Of a contiguous run, each word has an address of its own.
static_assert(G4::make_leaf(Paddr{0x8001'0000}, 0, k64K, G4::attributes(kRwc)) ==
              0x0010'0000'8001'0f47);
static_assert(G4::make_leaf(Paddr{0x8001'f000}, 0, k64K, G4::attributes(kRwc)) ==
              0x0010'0000'8001'ff47);
static_assert(G4::leaf_paddr(0x0010'0000'8001'ff47, 0) == Paddr{0x8001'0000});

static_assert(leaf<G4>(0x8000'1000, 0, {.prot = Prot::read_write, .tracked = true}) ==
              0x0008'0000'8000'1f47);
static_assert(G4::make_clean(0x0008'0000'8000'1f47) == 0x0008'0000'8000'1fc7);
static_assert(G4::dirty(0x0008'0000'8000'1f47) && !G4::dirty(0x0008'0000'8000'1fc7));
static_assert(G4::prot(0x0008'0000'8000'1fc7, 0) == Prot::read_write);
static_assert(!G4::dirty(0x8000'1f47) && G4::make_clean(0x8000'1f47) == 0x8000'1f47);

static_assert(leaf<G4Lpa2>(0x0008'0000'8000'1000, 0, kRwc) == 0x0000'0000'8000'1e47);

static_assert(every_size_round_trips<G4>());
static_assert(every_size_round_trips<G16>());
static_assert(every_size_round_trips<G64>());
static_assert(every_size_round_trips<G4Lpa2>());
static_assert(every_size_round_trips<G16Lpa2>());

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
