#include "written.hpp"

#include <fmt/format.h>

#include <initializer_list>
#include <span>

#include "pagetable/amdv1.hpp"
#include "pagetable/arm_lpae.hpp"
#include "pagetable/arm_lpae_s2.hpp"
#include "pagetable/arm_v7s.hpp"
#include "pagetable/riscv.hpp"
#include "pagetable/vtdss.hpp"
#include "pagetable/x86_64.hpp"

namespace pinfold::tables {

namespace {

using pagetable::Asked;
using pagetable::Snoop;

// What a leaf is made for.
struct Leaf {
    Asked asked;
    unsigned level;
    unsigned lg2;         // of the whole leaf
    unsigned slot_lg2;    // of one word
    std::uint64_t paddr;  // of this word's slot

    bool reads() const { return allows(asked.prot, Access::read); }
    bool writes() const { return allows(asked.prot, Access::write); }
    bool run() const { return lg2 != slot_lg2; }
    std::uint64_t start() const { return paddr >> lg2 << lg2; }
    bool memory() const { return asked.cached && !asked.device; }
};

// A bit that is 1 where the condition holds.
struct Row {
    unsigned bit;
    bool (*one)(Leaf const&);
};
bool always(Leaf const&) { return true; }
bool reads(Leaf const& leaf) { return leaf.reads(); }
bool writes(Leaf const& leaf) { return leaf.writes(); }
bool is_large(Leaf const& leaf) { return leaf.level > 0; }
bool no_execute(Leaf const& leaf) { return leaf.asked.no_execute; }
bool tracked(Leaf const& leaf) { return leaf.writes() && leaf.asked.tracked; }

std::uint64_t word_of(std::span<Row const> rows, Leaf const& leaf)
{
    std::uint64_t word = 0;
    for (Row const& row : rows) word |= std::uint64_t{row.one(leaf)} << row.bit;
    return word;
}

// VT-d 9.10.
constexpr Row kVtdss[]{{0, reads},
                       {1, writes},
                       {7, is_large},
                       {11, [](Leaf const& leaf) { return leaf.asked.snoop == Snoop::always; }}};
std::uint64_t vtdss(Leaf const& leaf) { return word_of(kVtdss, leaf) | leaf.paddr; }

// Intel SDM 3, 4.5. Execution is nobody's but the driver's that forbids it everywhere.
bool x86_dirty(Leaf const& leaf) { return leaf.writes() && !leaf.asked.tracked; }
constexpr Row kX86[]{{0, always}, {1, writes},    {2, always},
                     {5, always}, {6, x86_dirty}, {7, is_large}};
std::uint64_t x86(Leaf const& leaf) { return word_of(kX86, leaf) | leaf.paddr; }
std::uint64_t x86_vtd61(Leaf const& leaf) { return x86(leaf) | std::uint64_t{1} << 63; }
std::uint64_t x86_amd61(Leaf const& leaf)
{
    return x86(leaf) | (leaf.asked.tracked ? 0 : std::uint64_t{1} << 6);
}

// AMD IOMMU 2.2.3. Of 2^n slots, the address has ones from bit 12 up to the bit below half of the
// size, a zero there.
constexpr Row kAmdv1[]{{0, always},
                       {9, [](Leaf const& leaf) { return leaf.run(); }},
                       {10, [](Leaf const& leaf) { return leaf.run(); }},
                       {11, [](Leaf const& leaf) { return leaf.run(); }},
                       {60, always},
                       {61, reads},
                       {62, writes}};
std::uint64_t amdv1(Leaf const& leaf)
{
    std::uint64_t size = 0;
    for (unsigned bit = 12; leaf.run() && bit + 1 < leaf.lg2; ++bit)
        size |= std::uint64_t{1} << bit;
    return word_of(kAmdv1, leaf) | leaf.start() | size;
}

// Arm ARM D8.3, long descriptors.
constexpr Row kArm[]{
    {0, always},     {1, [](Leaf const& leaf) { return leaf.level == 0; }}, {10, always},
    {51, tracked},   {52, [](Leaf const& leaf) { return leaf.run(); }},     {53, no_execute},
    {54, no_execute}};
constexpr Row kArmShareability[]{{8, [](Leaf const& leaf) { return leaf.asked.cached; }},
                                 {9, always}};
constexpr Row kArmStage1[]{{2, [](Leaf const& leaf) { return leaf.memory(); }},
                           {3, [](Leaf const& leaf) { return leaf.asked.device; }},
                           {6, [](Leaf const& leaf) { return !leaf.asked.privileged; }},
                           {7, [](Leaf const& leaf) { return !leaf.writes(); }},
                           {11, always}};
// Attributes 15 of cached memory, 5 of other, 1 of devices; with S2FWB, 6 of cached memory.
constexpr Row kArmStage2[]{{2, always},
                           {3, [](Leaf const& leaf) { return leaf.memory(); }},
                           {4, [](Leaf const& leaf) { return !leaf.asked.device; }},
                           {5, [](Leaf const& leaf) { return leaf.memory(); }},
                           {6, reads},
                           {7, writes}};
constexpr Row kArmStage2Forced[]{{2, [](Leaf const& leaf) { return !leaf.memory(); }},
                                 {3, [](Leaf const& leaf) { return leaf.memory(); }},
                                 {4, [](Leaf const& leaf) { return !leaf.asked.device; }},
                                 {6, reads},
                                 {7, writes}};

enum class High { none, in_15_12, in_9_8 };
template <High Where>
std::uint64_t arm_address(std::uint64_t paddr)
{
    if (Where == High::in_15_12) return (paddr & 0xffff'ffff'0000) | (paddr >> 48 & 0xf) << 12;
    if (Where == High::in_9_8) return (paddr & 0x3'ffff'ffff'f000) | (paddr >> 50 & 3) << 8;
    return paddr;
}
template <High Where>
std::uint64_t arm_stage1(Leaf const& leaf)
{
    std::uint64_t const shared = Where == High::in_9_8 ? 0 : word_of(kArmShareability, leaf);
    return word_of(kArm, leaf) | word_of(kArmStage1, leaf) | shared |
           arm_address<Where>(leaf.paddr);
}
template <High Where>
std::uint64_t arm_stage2(Leaf const& leaf)
{
    std::uint64_t const shared = Where == High::in_9_8 ? 0 : word_of(kArmShareability, leaf);
    return word_of(kArm, leaf) | word_of(kArmStage2, leaf) | shared |
           arm_address<Where>(leaf.paddr);
}
std::uint64_t arm_stage2_forced(Leaf const& leaf)
{
    return word_of(kArm, leaf) | word_of(kArmStage2Forced, leaf) | word_of(kArmShareability, leaf) |
           leaf.paddr;
}

// RISC-V privileged architecture, Svnapot, Svpbmt.
constexpr Row kRiscv[]{{0, always},
                       {1, always},
                       {2, writes},
                       {3, [](Leaf const& leaf) { return !leaf.asked.no_execute; }},
                       {4, always},
                       {6, always},
                       {7, x86_dirty},
                       {13, [](Leaf const& leaf) { return leaf.run(); }},  // page number ...1000
                       {63, [](Leaf const& leaf) { return leaf.run(); }}};
constexpr Row kSvpbmt[]{
    {61, [](Leaf const& leaf) { return !leaf.asked.cached && !leaf.asked.device; }},
    {62, [](Leaf const& leaf) { return leaf.asked.device; }},
};
std::uint64_t riscv(Leaf const& leaf) { return word_of(kRiscv, leaf) | leaf.start() >> 2; }
std::uint64_t riscv_svpbmt(Leaf const& leaf) { return riscv(leaf) | word_of(kSvpbmt, leaf); }

// ARMv7-A B3.5, short descriptors: a section's and a supersection's, a small page's, a large
// page's.
bool buffered(Leaf const& leaf) { return leaf.asked.device || leaf.asked.cached; }
bool memory(Leaf const& leaf) { return leaf.memory(); }
bool normal(Leaf const& leaf) { return !leaf.asked.device; }
bool user(Leaf const& leaf) { return !leaf.asked.privileged; }
bool read_only(Leaf const& leaf) { return !leaf.writes(); }
bool is_run(Leaf const& leaf) { return leaf.run(); }
constexpr Row kSection[]{{1, always},  {2, buffered}, {3, memory},  {4, no_execute},
                         {10, always}, {11, user},    {12, normal}, {15, read_only},
                         {16, always}, {17, always},  {18, is_run}};
constexpr Row kSmallPage[]{{0, no_execute}, {1, always}, {2, buffered}, {3, memory},
                           {4, always},     {5, user},   {6, normal},   {9, read_only},
                           {10, always},    {11, always}};
constexpr Row kLargePage[]{{0, always},  {2, buffered},   {3, memory},  {4, always},
                           {5, user},    {9, read_only},  {10, always}, {11, always},
                           {12, normal}, {15, no_execute}};
std::uint64_t v7s(Leaf const& leaf)
{
    if (leaf.level == 1) return word_of(kSection, leaf) | leaf.start();
    return (leaf.run() ? word_of(kLargePage, leaf) : word_of(kSmallPage, leaf)) | leaf.start();
}

// A section of a non-secure unit says so; a table of one too.
std::uint64_t v7s_non_secure(Leaf const& leaf)
{
    return v7s(leaf) | (leaf.level == 1 ? 1U << 19 : 0U);
}

// MediaTek's have no permissions, and paddr bits 32 to 34 in bits 9, 4 and 5.
constexpr Row kMtkSection[]{{1, always},  {2, buffered}, {3, memory}, {12, normal},
                            {16, always}, {17, always},  {18, is_run}};
constexpr Row kMtkSmallPage[]{{1, always}, {2, buffered}, {3, memory},
                              {6, normal}, {10, always},  {11, always}};
constexpr Row kMtkLargePage[]{{0, always},  {2, buffered}, {3, memory},
                              {10, always}, {11, always},  {12, normal}};
std::uint64_t mtk_address(std::uint64_t paddr)
{
    return (paddr & 0xffff'ffff) | (paddr >> 32 & 1) << 9 | (paddr >> 33 & 1) << 4 |
           (paddr >> 34 & 1) << 5;
}
std::uint64_t v7s_mtk(Leaf const& leaf)
{
    if (leaf.level == 1) return word_of(kMtkSection, leaf) | mtk_address(leaf.start());
    return (leaf.run() ? word_of(kMtkLargePage, leaf) : word_of(kMtkSmallPage, leaf)) |
           mtk_address(leaf.start());
}

// Words that lead to a table, in a slot of `level`.
std::uint64_t vtdss_table(std::uint64_t paddr, unsigned) { return paddr | 3; }
std::uint64_t x86_table(std::uint64_t paddr, unsigned) { return paddr | 0x27; }
std::uint64_t x86_vtd61_table(std::uint64_t paddr, unsigned)
{
    return paddr | 0x27 | std::uint64_t{1} << 63;
}
std::uint64_t amdv1_table(std::uint64_t paddr, unsigned level)
{
    return paddr | level << 9 | 1 | std::uint64_t{3} << 61;
}
template <High Where>
std::uint64_t arm_table(std::uint64_t paddr, unsigned)
{
    return arm_address<Where>(paddr) | 3;
}
std::uint64_t riscv_table(std::uint64_t paddr, unsigned) { return paddr >> 2 | 1; }
std::uint64_t v7s_table(std::uint64_t paddr, unsigned) { return paddr | 1; }
std::uint64_t v7s_non_secure_table(std::uint64_t paddr, unsigned) { return paddr | 9; }
std::uint64_t v7s_mtk_table(std::uint64_t paddr, unsigned) { return mtk_address(paddr) | 1; }

using Written = std::uint64_t (*)(Leaf const&);
using WrittenTable = std::uint64_t (*)(std::uint64_t paddr, unsigned level);

// Everything that can be asked, but for no rights.
template <class Body>
void for_each_asked(Body&& body)
{
    for (unsigned bits = 0; bits < 64; ++bits)
        for (unsigned prot = 1; prot <= 3; ++prot)
            body(Asked{.prot = static_cast<Prot>(prot),
                       .snoop = static_cast<Snoop>(bits & 1),
                       .cached = (bits & 2) != 0,
                       .device = (bits & 4) != 0,
                       .no_execute = (bits & 8) != 0,
                       .privileged = (bits & 16) != 0,
                       .tracked = (bits & 32) != 0});
}

// Nowhere, everywhere, and each bit alone.
std::vector<std::uint64_t> paddrs(unsigned lg2, unsigned bits)
{
    std::vector<std::uint64_t> all{0, (std::uint64_t{1} << bits) - (std::uint64_t{1} << lg2)};
    for (unsigned bit = lg2; bit < bits; ++bit) all.push_back(std::uint64_t{1} << bit);
    return all;
}

template <pagetable::PageTableFormat F>
class Comparison {
public:
    Comparison(char const* name, Written written, WrittenTable written_table)
        : result_{name, 0, 0, {}}, written_{written}, written_table_{written_table}
    {
    }

    WrittenResult run()
    {
        for (unsigned level = 0; level < F::kMaxLevels; ++level)
            for (unsigned lg2 = 12; lg2 < F::kPaddrBits; ++lg2)
                if (F::leaf_sizes(level).has(PageSize::lg2_of(lg2))) compare_size(level, lg2);
        for (unsigned level = 1; level < F::kMaxLevels; ++level) compare_tables(level);
        return result_;
    }

private:
    void compare_size(unsigned level, unsigned lg2)
    {
        for (std::uint64_t const paddr : paddrs(lg2, F::kPaddrBits))
            for_each_asked([&](Asked const& asked) {
                unsigned const slot = pagetable::slot_lg2<F>(level);
                std::uint64_t const slots = std::uint64_t{1} << (lg2 - slot);
                for (std::uint64_t const i : {std::uint64_t{0}, slots - 1})
                    compare({asked, level, lg2, slot, paddr + (i << slot)});
            });
    }
    void compare_tables(unsigned level)
    {
        unsigned const lg2 = F::slots_lg2(level - 1) + (sizeof(typename F::Word) == 8 ? 3 : 2);
        for (std::uint64_t const paddr : paddrs(lg2, F::kPaddrBits)) {
            auto const word = F::make_table(Paddr{paddr}, level);
            bool const back = F::entry(word, level) == pagetable::Entry::table &&
                              F::table_paddr(word) == Paddr{paddr};
            note(word, written_table_(paddr, level), back,
                 fmt::format("table in level {}, paddr {:#x}", level, paddr));
        }
    }
    void compare(Leaf const& leaf)
    {
        PageSize const size = PageSize::lg2_of(leaf.lg2);
        auto const word =
            F::make_leaf(Paddr{leaf.paddr}, leaf.level, size, F::attributes(leaf.asked));
        std::uint64_t const written = written_(leaf);
        bool const back = F::entry(word, leaf.level) == pagetable::Entry::leaf &&
                          F::leaf_size(word, leaf.level) == size &&
                          F::leaf_paddr(word, leaf.level).raw() == leaf.start();
        if (word == written && back)
            ++result_.words;
        else
            note(
                word, written, back,
                fmt::format("level {}, 2^{} bytes, paddr {:#x}", leaf.level, leaf.lg2, leaf.paddr));
    }
    void note(std::uint64_t word, std::uint64_t written, bool back, std::string const& what)
    {
        ++result_.words;
        if (word == written && back) return;
        if (result_.differences++ == 0)
            result_.first_difference = fmt::format("{}: {:#x}, written is {:#x}{}", what, word,
                                                   written, back ? "" : ", and not read back");
    }

    WrittenResult result_;
    Written written_;
    WrittenTable written_table_;
};

template <class F>
WrittenResult compare(char const* name, Written written, WrittenTable written_table)
{
    return Comparison<F>{name, written, written_table}.run();
}

}  // namespace

std::vector<WrittenResult> compare_with_written()
{
    using namespace pagetable;
    using Lpa2At4K = ArmStage1<ArmWriter{12, true}>;
    using Lpa2At16K = ArmStage1<ArmWriter{14, true}>;
    using NonSecure = ArmV7s<V7sKind::non_secure>;
    using Mediatek = ArmV7s<V7sKind::mediatek>;
    constexpr auto kPlain = High::none;
    constexpr auto k64K = High::in_15_12;
    constexpr auto kLpa2 = High::in_9_8;
    return {
        compare<Vtdss>("vtdss", vtdss, vtdss_table),
        compare<X86_64<X86Writer::generic>>("x86", x86, x86_table),
        compare<X86_64<X86Writer::vtd61>>("x86-vtd61", x86_vtd61, x86_vtd61_table),
        compare<X86_64<X86Writer::amd61>>("x86-amd61", x86_amd61, x86_table),
        compare<Amdv1>("amdv1", amdv1, amdv1_table),
        compare<ArmLpae<12>>("arm-s1-4k", arm_stage1<kPlain>, arm_table<kPlain>),
        compare<ArmLpae<14>>("arm-s1-16k", arm_stage1<kPlain>, arm_table<kPlain>),
        compare<ArmLpae<16>>("arm-s1-64k", arm_stage1<k64K>, arm_table<k64K>),
        compare<Lpa2At4K>("arm-s1-4k-lpa2", arm_stage1<kLpa2>, arm_table<kLpa2>),
        compare<Lpa2At16K>("arm-s1-16k-lpa2", arm_stage1<kLpa2>, arm_table<kLpa2>),
        compare<ArmStage2<12>>("arm-s2-4k", arm_stage2<kPlain>, arm_table<kPlain>),
        compare<ArmStage2<14>>("arm-s2-16k", arm_stage2<kPlain>, arm_table<kPlain>),
        compare<ArmStage2<16>>("arm-s2-64k", arm_stage2<k64K>, arm_table<k64K>),
        compare<ArmStage2<12, Fwb::off, true>>("arm-s2-4k-lpa2", arm_stage2<kLpa2>,
                                               arm_table<kLpa2>),
        compare<ArmStage2<14, Fwb::off, true>>("arm-s2-16k-lpa2", arm_stage2<kLpa2>,
                                               arm_table<kLpa2>),
        compare<ArmStage2<12, Fwb::on>>("arm-s2-4k-fwb", arm_stage2_forced, arm_table<kPlain>),
        compare<Riscv<>>("riscv", riscv, riscv_table),
        compare<Riscv<Svpbmt::on>>("riscv-svpbmt", riscv_svpbmt, riscv_table),
        compare<ArmV7s<>>("arm-v7s", v7s, v7s_table),
        compare<NonSecure>("arm-v7s-ns", v7s_non_secure, v7s_non_secure_table),
        compare<Mediatek>("arm-v7s-mtk", v7s_mtk, v7s_mtk_table),
    };
}

}  // namespace pinfold::tables
