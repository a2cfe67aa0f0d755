#include "base/range.hpp"

#include <gtest/gtest.h>

namespace pinfold {
namespace {

constexpr std::uint64_t kTop = ~std::uint64_t{0};

TEST(Range, an_empty_one_cannot_be_made)
{
    EXPECT_EQ(IovaRange::of(Iova{0x1000}, 0).error(), Errno::inval);
}

TEST(Range, one_that_wraps_is_EOVERFLOW_and_one_that_ends_at_the_top_is_fine)
{
    EXPECT_EQ(IovaRange::of(Iova{kTop}, 2).error(), Errno::overflow);
    EXPECT_EQ(IovaRange::of(Iova{kTop - 0xfff}, 0x1001).error(), Errno::overflow);
    auto const last_page = IovaRange::of(Iova{kTop - 0xfff}, 0x1000);
    ASSERT_TRUE(last_page);
    EXPECT_EQ(last_page->last, Iova{kTop});
    EXPECT_EQ(last_page->size(), 0x1000U);
}

TEST(Range, overlap_contains_and_intersection_agree_with_a_set_of_bytes_on_all_small_ranges)
{
    constexpr std::uint64_t kSpace = 6;
    auto const in = [](IovaRange range, std::uint64_t byte) {
        return byte >= range.start.raw() && byte <= range.last.raw();
    };
    for (std::uint64_t a = 0; a < kSpace; ++a)
        for (std::uint64_t b = a; b < kSpace; ++b)
            for (std::uint64_t c = 0; c < kSpace; ++c)
                for (std::uint64_t d = c; d < kSpace; ++d) {
                    IovaRange const x{Iova{a}, Iova{b}};
                    IovaRange const y{Iova{c}, Iova{d}};
                    std::uint64_t common = 0;
                    for (std::uint64_t byte = 0; byte < kSpace; ++byte)
                        common += in(x, byte) && in(y, byte);
                    EXPECT_EQ(x.overlaps(y), common > 0);
                    EXPECT_EQ(x.contains(y), common == y.size());
                    auto const both = x.intersection(y);
                    EXPECT_EQ(both ? both->size() : 0, common);
                }
}

}  // namespace
}  // namespace pinfold
