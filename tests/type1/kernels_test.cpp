// What differs between the kernels whose behaviour a machine can have. docs/kernels.md lists it,
// and names these tests.
#include <gtest/gtest.h>

#include "bench.hpp"

namespace pinfold::type1 {
namespace {

constexpr std::uint64_t kI = 0x10000000;
constexpr std::uint64_t kTop = ~std::uint64_t{0};
constexpr std::uint64_t kNesting = 6;

class Kernels : public testing::TestWithParam<Kernel> {
protected:
    static bool newest() { return GetParam() == Kernel::v7_3; }
    static Errno wrapped() { return newest() ? Errno::overflow : Errno::inval; }
    static Bench::Options with(iommu::Iommu::Options iommu)
    {
        return {.iommu = std::move(iommu), .kernel = GetParam()};
    }
};

INSTANTIATE_TEST_SUITE_P(Linux, Kernels, testing::Values(Kernel::v6_1, Kernel::v6_12, Kernel::v7_3),
                         [](auto const& it) {
                             std::string text{"v"};
                             text += name(it.param);
                             std::ranges::replace(text, '.', '_');
                             return text;
                         });

TEST_P(Kernels, a_range_that_wraps_is_EOVERFLOW_since_7_3)
{
    Bench bench{with({.reserved = {}})};
    Buffer const buffer{4, k4K};
    EXPECT_EQ(error_of(bench.map(kI, buffer.vaddr(), 0 - kI + 0x1000)), wrapped());
    EXPECT_EQ(error_of(bench.map(kI, Vaddr{kTop - 0x1fff}, 0x3000)), wrapped());
    EXPECT_EQ(error_of(bench.map(kI + 512, buffer.vaddr(), 0 - kI)), wrapped());
    EXPECT_EQ(error_of(bench.map(kI, buffer.vaddr(), 0 - kI + 0x1000, Prot::none)), wrapped());
    EXPECT_EQ(error_of(bench.unmap(kI, 0 - kI + 0x1000)), wrapped());
    EXPECT_ERRNO(bench.map(kI, buffer.vaddr(), 0), inval);
    EXPECT_ERRNO(bench.unmap(kI, 0), inval);

    std::uint64_t word = 0;
    Bitmap const bitmap{0x1000, kMostBitmapBytes, Vaddr{reinterpret_cast<std::uint64_t>(&word)}};
    DirtyQuery const query{Iova{kI}, 0 - kI + 0x1000, bitmap};
    EXPECT_EQ(error_of(bench.container.dirty_bitmap(bench.process, query)), wrapped());
    bench.expect_state({});
}

TEST_P(Kernels, a_query_of_dirty_pages_up_to_the_top_is_refused_before_7_3)
{
    Bench bench{with(native(0x1000, 64))};
    Buffer const buffer{2, k4K};
    std::uint64_t const top = 0 - std::uint64_t{0x2000};
    EXPECT_TRUE(bench.container.start_dirty_tracking());
    EXPECT_TRUE(bench.map(top, buffer.vaddr(), 0x2000));
    std::uint64_t word = 0;
    DirtyQuery const query{
        Iova{top}, 0x2000, {0x1000, 8, Vaddr{reinterpret_cast<std::uint64_t>(&word)}}};
    EXPECT_EQ(bench.container.dirty_bitmap(bench.process, query).has_value(), newest());
    EXPECT_EQ(word, newest() ? 3U : 0U);
}

// Older kernels lose such mappings in several ways; none is imitated.
TEST_P(Kernels, a_mapping_up_to_the_top_is_like_any_other)
{
    Bench bench{with(native(0x1000, 64))};
    Buffer const buffer{2, k4K};
    std::uint64_t const top = 0 - std::uint64_t{0x2000};
    EXPECT_TRUE(bench.map(top, buffer.vaddr(), 0x2000));
    EXPECT_ERRNO(bench.map(top, buffer.vaddr(), 0x2000), exist);
    EXPECT_ERRNO(bench.unmap(top + 0x1000, 0x1000), inval);
    EXPECT_EQ(bench.unmap(top, 0x2000), 0x2000U);
    bench.expect_state({});
}

TEST_P(Kernels, the_type_for_nesting_is_there_until_6_12_where_the_IOMMU_can_nest)
{
    Bench bench{{.type = std::nullopt, .kernel = GetParam()}};
    EXPECT_EQ(bench.container.check_extension(kNesting), !newest());
    EXPECT_TRUE(bench.container.add(bench.unit.group));
    bench.in = true;
    EXPECT_EQ(error_of(bench.container.set_iommu(kNesting)),
              newest() ? Errno::nodev : Errno::inval);
    EXPECT_FALSE(bench.container.version());
    EXPECT_EQ(bench.unit.first.domain(), nullptr);
    EXPECT_TRUE(bench.container.set_iommu(3));
    EXPECT_EQ(bench.container.check_extension(kNesting), !newest());
}

TEST_P(Kernels, a_domain_that_cannot_be_made_is_EIO_in_6_1)
{
    Bench bench{
        {.iommu = {.reserved = {}, .table_budget = 0}, .type = std::nullopt, .kernel = GetParam()}};
    EXPECT_TRUE(bench.container.add(bench.unit.group));
    bench.in = true;
    EXPECT_EQ(error_of(bench.container.set_iommu(3)),
              GetParam() == Kernel::v6_1 ? Errno::io : Errno::nomem);
    // That comes before nesting, which this unit could not do.
    EXPECT_EQ(error_of(bench.container.set_iommu(kNesting)), newest() ? Errno::nodev
                                                             : GetParam() == Kernel::v6_1
                                                                 ? Errno::io
                                                                 : Errno::nomem);
    EXPECT_FALSE(bench.container.version());
}

// The native index gives a mapping back whole, as virtio-iommu does.
TEST_P(Kernels, a_domain_that_splits_nothing_is_probed_and_unmapped_page_by_page_before_7_3)
{
    Trace trace;
    auto options = native(0x1000);
    options.observer = &trace;
    options.reserved = {{range_of(0, 0x2fff), iommu::ReservedType::reserved}};
    Bench bench{with(options)};
    std::vector<std::string> probe;
    if (!newest()) probe = {"map 4000+2000", "unmap 4000+1000=2000"};
    EXPECT_EQ(trace.take(), probe);

    Buffer const buffer{3, k4K};
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), 0x3000));
    EXPECT_EQ(bench.unmap(kI, 0x3000), 0x3000U);
    std::string const step = newest() ? "3000" : "1000";
    EXPECT_EQ(trace.take(),
              (std::vector<std::string>{"map 10000000+3000", "unmap 10000000+" + step + "=3000"}));
    bench.expect_state({});
}

TEST_P(Kernels, a_domain_that_splits_is_probed_and_unmapped_in_runs)
{
    Trace trace;
    Bench bench{with({.reserved = {}, .observer = &trace})};
    std::vector<std::string> probe;
    if (!newest()) probe = {"map 0+2000", "unmap 0+1000=1000", "unmap 1000+1000=1000"};
    EXPECT_EQ(trace.take(), probe);

    Buffer const buffer{3, k4K};
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), 0x3000));
    EXPECT_EQ(bench.unmap(kI, 0x3000), 0x3000U);
    EXPECT_EQ(trace.take(),
              (std::vector<std::string>{"map 10000000+3000", "unmap 10000000+3000=3000"}));
}

// No window of two pages, and no page as small as the host's: nothing to probe with.
TEST_P(Kernels, the_probe_needs_a_window_and_a_small_page)
{
    Trace trace;
    auto options = native(0x1000, 16);
    options.observer = &trace;
    options.reserved = {{range_of(0x1000, 0x1fff), iommu::ReservedType::reserved},
                        {range_of(0x4000, 0xffff), iommu::ReservedType::reserved}};
    Bench const bench{with(options)};
    EXPECT_TRUE(trace.take().empty());

    options = native(0x10000);
    options.observer = &trace;
    Bench const coarse{with(options)};
    EXPECT_TRUE(trace.take().empty());
}

}  // namespace
}  // namespace pinfold::type1
