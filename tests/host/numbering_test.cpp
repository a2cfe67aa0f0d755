#include "host/numbering.hpp"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <vector>

namespace pinfold::host {
namespace {

TEST(Numbering, contiguous_numbers_are_the_addresses_themselves)
{
    Numbering const numbering{k4K, std::nullopt};
    EXPECT_EQ(numbering.paddr(0x7f12'3456'7).raw(), 0x7f12'3456'7000U);
    EXPECT_EQ(numbering.index(Paddr{0x7f12'3456'7fff}), 0x7f12'3456'7U);
}

TEST(Numbering, scattering_is_a_permutation)
{
    // Pages of 4 GiB leave indices of 20 bits: few enough to try them all.
    Numbering const numbering{PageSize::lg2_of(32), 42};
    std::vector<bool> seen(std::size_t{1} << numbering.index_bits());
    for (std::uint64_t index = 0; index < seen.size(); ++index) {
        auto const paddr = numbering.paddr(index);
        std::uint64_t const number = paddr.raw() >> 32;
        ASSERT_LT(number, seen.size());
        ASSERT_FALSE(seen[number]);
        seen[number] = true;
        auto const expected = numbering.names_frame(index) ? std::optional{index} : std::nullopt;
        ASSERT_EQ(numbering.index(paddr), expected);
    }
}

TEST(Numbering, some_paddrs_are_of_no_frame_and_no_page_of_a_process_has_them)
{
    for (unsigned const bits : {48U, 50U, 52U})
        for (auto const page_size : {k4K, k16K, k64K}) {
            Numbering const numbering{page_size, std::nullopt, bits};
            auto const outside = numbering.outside_frames();
            EXPECT_EQ(outside.last.raw() >> bits, 0U);
            EXPECT_GE(outside.start.raw() >> page_size.lg2(), numbering.homes());
            EXPECT_FALSE(numbering.index(outside.start));
            EXPECT_FALSE(numbering.index(outside.last));
            EXPECT_TRUE(numbering.index(Paddr{outside.start.raw() - 1}));
            EXPECT_TRUE(numbering.index(Paddr{outside.last.raw() + 1}));
            EXPECT_FALSE(numbering.index(Paddr{std::uint64_t{1} << bits}));
            EXPECT_EQ(numbering.index_bits() % 2, 0U);
        }
}

TEST(Numbering, scattering_parts_neighbours_and_keeps_to_52_bits)
{
    for (auto const page_size : {k4K, k16K, k64K}) {
        Numbering const numbering{page_size, 7};
        unsigned neighbours = 0;
        for (std::uint64_t index = 0; index < 10000; ++index) {
            auto const paddr = numbering.paddr(index);
            ASSERT_EQ(paddr.raw() >> Numbering::kMostPaddrBits, 0U);
            if (numbering.names_frame(index)) {
                ASSERT_EQ(numbering.index(paddr), index);
            }
            if (numbering.paddr(index + 1).raw() == paddr.raw() + page_size.bytes()) ++neighbours;
        }
        EXPECT_LT(neighbours, 3U);
    }
}

TEST(Numbering, another_seed_is_another_order_and_the_same_seed_the_same)
{
    Numbering const one{k4K, 1};
    Numbering const again{k4K, 1};
    Numbering const two{k4K, 2};
    EXPECT_EQ(one.paddr(5), again.paddr(5));
    EXPECT_NE(one.paddr(5), two.paddr(5));
}

TEST(Numbering, a_paddr_beyond_52_bits_has_no_index)
{
    Numbering const numbering{k4K, std::nullopt};
    EXPECT_TRUE(numbering.index(Paddr{(std::uint64_t{1} << 52) - 1}));
    EXPECT_FALSE(numbering.index(Paddr{std::uint64_t{1} << 52}));
    EXPECT_FALSE(numbering.index(Paddr{~std::uint64_t{0}}));
}

TEST(Numbering, candidates_differ_and_keep_the_alignment_of_the_home)
{
    for (auto const page_size : {k4K, k16K, k64K}) {
        Numbering const numbering{page_size, std::nullopt};
        std::uint64_t const home = numbering.homes() - 3;
        std::uint64_t const gib = k1G.bytes() / page_size.bytes();
        std::set<std::uint64_t> seen;
        for (std::uint64_t attempt = 0; attempt < 1000; ++attempt) {
            auto const candidate = numbering.candidate(home, attempt);
            ASSERT_TRUE(candidate);
            ASSERT_TRUE(seen.insert(*candidate).second);
            ASSERT_EQ(*candidate % gib, home % gib);
            ASSERT_EQ(*candidate >> numbering.index_bits(), 0U);
            ASSERT_EQ(*candidate < numbering.homes(), attempt == 0);
        }
    }
}

TEST(Numbering, candidates_come_to_an_end)
{
    Numbering const numbering{k64K, std::nullopt};
    EXPECT_FALSE(numbering.candidate(0, std::uint64_t{1} << 40));
}

}  // namespace
}  // namespace pinfold::host
