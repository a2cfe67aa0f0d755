#include "machine/text.hpp"

#include <gtest/gtest.h>

#include <array>

namespace pinfold::machine {
namespace {

TEST(Text, sizes_are_powers_of_1024_with_a_letter)
{
    EXPECT_EQ(parse_size("0"), 0U);
    EXPECT_EQ(parse_size("4096"), 4096U);
    EXPECT_EQ(parse_size("0x1000"), 4096U);
    EXPECT_EQ(parse_size("64K"), 65536U);
    EXPECT_EQ(parse_size("8m"), 8U << 20);
    EXPECT_EQ(parse_size("1G"), 1U << 30);
    EXPECT_EQ(parse_size("2T"), std::uint64_t{2} << 40);
    EXPECT_EQ(parse_size("18446744073709551615"), ~std::uint64_t{0});
}

TEST(Text, what_is_no_size_or_does_not_fit_is_refused)
{
    for (auto const* const text :
         {"", "K", "0x", "-1", "+1", " 1", "1 ", "1.5G", "4KB", "4KiB", "1P", "0xg", "1e3",
          "18446744073709551616", "16777216T", "18014398509481984K"})
        EXPECT_FALSE(parse_size(text)) << text;
}

TEST(Text, a_size_is_written_in_the_largest_unit_that_divides_it)
{
    EXPECT_EQ(size_text(0), "0");
    EXPECT_EQ(size_text(1000), "1000");
    EXPECT_EQ(size_text(4096), "4K");
    EXPECT_EQ(size_text(4096 * 1024), "4M");
    EXPECT_EQ(size_text(std::uint64_t{1} << 40), "1T");
}

TEST(Text, every_size_is_read_back_as_it_was_written)
{
    for (unsigned lg2 = 0; lg2 < 64; ++lg2)
        for (std::uint64_t const near : {~std::uint64_t{0}, std::uint64_t{0}, std::uint64_t{1}}) {
            std::uint64_t const bytes = (std::uint64_t{1} << lg2) + near;
            EXPECT_EQ(parse_size(size_text(bytes)), bytes);
        }
}

TEST(Text, a_slip_finds_the_word_that_was_meant_and_nonsense_finds_none)
{
    constexpr std::array<std::string_view, 3> kWords{"page_size", "memlock", "frames"};
    EXPECT_EQ(nearest("page_szie", kWords), "page_size");
    EXPECT_EQ(nearest("memlok", kWords), "memlock");
    EXPECT_EQ(nearest("frame", kWords), "frames");
    EXPECT_EQ(nearest("zebra", kWords), std::nullopt);
    EXPECT_EQ(nearest("", kWords), std::nullopt);
    EXPECT_EQ(nearest(std::string(100'000, 'p'), kWords), std::nullopt);
    EXPECT_EQ(suggestion("memlok", kWords), "; did you mean memlock?");
    EXPECT_EQ(suggestion("zebra", kWords), "; allowed here are page_size, memlock and frames");
}

TEST(Text, quoting_shows_what_a_terminal_would_obey_and_cuts_what_is_long)
{
    EXPECT_EQ(in_quotes("a b"), "\"a b\"");
    EXPECT_EQ(in_quotes("\x1b[31m\"\n"), R"("\x1b[31m\"\x0a")");
    EXPECT_EQ(in_quotes(std::string(200, 'x')), '"' + std::string(80, 'x') + "\"...");
}

}  // namespace
}  // namespace pinfold::machine
