// Arm long-descriptor tables (LPAE, 64 bits), stage 2: what stage 1 puts out is translated once
// more. Reads and writes have a bit each; up to 16 tables of the highest level may stand side by
// side as the root. Arm ARM, D8.3 and D8.2.
#pragma once

#include "pagetable/arm_descriptor.hpp"

namespace pinfold::pagetable {

// Whether memory attributes are said the way of S2FWB, which overrides those of stage 1.
enum class Fwb : bool { off, on };

template <unsigned GranuleLg2, Fwb Forced = Fwb::off, bool Lpa2 = false>
struct ArmStage2 : ArmDescriptor<GranuleLg2, Lpa2> {
    using Base = ArmDescriptor<GranuleLg2, Lpa2>;
    using Word = std::uint64_t;
    using Base::kTableOrPage, Base::kValid, Base::kAccessed, Base::kTracked;

    static constexpr unsigned kRightsShift = 6;  // read, and write above it
    static constexpr Word kWrite = Word{2} << kRightsShift;

    // A leaf that is tracked is made dirty.
    static constexpr Word attributes(Asked const& asked)
    {
        Word const memory = asked.device ? kDevice : asked.cached ? kWriteBack : kNonCacheable;
        Word word = kValid | kAccessed | memory << 2 | Base::shareability(asked) |
                    static_cast<Word>(asked.prot) << kRightsShift;
        if (allows(asked.prot, Access::write) && asked.tracked) word |= kTracked;
        if (asked.no_execute) word |= Base::kNoExecute;
        return word;
    }

    static constexpr Word make_table(Paddr paddr, unsigned)
    {
        return Base::field(paddr) | kTableOrPage | kValid;
    }

    // A leaf that is not marked as accessed faults. With tracking, one that cannot be written is
    // clean.
    static constexpr Prot prot(Word word, unsigned level)
    {
        if (level > 0 && (word & kTableOrPage) != 0) return Prot::read_write;
        if ((word & kAccessed) == 0) return Prot::none;
        Prot const rights = static_cast<Prot>((word >> kRightsShift) & 3);
        return (word & kTracked) != 0 ? rights | Prot::write : rights;
    }

    static constexpr bool dirty(Word leaf)
    {
        return (leaf & (kTracked | kWrite)) == (kTracked | kWrite);
    }
    static constexpr Word make_clean(Word leaf)
    {
        return (leaf & kTracked) != 0 ? leaf & ~kWrite : leaf;
    }
    static constexpr Word make_accessed(Word leaf) { return leaf | kAccessed; }
    static constexpr Word make_dirty(Word leaf)
    {
        return make_accessed((leaf & kTracked) != 0 ? leaf | kWrite : leaf);
    }

private:
    static constexpr Word kNonCacheable = 5;
    static constexpr Word kWriteBack = Forced == Fwb::on ? 6 : 15;
    static constexpr Word kDevice = 1;
};

// Of tables of the highest level side by side at the root, as Linux does until 6.12: where the
// walk would begin in a table of at most 16 slots at Arm's level 0, it begins one level lower.
struct ArmStage2Root {
    unsigned levels;
    unsigned concatenated_lg2;
};
constexpr ArmStage2Root arm_stage2_root(unsigned granule_lg2, unsigned width)
{
    unsigned const slots_lg2 = granule_lg2 - 3;
    unsigned const levels = (width - granule_lg2 + slots_lg2 - 1) / slots_lg2;
    unsigned const top_lg2 = width - granule_lg2 - slots_lg2 * (levels - 1);
    if (levels == 4 && top_lg2 <= 4) return {levels - 1, top_lg2};
    return {levels, 0};
}

static_assert(TracksDirty<ArmStage2<12>>);
static_assert(TracksDirty<ArmStage2<14>>);
static_assert(TracksDirty<ArmStage2<16>>);
static_assert(TracksDirty<ArmStage2<12, Fwb::on>>);

namespace arm_lpae_s2_checks {

using G4 = ArmStage2<12>;

template <class F = G4>
constexpr Word leaf(std::uint64_t paddr, unsigned level, Asked const& asked)
{
    return F::make_leaf(Paddr{paddr}, level, F::slot_size(level), F::attributes(asked));
}
// The highest place that the leaves of each level and size can lead to.
template <class F>
constexpr bool every_size_round_trips()
{
    for (unsigned level = 0; level < F::kMaxLevels; ++level)
        for (std::uint64_t sizes = F::leaf_sizes(level).bitmap(); sizes != 0; sizes &= sizes - 1) {
            PageSize const size = *PageSize::of(sizes & -sizes);
            Paddr const highest{(std::uint64_t{1} << F::kPaddrBits) - size.bytes()};
            for (auto const prot : {Prot::read, Prot::write, Prot::read_write})
                for (bool const tracked : {false, true}) {
                    Word const attributes = F::attributes({.prot = prot, .tracked = tracked});
                    Word const word = F::make_leaf(highest, level, size, attributes);
                    if (F::entry(word, level) != Entry::leaf || F::prot(word, level) != prot ||
                        F::leaf_paddr(word, level) != highest ||
                        F::leaf_size(word, level) != size ||
                        F::leaf_attributes(word, level) != attributes ||
                        F::prot(F::make_clean(word), level) != prot)
                        return false;
                }
        }
    return true;
}
static_assert(every_size_round_trips<G4>());
static_assert(every_size_round_trips<ArmStage2<14>>());
static_assert(every_size_round_trips<ArmStage2<16>>());
static_assert(every_size_round_trips<ArmStage2<12, Fwb::off, true>>());

constexpr Asked kRwc{.prot = Prot::read_write};
static_assert(leaf(0x8000'1000, 0, kRwc) == 0x0000'0000'8000'17ff);
static_assert(leaf(0x8000'2000, 0, {.prot = Prot::read}) == 0x0000'0000'8000'277f);
static_assert(leaf(0x8000'3000, 0, {.prot = Prot::write, .cached = false}) ==
              0x0000'0000'8000'3697);
static_assert(leaf(0x800'0000, 0,
                   {.prot = Prot::write, .cached = false, .device = true, .no_execute = true}) ==
              0x0060'0000'0800'0687);
static_assert(leaf(0x8020'0000, 1, {.prot = Prot::read_write, .no_execute = true}) ==
              0x0060'0000'8020'07fd);
static_assert(leaf(0x1'4000'0000, 2, kRwc) == 0x0000'0001'4000'07fd);
static_assert(leaf<ArmStage2<16>>(0x8001'0000, 0, kRwc) == 0x0000'0000'8001'07ff);
static_assert(leaf<ArmStage2<14>>(0x8000'4000, 0, {.prot = Prot::read_write, .cached = false}) ==
              0x0000'0000'8000'46d7);
static_assert(leaf<ArmStage2<12, Fwb::on>>(0x8000'1000, 0, kRwc) == 0x0000'0000'8000'17db);
static_assert(G4::make_table(Paddr{0x1000'1000}, 1) == 0x1000'1003);

// Clean is the other way round from stage 1.
constexpr Word kTrackedLeaf = leaf(0x8000'1000, 0, {.prot = Prot::read_write, .tracked = true});
static_assert(kTrackedLeaf == 0x0008'0000'8000'17ff && G4::dirty(kTrackedLeaf));
static_assert(G4::make_clean(kTrackedLeaf) == 0x0008'0000'8000'177f);
static_assert(G4::make_dirty(0x0008'0000'8000'177f) == kTrackedLeaf);
static_assert(!G4::dirty(0x8000'17ff));

// What Linux 6.1 makes of widths, with 48 bits of paddr.
constexpr bool is(ArmStage2Root root, unsigned levels, unsigned concatenated_lg2)
{
    return root.levels == levels && root.concatenated_lg2 == concatenated_lg2;
}
static_assert(is(arm_stage2_root(12, 32), 3, 0) && is(arm_stage2_root(12, 36), 3, 0));
static_assert(is(arm_stage2_root(12, 40), 3, 1) && is(arm_stage2_root(12, 42), 3, 3));
static_assert(is(arm_stage2_root(12, 44), 4, 0) && is(arm_stage2_root(12, 48), 4, 0));
static_assert(is(arm_stage2_root(14, 32), 2, 0) && is(arm_stage2_root(14, 36), 2, 0));
static_assert(is(arm_stage2_root(14, 40), 3, 0) && is(arm_stage2_root(14, 48), 3, 1));
static_assert(is(arm_stage2_root(16, 42), 2, 0) && is(arm_stage2_root(16, 44), 3, 0));
static_assert(is(arm_stage2_root(16, 48), 3, 0));

}  // namespace arm_lpae_s2_checks

}  // namespace pinfold::pagetable
