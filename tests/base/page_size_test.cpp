#include "base/page_size.hpp"

#include <gtest/gtest.h>

namespace pinfold {
namespace {

TEST(PageSize, only_powers_of_two_exist)
{
    EXPECT_FALSE(PageSize::of(0));
    EXPECT_FALSE(PageSize::of(4097));
    EXPECT_EQ(PageSize::of(65536), k64K);
    EXPECT_EQ(k64K.align_up(1), 65536U);
    EXPECT_EQ(k64K.align_down(65537), 65536U);
}

TEST(PageSizes, best_is_the_largest_that_fits_and_divides_as_a_loop_finds_it)
{
    constexpr std::uint64_t kBitmaps[] = {0x40201000,         0x1000, 0x10000, 0xffffff7ffffff000,
                                          0x8000000000000000, 0};
    for (auto const bitmap : kBitmaps)
        for (unsigned align = 0; align <= 64; ++align)
            for (unsigned size = 0; size < 64; ++size)
                for (std::int64_t const around : {-1, 0, 1}) {
                    std::uint64_t const addr = align == 64 ? 0 : std::uint64_t{1} << align;
                    std::uint64_t const bytes =
                        (std::uint64_t{1} << size) + static_cast<std::uint64_t>(around);
                    std::optional<PageSize> slow;
                    for (unsigned lg2 = 0; lg2 < 64; ++lg2) {
                        auto const page = PageSize::lg2_of(lg2);
                        if (PageSizes{bitmap}.has(page) && page.bytes() <= bytes &&
                            page.aligned(addr))
                            slow = page;
                    }
                    ASSERT_EQ(PageSizes{bitmap}.best(addr, bytes), slow)
                        << std::hex << bitmap << " " << addr << " " << bytes;
                }
}

}  // namespace
}  // namespace pinfold
