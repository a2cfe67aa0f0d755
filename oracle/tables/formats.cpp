#include "formats.hpp"

#include <algorithm>
#include <bit>

#include "pagetable/amdv1.hpp"
#include "pagetable/arm_lpae.hpp"
#include "pagetable/arm_lpae_s2.hpp"
#include "pagetable/arm_v7s.hpp"
#include "pagetable/riscv.hpp"
#include "pagetable/vtdss.hpp"
#include "pagetable/x86_64.hpp"
#include "radix_subject.hpp"

namespace pinfold::tables {

namespace {

using pagetable::Tracking;

template <pagetable::PageTableFormat F>
std::unique_ptr<Subject> make(Arena& arena, pagetable::Shape<F> const& shape)
{
    auto subject = std::make_unique<RadixSubject<F>>(arena, shape);
    if (!subject->ready()) return nullptr;
    return subject;
}

template <pagetable::PageTableFormat F>
constexpr PageSizes all_sizes(unsigned levels = F::kMaxLevels)
{
    PageSizes sizes;
    for (unsigned level = 0; level < levels; ++level) sizes = sizes | F::leaf_sizes(level);
    return sizes;
}

template <unsigned Levels>
std::unique_ptr<Subject> vtdss(Arena& arena)
{
    using F = pagetable::Vtdss;
    auto shape = pagetable::Shape<F>::fixed(Levels, all_sizes<F>());
    // QEMU's has addresses of 48 bits on either side.
    shape.paddr_bits = 48;
    return make<F>(arena, shape);
}

template <unsigned Width>
std::unique_ptr<Subject> amdv1(Arena& arena)
{
    using F = pagetable::Amdv1;
    return make<F>(arena, {.levels = 3, .width = Width, .page_sizes = all_sizes<F>()});
}

template <unsigned Levels, pagetable::X86Writer Writer = pagetable::X86Writer::generic>
std::unique_ptr<Subject> x86(Arena& arena)
{
    using F = pagetable::X86_64<Writer>;
    return make<F>(arena, {.levels = Levels,
                           .width = pagetable::x86_width(Levels),
                           .page_sizes = all_sizes<F>(),
                           .tracking = Tracking::on});
}

template <unsigned Levels>
std::unique_ptr<Subject> riscv(Arena& arena)
{
    using F = pagetable::Riscv<>;
    return make<F>(arena, {.levels = Levels,
                           .width = 12 + 9 * Levels - 1,
                           .page_sizes = all_sizes<F>(Levels),
                           .tracking = Tracking::on});
}

template <class F>
std::unique_ptr<Subject> arm_stage1(Arena& arena)
{
    return make<F>(arena, {.levels = F::kMaxLevels,
                           .width = F::kIovaBits,
                           .page_sizes = all_sizes<F>(),
                           .tracking = Tracking::on});
}

template <unsigned Granule, unsigned Width, bool Lpa2 = false>
std::unique_ptr<Subject> arm_stage2(Arena& arena)
{
    using F = pagetable::ArmStage2<Granule, pagetable::Fwb::off, Lpa2>;
    auto const root = pagetable::arm_stage2_root(Granule, Width);
    return make<F>(arena, {.levels = root.levels,
                           .width = Width,
                           .page_sizes = all_sizes<F>(root.levels),
                           .concatenated_lg2 = root.concatenated_lg2,
                           .tracking = Tracking::on});
}

std::unique_ptr<Subject> v7s(Arena& arena)
{
    using F = pagetable::ArmV7s<>;
    return make<F>(arena, {.levels = 2, .width = 32, .page_sizes = all_sizes<F>()});
}

unsigned width(Subject const& subject)
{
    return static_cast<unsigned>(std::bit_width(subject.aperture().last.raw()));
}

void root_and_levels(Subject const& subject, std::uint64_t (&setting)[8])
{
    setting[0] = subject.root().raw();
    setting[1] = subject.levels();
}

// SATP: 8, 9, 10 for 3, 4, 5 levels.
void riscv_settings(Subject const& subject, std::uint64_t (&setting)[8])
{
    setting[0] = std::uint64_t{subject.levels() + 5} << 60 | subject.root().raw() >> 12;
}

constexpr std::uint64_t granule_code(unsigned granule_lg2)
{
    return granule_lg2 == 12 ? 0 : granule_lg2 == 14 ? 2 : 1;
}
// Of 48 bits of paddr and of 52.
constexpr std::uint64_t paddr_code(Subject const& subject)
{
    return subject.paddr_bits() == 52 ? 6 : 5;
}
// Write-back, inner shareable walks.
constexpr std::uint64_t kArmWalks = 1 << 8 | 1 << 10 | 3 << 12;

// TTBR0_EL1; TCR_EL1 with HA and HD; MAIR of io-pgtable-arm.
template <unsigned Granule, bool Lpa2 = false>
void arm_stage1_settings(Subject const& subject, std::uint64_t (&setting)[8])
{
    setting[0] = subject.root().raw();
    setting[1] = (64 - width(subject)) | kArmWalks | granule_code(Granule) << 14 |
                 paddr_code(subject) << 32 | std::uint64_t{3} << 39 | std::uint64_t{Lpa2} << 59;
    setting[2] = 0xf404'ff44;
}

// Where the walk starts: SL0 counts levels, of three with 4K; SL2 is for the level on top that LPA2
// adds there.
std::uint64_t arm_stage2_start(unsigned granule_lg2, unsigned levels)
{
    if (granule_lg2 != 12) return (levels - 1) << 6;
    return levels == 5 ? std::uint64_t{1} << 33 : (levels - 2) << 6;
}

// VTTBR_EL2; VTCR_EL2 with HA and HD.
template <unsigned Granule, bool Lpa2 = false>
void arm_stage2_settings(Subject const& subject, std::uint64_t (&setting)[8])
{
    setting[0] = subject.root().raw();
    setting[1] = (64 - width(subject)) | arm_stage2_start(Granule, subject.levels()) | kArmWalks |
                 granule_code(Granule) << 14 | paddr_code(subject) << 16 | std::uint64_t{3} << 21 |
                 std::uint64_t{1} << 31 | std::uint64_t{Lpa2} << 32;
}

constexpr std::uint64_t kX86Marks = 0x60;
constexpr std::uint64_t kArmMarks = 0x480;  // AF; AP[2] or the write bit
constexpr std::uint64_t kRiscvMarks = 0xc0;

// Instructions are not translated by the RISC-V reader; QEMU then does not translate data of their
// page either.
constexpr IovaRange kRiscvCode{Iova{0x8000'0000}, Iova{0x801f'ffff}};
// The reader's own MiB.
constexpr IovaRange kArm32Code{Iova{0x4010'0000}, Iova{0x401f'ffff}};

using pagetable::ArmLpae;
using Lpa2At4K = pagetable::ArmStage1<pagetable::ArmWriter{12, true}>;
using Lpa2At16K = pagetable::ArmStage1<pagetable::ArmWriter{14, true}>;
using pagetable::X86Writer;

Format const kFormats[]{
    {"x86-4", &kX86Cpu, 12, x86<4>, root_and_levels, kX86Marks, 511},
    {"x86-5", &kX86Cpu, 12, x86<5>, root_and_levels, kX86Marks, 511},
    {"x86-4-vtd61", &kX86Cpu, 12, x86<4, X86Writer::vtd61>, root_and_levels, kX86Marks, 511},
    {"x86-4-amd61", &kX86Cpu, 12, x86<4, X86Writer::amd61>, root_and_levels, kX86Marks, 511},
    {"vtdss-3", &kVtd, 12, vtdss<3>, root_and_levels},
    {"vtdss-4", &kVtd, 12, vtdss<4>, root_and_levels},
    {"amdv1-39", &kAmd, 12, amdv1<39>, root_and_levels},
    {"amdv1-64", &kAmd, 12, amdv1<64>, root_and_levels},
    {"arm-s1-4k", &kArm64Stage1, 12, arm_stage1<ArmLpae<12>>, arm_stage1_settings<12>, kArmMarks},
    {"arm-s1-16k", &kArm64Stage1, 14, arm_stage1<ArmLpae<14>>, arm_stage1_settings<14>, kArmMarks},
    {"arm-s1-64k", &kArm64Stage1, 16, arm_stage1<ArmLpae<16>>, arm_stage1_settings<16>, kArmMarks},
    {"arm-s1-4k-lpa2", &kArm64Stage1, 12, arm_stage1<Lpa2At4K>, arm_stage1_settings<12, true>,
     kArmMarks},
    {"arm-s1-16k-lpa2", &kArm64Stage1, 14, arm_stage1<Lpa2At16K>, arm_stage1_settings<14, true>,
     kArmMarks},
    {"arm-s2-4k-48", &kArm64Stage2, 12, arm_stage2<12, 48>, arm_stage2_settings<12>, kArmMarks},
    {"arm-s2-4k-42", &kArm64Stage2, 12, arm_stage2<12, 42>, arm_stage2_settings<12>, kArmMarks},
    {"arm-s2-4k-40", &kArm64Stage2, 12, arm_stage2<12, 40>, arm_stage2_settings<12>, kArmMarks},
    {"arm-s2-16k-48", &kArm64Stage2, 14, arm_stage2<14, 48>, arm_stage2_settings<14>, kArmMarks},
    {"arm-s2-4k-52", &kArm64Stage2, 12, arm_stage2<12, 52, true>, arm_stage2_settings<12, true>,
     kArmMarks},
    {"arm-s2-64k-52", &kArm64Stage2, 16, arm_stage2<16, 52>, arm_stage2_settings<16>, kArmMarks},
    {"arm-v7s", &kArm32, 10, v7s, root_and_levels, 0, 0x401, kArm32Code},
    {"riscv-sv39", &kRiscv, 12, riscv<3>, riscv_settings, kRiscvMarks, std::nullopt, kRiscvCode},
    {"riscv-sv48", &kRiscv, 12, riscv<4>, riscv_settings, kRiscvMarks, std::nullopt, kRiscvCode},
    {"riscv-sv57", &kRiscv, 12, riscv<5>, riscv_settings, kRiscvMarks, std::nullopt, kRiscvCode},
};

}  // namespace

std::span<Format const> formats() { return kFormats; }

Format const* find_format(std::string_view name)
{
    auto const found = std::ranges::find(kFormats, name, &Format::name);
    return found == std::end(kFormats) ? nullptr : found;
}

}  // namespace pinfold::tables
