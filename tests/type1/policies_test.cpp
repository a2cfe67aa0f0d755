// What becomes of IOMMU pages below the host page under each policy, use by use: docs/subpage.md
// walks through them and names these tests.
#include <gtest/gtest.h>

#include "bench.hpp"

namespace pinfold::type1 {
namespace {

using enum SubpagePolicy;

constexpr std::uint64_t kI = 0x10000000;
constexpr std::uint64_t k4 = 0x1000, k16 = 0x4000, k64 = 0x10000, kHuge = 0x200000,
                        kGiant = 1 << 30;

std::string word(SubpagePolicy policy)
{
    switch (policy) {
        case merged: return "merged";
        case pre_2015: return "pre_2015";
        case rfc_2015: return "rfc_2015";
        case subpage: break;
    }
    return "subpage";
}

// A 64K host over an IOMMU with pages of 4K and 2M.
Bench::Options small_pages(SubpagePolicy policy)
{
    return {.page = k64K,
            .iommu = {.page_sizes = PageSizes{k4 | kHuge}, .reserved = {}},
            .policy = policy};
}

class Policies : public testing::TestWithParam<SubpagePolicy> {};
INSTANTIATE_TEST_SUITE_P(Policy, Policies, testing::Values(merged, pre_2015, rfc_2015, subpage),
                         [](auto const& it) { return word(it.param); });

struct Row {
    SubpagePolicy policy;
    std::uint64_t iommu, reported, granule, least;
};

// On a host of 64K.
TEST(PageRules, each_policy_reports_and_aligns_in_its_own_way)
{
    std::vector<Row> const rows{
        {merged, k4 | kHuge | kGiant, k64 | kHuge | kGiant, k64, k64},
        {pre_2015, k4 | kHuge | kGiant, kHuge | kGiant, kHuge, kHuge},
        {rfc_2015, k4 | kHuge | kGiant, k4 | kHuge | kGiant, k64, k64},
        {subpage, k4 | kHuge | kGiant, k4 | kHuge | kGiant, k4, k4},
        // Nothing but smaller pages.
        {merged, k4, k64, k64, k64},
        {pre_2015, k4, 0, 1, k64},
        {rfc_2015, k4, k4, k64, k64},
        {subpage, k4 | k16, k4 | k16, k4, k4},
        // Nothing but larger ones.
        {merged, kHuge, kHuge, kHuge, kHuge},
        {pre_2015, kHuge, kHuge, kHuge, kHuge},
        {rfc_2015, kHuge, kHuge, kHuge, kHuge},
        {subpage, kHuge, kHuge, kHuge, kHuge},
        // Nothing in common.
        {merged, 0, 0, 1, k64},
        {pre_2015, 0, 0, 1, k64},
        {rfc_2015, 0, 0, k64, k64},
        {subpage, 0, 0, 1, k64},
        // No domain.
        {merged, ~std::uint64_t{0}, ~(k64 - 1), k64, k64},
        {pre_2015, ~std::uint64_t{0}, ~(k64 - 1), k64, k64},
        {rfc_2015, ~std::uint64_t{0}, ~std::uint64_t{0}, k64, k64},
        {subpage, ~std::uint64_t{0}, ~(k64 - 1), k64, k64},
    };
    for (Row const& row : rows) {
        SCOPED_TRACE(word(row.policy));
        PageRules const rules{row.policy, k64K};
        auto const reported = rules.reported(PageSizes{row.iommu});
        EXPECT_EQ(reported.bitmap(), row.reported) << std::hex << row.iommu;
        EXPECT_EQ(rules.granule(reported), row.granule) << std::hex << row.iommu;
        EXPECT_EQ(rules.least_mapping(row.granule), row.least) << std::hex << row.iommu;
    }
}

TEST(PageRules, on_a_host_page_that_the_IOMMU_has_all_policies_are_one)
{
    for (auto const policy : {merged, pre_2015, rfc_2015, subpage}) {
        PageRules const rules{policy, k4K};
        EXPECT_EQ(rules.reported(PageSizes{k4 | kHuge}).bitmap(), k4 | kHuge);
        EXPECT_EQ(rules.granule(PageSizes{k4 | kHuge}), k4);
        EXPECT_EQ(rules.least_mapping(k4), k4);
        EXPECT_EQ(rules.unmap_step(PageSizes{k4 | kHuge}), k4K);
    }
}

TEST_P(Policies, a_map_of_less_than_a_host_page_is_taken_by_subpage_alone)
{
    Bench bench{small_pages(GetParam())};
    Buffer const buffer{64, k64K};
    EXPECT_EQ(bench.map(kI, buffer.vaddr(), k4).has_value(), GetParam() == subpage);
    EXPECT_TRUE(bench.unmap_all());
    // A host page is too little where only 2M is reported, and 2M is enough for everybody.
    EXPECT_EQ(bench.map(kI, buffer.vaddr(), k64).has_value(), GetParam() != pre_2015);
    EXPECT_TRUE(bench.unmap_all());
    Vaddr const aligned{k2M.align_up(buffer.vaddr().raw())};
    EXPECT_TRUE(bench.map(kI, aligned, kHuge));
    bench.expect_state({{kI, kHuge, aligned}});
}

TEST_P(Policies, an_IOMMU_with_small_pages_only_never_maps_half_a_host_page_by_accident)
{
    Bench bench{{.page = k64K,
                 .iommu = {.page_sizes = PageSizes{k4}, .reserved = {}},
                 .policy = GetParam()}};
    Buffer const buffer{2, k64K};
    bool const parts = GetParam() == subpage;
    EXPECT_EQ(bench.map(kI + k4, buffer.vaddr(), k64).has_value(), parts);
    EXPECT_EQ(bench.map(kI + 0x100000, buffer.vaddr() + k4, k64).has_value(), parts);
    EXPECT_EQ(bench.map(kI + 0x200000, buffer.vaddr(), k64 + k4).has_value(), parts);
    EXPECT_ERRNO(bench.map(kI + 0x300000, buffer.vaddr(), 512), inval);
    EXPECT_TRUE(bench.map(kI + 0x400000, buffer.vaddr(), 2 * k64));
    EXPECT_TRUE(bench.unmap_all());
    bench.expect_state({});
}

TEST_P(Policies, the_dirty_granule_is_what_mappings_are_aligned_to)
{
    Bench bench{small_pages(GetParam())};
    Buffer const buffer{64, k64K};
    Vaddr const vaddr{k2M.align_up(buffer.vaddr().raw())};
    std::uint64_t const granule = bench.container.info()->granule;
    EXPECT_TRUE(bench.map(kI, vaddr, kHuge));
    EXPECT_TRUE(bench.container.start_dirty_tracking());
    std::array<std::uint64_t, 8> words{};
    for (std::uint64_t const asked : {k4, k64, kHuge}) {
        DirtyQuery const query{
            Iova{kI},
            kHuge,
            {asked, sizeof words, Vaddr{reinterpret_cast<std::uint64_t>(words.data())}}};
        EXPECT_EQ(bench.container.dirty_bitmap(bench.process, query).has_value(), asked == granule);
    }
    std::uint64_t bits = 0;
    for (std::uint64_t const each : words) bits += static_cast<std::uint64_t>(std::popcount(each));
    EXPECT_EQ(bits, kHuge / granule);
}

// Looked up in steps of the host page, which misses where parts of pages meet.
TEST_P(Policies, an_unmap_looks_up_in_steps_of_the_host_page_or_of_the_smallest_leaf)
{
    PageRules const rules{GetParam(), k64K};
    EXPECT_EQ(rules.unmap_step(PageSizes{k4 | kHuge}), GetParam() == subpage ? k4K : k64K);
    EXPECT_EQ(rules.unmap_step(PageSizes{kHuge}), k64K);
}

class Subpage : public testing::TestWithParam<host::FrameNumbering> {
protected:
    Bench::Options options() const
    {
        auto all = small_pages(subpage);
        all.frames = GetParam();
        return all;
    }
    Bench bench{options()};
    Buffer buffer{4, k64K};
};
INSTANTIATE_TEST_SUITE_P(Frames, Subpage,
                         testing::Values(host::FrameNumbering::contiguous,
                                         host::FrameNumbering::scattered),
                         [](auto const& it) {
                             return it.param == host::FrameNumbering::contiguous ? "contiguous"
                                                                                 : "scattered";
                         });

TEST_P(Subpage, a_host_page_is_pinned_and_charged_once_for_all_mappings_that_share_it)
{
    bench.source.limit = k64;
    std::vector<Expected> mapped;
    for (std::uint64_t i = 0; i < 16; ++i) {
        // Not in order, and at IOVAs that agree with nothing.
        mapped.push_back({kI + i * 3 * k4, k4, buffer.vaddr() + (i * 7 % 16) * k4});
        EXPECT_TRUE(bench.map(mapped.back().iova, mapped.back().vaddr, k4));
        bench.expect_state(mapped);
        EXPECT_EQ(bench.charged(), 1U);
        EXPECT_EQ(bench.memory.pinned_pages(), 1U);
    }
    EXPECT_ERRNO(bench.map(kI + 0x100000, buffer.vaddr(1), k4), nomem);
    while (!mapped.empty()) {
        EXPECT_EQ(bench.charged(), 1U);
        EXPECT_EQ(bench.unmap(mapped.back().iova, k4), k4);
        mapped.pop_back();
        bench.expect_state(mapped);
    }
    EXPECT_EQ(bench.charged(), 0U);
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(1), k4));
}

TEST_P(Subpage, a_mapping_may_begin_and_end_inside_host_pages)
{
    Expected const one{kI + k4, 2 * k64 + 2 * k4, buffer.vaddr() + 15 * k4};
    EXPECT_TRUE(bench.map(one.iova, one.vaddr, one.size));
    bench.expect_state({one});
    EXPECT_EQ(bench.charged(), 4U);
    Expected const other{kI + 0x100000, k4, buffer.vaddr()};
    EXPECT_TRUE(bench.map(other.iova, other.vaddr, other.size));
    EXPECT_EQ(bench.charged(), 4U);
    EXPECT_EQ(bench.unmap(one.iova, one.size), one.size);
    bench.expect_state({other});
    EXPECT_EQ(bench.charged(), 1U);
}

TEST_P(Subpage, a_refused_map_leaves_the_pages_that_others_share_charged)
{
    EXPECT_TRUE(bench.map(kI, buffer.vaddr() + k4, k4));
    buffer.protect(2, PROT_NONE);
    EXPECT_ERRNO(bench.map(kI + 0x100000, buffer.vaddr(), 3 * k64), fault);
    bench.expect_state({{kI, k4, buffer.vaddr() + k4}});
    bench.source.limit = 0x1ffff;
    EXPECT_ERRNO(bench.map(kI + 0x100000, buffer.vaddr(), 2 * k64), nomem);
    bench.source.limit = 0x20000;
    EXPECT_TRUE(bench.map(kI + 0x100000, buffer.vaddr(), 2 * k64));
    EXPECT_EQ(bench.charged(), 2U);
}

TEST_P(Subpage, processes_and_containers_each_pay_for_themselves)
{
    LockSource source;
    host::OwnProcess other{source, k64K};
    Unit unit{{.reserved = {}}};
    Container container{bench.settings};
    EXPECT_TRUE(container.add(unit.group));
    EXPECT_TRUE(container.set_iommu(3));
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), k4));
    EXPECT_TRUE(
        bench.container.map(other, {Iova{kI + k4}, buffer.vaddr() + k4, k4, Prot::read_write}));
    EXPECT_TRUE(
        container.map(bench.process, {Iova{kI}, buffer.vaddr() + 2 * k4, k4, Prot::read_write}));
    EXPECT_EQ(bench.charged(), 2U);
    EXPECT_EQ(other.locked_memory().charged(), 1U);
    EXPECT_EQ(bench.memory.pinned_pages(), 1U);
    container.remove(unit.group);
    EXPECT_EQ(bench.charged(), 1U);
    EXPECT_EQ(bench.unmap_all(), 2 * k4);
    EXPECT_EQ(other.locked_memory().charged(), 0U);
}

TEST_P(Subpage, a_new_vaddr_from_another_process_takes_over_what_it_does_not_share)
{
    LockSource source;
    host::OwnProcess other{source, k64K};
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), k4));
    EXPECT_TRUE(bench.map(kI + k4, buffer.vaddr() + k4, k64));
    EXPECT_EQ(bench.charged(), 2U);
    EXPECT_EQ(bench.invalidate_vaddr(kI + k4, k64), k64);
    MapRequest const update{Iova{kI + k4}, buffer.vaddr() + k4, k64, Prot::none, true};
    source.limit = k64;
    EXPECT_ERRNO(bench.container.map(other, update), nomem);
    EXPECT_EQ(other.locked_memory().charged(), 0U);
    source.limit = 2 * k64;
    EXPECT_TRUE(bench.container.map(other, update));
    EXPECT_EQ(other.locked_memory().charged(), 2U);
    EXPECT_EQ(bench.charged(), 1U);
    EXPECT_EQ(bench.unmap_all(), k64 + k4);
    EXPECT_EQ(other.locked_memory().charged(), 0U);
}

// A new vaddr may lie elsewhere in its host page; what is pinned stays where it is.
TEST_P(Subpage, a_new_vaddr_leaves_the_pages_that_are_pinned)
{
    Expected const one{kI, 2 * k4, buffer.vaddr() + 14 * k4};
    EXPECT_TRUE(bench.map(one.iova, one.vaddr, one.size));
    EXPECT_EQ(bench.invalidate_vaddr(kI, 2 * k4), 2 * k4);
    EXPECT_TRUE(bench.update_vaddr(kI, buffer.vaddr(2) + 15 * k4, 2 * k4));
    bench.expect_state({one});
    EXPECT_EQ(bench.unmap(kI, 2 * k4), 2 * k4);
    bench.expect_state({});
}

TEST_P(Subpage, a_second_domain_gets_the_same_parts_of_pages)
{
    std::vector<Expected> const mapped{{kI + k4, k64 + k4, buffer.vaddr() + 3 * k4},
                                       {kI + 0x100000, k4, buffer.vaddr() + k4}};
    for (Expected const& one : mapped) EXPECT_TRUE(bench.map(one.iova, one.vaddr, one.size));
    Unit unit{native(k4)};
    EXPECT_TRUE(bench.container.add(unit.group));
    bench.expect_state(mapped, {&unit.first});
    bench.container.remove(bench.unit.group);
    bench.in = false;
    bench.expect_maps(*unit.first.domain(), mapped);
    EXPECT_TRUE(bench.unmap_all());
    EXPECT_EQ(bench.charged(), 0U);
    bench.container.remove(unit.group);
}

TEST(Exposed, what_lies_beside_a_part_of_a_page_is_recorded)
{
    Activity activity;
    Bench bench{small_pages(subpage)};
    bench.settings.activity = &activity;
    Buffer const buffer{4, k64K};
    Vaddr const start = buffer.vaddr() + 3 * k4;
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), k64));  // whole pages: nothing beside them
    EXPECT_TRUE(bench.map(kI + 0x100000, start, k64 + k4));
    EXPECT_TRUE(bench.map(kI + 0x200000, start, k64 + k4));
    EXPECT_TRUE(bench.map(kI + 0x300000, buffer.vaddr(3), k4));
    EXPECT_EQ(activity.exposure.mappings(), 3U);
    EXPECT_EQ(activity.exposure.bytes(), 2 * 15 * k4 + 15 * k4);
    EXPECT_EQ(activity.exposure.records(),
              (std::vector<Exposure::Record>{
                  {{start, start + (k64 + k4 - 1)}, 3 * k4, 12 * k4},
                  {{buffer.vaddr(3), buffer.vaddr(3) + (k4 - 1)}, 0, 15 * k4}}));
    EXPECT_TRUE(bench.unmap_all());
}

TEST(Exposed, only_so_many_records_are_kept_and_all_are_counted)
{
    Exposure exposure;
    for (std::uint64_t i = 0; i < 2 * Exposure::kMostRecords; ++i)
        exposure.add({{Vaddr{i}, Vaddr{i}}, 1, 2});
    EXPECT_EQ(exposure.records().size(), Exposure::kMostRecords);
    EXPECT_EQ(exposure.mappings(), 2 * Exposure::kMostRecords);
    EXPECT_EQ(exposure.bytes(), 6 * Exposure::kMostRecords);
}

// Rule T-3: pages of the IOMMU above the host's. Each chunk must do for itself.
TEST(CoarsePages, scattered_memory_is_EINVAL_and_leaves_nothing)
{
    for (auto const policy : {merged, pre_2015, rfc_2015, subpage}) {
        Bench bench{
            {.iommu = native(k64), .frames = host::FrameNumbering::scattered, .policy = policy}};
        Buffer const buffer{2, k64K};
        EXPECT_EQ(bench.container.info()->granule, k64);
        EXPECT_ERRNO(bench.map(kI, buffer.vaddr(), k64), inval);
        bench.expect_state({});
    }
}

TEST(CoarsePages, a_chunk_that_is_not_aligned_takes_those_before_it_along)
{
    Bench bench{{.iommu = native(k16)}};
    // The second 16K begins with a page that is mapped elsewhere too: its frame lies apart.
    Buffer const buffer{2, k16K}, apart{2, k16K};
    ASSERT_NE(::mremap(buffer.page(1) + k4, k4, k4, MREMAP_MAYMOVE | MREMAP_FIXED, apart.page(0)),
              MAP_FAILED);
    ASSERT_NE(::mremap(apart.page(1), k4, k4, MREMAP_MAYMOVE | MREMAP_FIXED, buffer.page(1) + k4),
              MAP_FAILED);
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), 2 * k16));
    bench.expect_state({{kI, 2 * k16, buffer.vaddr()}});
    EXPECT_TRUE(bench.unmap_all());
}

}  // namespace
}  // namespace pinfold::type1
