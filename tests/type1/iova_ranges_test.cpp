#include "type1/iova_ranges.hpp"

#include <gtest/gtest.h>

#include <bitset>
#include <random>

#include "bench.hpp"

namespace pinfold::type1 {
namespace {

constexpr std::uint64_t kTop = ~std::uint64_t{0};
using iommu::ReservedType;

IovaRanges of(std::vector<IovaRange> const& ranges)
{
    IovaRanges result;
    result.narrow({ranges.front().start, ranges.back().last});
    for (std::size_t i = 1; i < ranges.size(); ++i) {
        iommu::ReservedRegion const hole{{ranges[i - 1].last + 1, ranges[i].start - 1},
                                         ReservedType::reserved};
        result.exclude(std::span{&hole, 1});
    }
    return result;
}

void expect(IovaRanges const& ranges, std::vector<IovaRange> const& want)
{
    EXPECT_EQ(std::vector(ranges.ranges().begin(), ranges.ranges().end()), want);
}

TEST(IovaRanges, a_reserved_region_in_the_middle_splits_a_range)
{
    IovaRanges ranges = of({range_of(0, (std::uint64_t{1} << 39) - 1)});
    iommu::ReservedRegion const msi{range_of(0xfee00000, 0xfeefffff), ReservedType::msi};
    ranges.exclude(std::span{&msi, 1});
    expect(ranges, {range_of(0, 0xfedfffff), range_of(0xfef00000, (std::uint64_t{1} << 39) - 1)});
}

TEST(IovaRanges, a_direct_relaxable_region_is_ignored)
{
    IovaRanges ranges = of({range_of(0, 0xffff)});
    iommu::ReservedRegion const region{range_of(0, 0xfff), ReservedType::direct_relaxable};
    ranges.exclude(std::span{&region, 1});
    expect(ranges, {range_of(0, 0xffff)});
}

TEST(IovaRanges, a_region_takes_whole_ranges_and_the_ends_of_others)
{
    IovaRanges ranges = of({range_of(0, 9), range_of(20, 29), range_of(40, 49)});
    iommu::ReservedRegion const region{range_of(5, 44), ReservedType::direct};
    ranges.exclude(std::span{&region, 1});
    expect(ranges, {range_of(0, 4), range_of(45, 49)});
}

TEST(IovaRanges, exclusion_agrees_with_a_set_of_bytes)
{
    unsigned const seed = std::random_device{}();
    SCOPED_TRACE(seed);
    std::mt19937 random{seed};
    for (int round = 0; round < 300; ++round) {
        std::bitset<64> valid;
        valid.set();
        IovaRanges ranges = of({range_of(0, 63)});
        for (int i = 0; i < 6; ++i) {
            std::uint64_t const start = random() % 64;
            std::uint64_t const last = std::min<std::uint64_t>(63, start + random() % 12);
            iommu::ReservedRegion const region{range_of(start, last), ReservedType::msi};
            ranges.exclude(std::span{&region, 1});
            for (std::uint64_t byte = start; byte <= last; ++byte) valid.reset(byte);
        }
        std::bitset<64> got;
        std::optional<IovaRange> before;
        for (IovaRange const range : ranges.ranges()) {
            EXPECT_TRUE(!before || before->last + 1 < range.start);
            before = range;
            for (auto byte = range.start.raw(); byte <= range.last.raw(); ++byte) got.set(byte);
        }
        EXPECT_EQ(got, valid);
    }
}

TEST(IovaRanges, narrowing_drops_what_lies_outside_and_what_would_keep_one_byte_only)
{
    IovaRanges ranges = of({range_of(0, 9), range_of(20, 29), range_of(40, 49)});
    ranges.narrow(range_of(25, 45));
    expect(ranges, {range_of(25, 29), range_of(40, 45)});

    ranges = of({range_of(0, 9), range_of(20, 29), range_of(40, 49)});
    ranges.narrow(range_of(9, 40));
    expect(ranges, {range_of(20, 29)});

    ranges = of({range_of(0, 9), range_of(20, 29)});
    ranges.narrow(range_of(10, 19));
    EXPECT_TRUE(ranges.empty());
}

TEST(IovaRanges, widening_moves_the_outer_ends_and_closing_removes_the_holes)
{
    IovaRanges ranges = of({range_of(10, 19), range_of(30, 39)});
    ranges.widen(range_of(0, kTop));
    expect(ranges, {range_of(0, 19), range_of(30, kTop)});
    ranges.close_holes();
    expect(ranges, {range_of(0, kTop)});
}

TEST(IovaRanges, a_range_is_admitted_by_a_single_valid_range_and_by_no_ranges_at_all)
{
    IovaRanges const ranges = of({range_of(0, 9), range_of(11, 19)});
    EXPECT_TRUE(ranges.admits(range_of(0, 9)));
    EXPECT_TRUE(ranges.admits(range_of(11, 19)));
    EXPECT_FALSE(ranges.admits(range_of(9, 11)));
    EXPECT_FALSE(ranges.admits(range_of(10, 10)));
    EXPECT_FALSE(ranges.admits(range_of(19, 20)));
    EXPECT_TRUE(IovaRanges{}.admits(range_of(0, kTop)));
}

// Rule A-15, case by case. A mapping lies at [100, 109].
TEST(IovaRanges, an_aperture_conflicts_where_it_misses_the_ranges_or_cuts_off_a_mapping)
{
    Dmas dmas;
    dmas.try_emplace(Iova{100}, Dma{.range = range_of(100, 109),
                                    .vaddr = Vaddr{0},
                                    .prot = Prot::read,
                                    .mm = nullptr,
                                    .lock_cap = host::LockCap::no,
                                    .pins = {},
                                    .dirty = {}});
    IovaRanges const ranges = of({range_of(50, 200)});
    EXPECT_FALSE(IovaRanges{}.conflicts(range_of(0, 1), dmas));
    EXPECT_TRUE(ranges.conflicts(range_of(201, 300), dmas));
    EXPECT_TRUE(ranges.conflicts(range_of(0, 49), dmas));
    EXPECT_FALSE(ranges.conflicts(range_of(100, 109), dmas));
    EXPECT_TRUE(ranges.conflicts(range_of(101, 300), dmas));
    EXPECT_TRUE(ranges.conflicts(range_of(0, 108), dmas));
    EXPECT_FALSE(ranges.conflicts(range_of(0, kTop), dmas));
}

}  // namespace
}  // namespace pinfold::type1
