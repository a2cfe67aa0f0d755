#include <gtest/gtest.h>

#include "machine/description.hpp"

namespace pinfold::machine {
namespace {

TEST(Bdf, the_domain_may_be_left_out)
{
    EXPECT_EQ(Bdf::parse("0000:00:04.0"), (Bdf{0, 0, 4, 0}));
    EXPECT_EQ(Bdf::parse("00:04.0"), (Bdf{0, 0, 4, 0}));
    EXPECT_EQ(Bdf::parse("ABcd:fe:1f.7"), (Bdf{0xabcd, 0xfe, 0x1f, 7}));
}

TEST(Bdf, every_address_is_read_back_as_it_was_written)
{
    for (unsigned device = 0; device < 32; ++device)
        for (std::uint8_t function = 0; function < 8; ++function) {
            Bdf const bdf{0x1234, 0xa0, static_cast<std::uint8_t>(device), function};
            EXPECT_EQ(Bdf::parse(bdf.text()), bdf);
        }
}

TEST(Bdf, anything_else_is_refused_with_an_example)
{
    for (auto const* const text :
         {"", "0", "04.0", "0:0:4.0", "0000:00:04", "0000:00:04.", "0000:00:04.00", "0000:00:4.0",
          "0000-00-04.0", "0000:00:04.g", "00000:00:04.0", " 0000:00:04.0", "0x00:00:04.0",
          "+000:00:04.0", "0000:-1:04.0"}) {
        auto const parsed = Bdf::parse(text);
        ASSERT_FALSE(parsed) << text;
        EXPECT_TRUE(parsed.error().contains("is not a PCI address such as 0000:00:04.0")) << text;
    }
}

TEST(Bdf, a_device_or_function_that_no_bus_has_is_named)
{
    EXPECT_EQ(
        Bdf::parse("0000:00:20.0").error(),
        "\"0000:00:20.0\" is not a PCI address such as 0000:00:04.0: the device is at most 1f");
    EXPECT_EQ(Bdf::parse("00:04.8").error(),
              "\"00:04.8\" is not a PCI address such as 0000:00:04.0: the function is at most 7");
}

}  // namespace
}  // namespace pinfold::machine
