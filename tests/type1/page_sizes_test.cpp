#include "type1/page_sizes.hpp"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace pinfold::type1 {
namespace {

constexpr std::uint64_t kK = 1024, kM = kK * kK, kG = kM * kK;

// One row of the table of rules T: what the IOMMU supports, and R on hosts of 4K, 16K and 64K.
struct Row {
    std::uint64_t iommu;
    std::array<std::uint64_t, 3> reported;
};

constexpr std::array kHosts{k4K, k16K, k64K};

std::vector<Row> const kTable{
    {4 * kK, {4 * kK, 16 * kK, 64 * kK}},
    {4 * kK | 2 * kM, {4 * kK | 2 * kM, 16 * kK | 2 * kM, 64 * kK | 2 * kM}},
    {4 * kK | 2 * kM | kG, {4 * kK | 2 * kM | kG, 16 * kK | 2 * kM | kG, 64 * kK | 2 * kM | kG}},
    {4 * kK | 64 * kK, {4 * kK | 64 * kK, 16 * kK | 64 * kK, 64 * kK}},
    {4 * kK | 16 * kK | 64 * kK, {4 * kK | 16 * kK | 64 * kK, 16 * kK | 64 * kK, 64 * kK}},
    {4 * kK | 64 * kK | 2 * kM | 32 * kM | kG,
     {4 * kK | 64 * kK | 2 * kM | 32 * kM | kG, 16 * kK | 64 * kK | 2 * kM | 32 * kM | kG,
      64 * kK | 2 * kM | 32 * kM | kG}},
    {16 * kK | 32 * kM, {16 * kK | 32 * kM, 16 * kK | 32 * kM, 64 * kK | 32 * kM}},
    {16 * kK, {16 * kK, 16 * kK, 64 * kK}},
    {64 * kK | 512 * kM, {64 * kK | 512 * kM, 64 * kK | 512 * kM, 64 * kK | 512 * kM}},
    {64 * kK, {64 * kK, 64 * kK, 64 * kK}},
    {2 * kM, {2 * kM, 2 * kM, 2 * kM}},
    {2 * kM | kG, {2 * kM | kG, 2 * kM | kG, 2 * kM | kG}},
    {kG, {kG, kG, kG}},
    {~std::uint64_t{0xfff},
     {~std::uint64_t{0xfff}, ~std::uint64_t{0x3fff}, ~std::uint64_t{0xffff}}},
    {512 | 4 * kK, {4 * kK, 16 * kK, 64 * kK}},
    {(4 * kK) & (64 * kK), {0, 0, 0}},
    {(4 * kK | 64 * kK) & (64 * kK | 512 * kM), {64 * kK, 64 * kK, 64 * kK}},
    {~std::uint64_t{0}, {~std::uint64_t{0xfff}, ~std::uint64_t{0x3fff}, ~std::uint64_t{0xffff}}},
};

PageRules merged(PageSize host) { return {SubpagePolicy::merged, host}; }

TEST(PageSizesRule, the_host_page_stands_in_for_every_smaller_page_of_the_IOMMU)
{
    for (Row const& row : kTable)
        for (std::size_t host = 0; host < kHosts.size(); ++host)
            EXPECT_EQ(merged(kHosts[host]).reported(PageSizes{row.iommu}).bitmap(),
                      row.reported[host])
                << std::hex << row.iommu << " on a host of " << kHosts[host].bytes();
}

TEST(PageSizesRule, the_granule_is_the_smallest_size_that_is_reported)
{
    for (Row const& row : kTable)
        for (std::uint64_t const reported : row.reported) {
            if (reported == 0) continue;
            EXPECT_EQ(merged(k4K).granule(PageSizes{reported}), reported & (~reported + 1));
        }
}

TEST(PageSizesRule, no_common_size_leaves_a_granule_of_one_byte)
{
    EXPECT_EQ(merged(k4K).granule(PageSizes{}), 1U);
}

}  // namespace
}  // namespace pinfold::type1
