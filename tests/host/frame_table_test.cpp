#include "host/frame_table.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace pinfold::host {
namespace {

constexpr unsigned kIndexBits = 40;
constexpr std::uint64_t kNoLimit = ~std::uint64_t{0};

std::vector<std::uint64_t> tenanted(FrameTable const& table, std::uint64_t first,
                                    std::uint64_t last)
{
    std::vector<std::uint64_t> homes;
    table.for_each_tenant(first, last, [&](std::uint64_t home, Slot&) { homes.push_back(home); });
    return homes;
}

TEST(FrameTable, finds_nothing_before_it_grows)
{
    FrameTable table{kIndexBits, kNoLimit};
    EXPECT_EQ(table.find(5), nullptr);
    EXPECT_EQ(table.find((std::uint64_t{1} << kIndexBits) - 1), nullptr);
    EXPECT_TRUE(tenanted(table, 0, (std::uint64_t{1} << 35) - 1).empty());
}

TEST(FrameTable, a_grown_slot_is_empty_and_stays_where_it_is)
{
    FrameTable table{kIndexBits, kNoLimit};
    for (auto const index : {std::uint64_t{0}, std::uint64_t{511}, std::uint64_t{512},
                             (std::uint64_t{1} << kIndexBits) - 1}) {
        Slot* const slot = table.grow(index);
        ASSERT_NE(slot, nullptr);
        EXPECT_EQ(slot->place, 0U);
        EXPECT_EQ(slot->pins, 0U);
        slot->pins = static_cast<std::uint32_t>(index) | 1U;
        EXPECT_EQ(table.grow(index), slot);
        EXPECT_EQ(table.find(index), slot);
        EXPECT_EQ(slot->pins, static_cast<std::uint32_t>(index) | 1U);
    }
}

TEST(FrameTable, visits_the_tenants_of_a_range_in_order_across_every_border)
{
    FrameTable table{kIndexBits, kNoLimit};
    std::uint64_t const middle = std::uint64_t{512} << 16;
    std::vector<std::uint64_t> const homes{3, 511, 512, 5000, middle - 1, middle, 40 * middle + 7};
    for (auto const home : homes) table.grow(home)->tenant = home + 1;
    EXPECT_EQ(tenanted(table, 0, (std::uint64_t{1} << 35) - 1), homes);
    EXPECT_EQ(tenanted(table, 3, 3), (std::vector<std::uint64_t>{3}));
    EXPECT_EQ(tenanted(table, 4, 511), (std::vector<std::uint64_t>{511}));
    EXPECT_EQ(tenanted(table, middle - 1, middle),
              (std::vector<std::uint64_t>{middle - 1, middle}));
    EXPECT_TRUE(tenanted(table, 4, 510).empty());
}

TEST(FrameTable, grows_no_further_than_its_limit)
{
    FrameTable nothing{kIndexBits, 0};
    EXPECT_EQ(nothing.grow(0), nullptr);
    FrameTable half{kIndexBits, 512 * 1024};  // a middle, and no chunk
    EXPECT_EQ(half.grow(0), nullptr);
    EXPECT_EQ(half.find(0), nullptr);
    FrameTable one{kIndexBits, 512 * 1024 + 512 * sizeof(Slot)};
    EXPECT_NE(one.grow(0), nullptr);
    EXPECT_NE(one.grow(511), nullptr);
    EXPECT_EQ(one.grow(512), nullptr);
}

}  // namespace
}  // namespace pinfold::host
