#include <gtest/gtest.h>

#include "machine/description.hpp"

namespace pinfold::machine {
namespace {

TEST(DeviceArgument, a_model_an_address_a_group_and_settings_in_any_order)
{
    auto const entry = parse_device("nvme,disk=a.raw,group=7,bdf=0000:01:02.3,readonly=yes");
    ASSERT_TRUE(entry) << entry.error();
    EXPECT_EQ(entry->spec.model, "nvme");
    EXPECT_EQ(entry->bdf, (Bdf{0, 1, 2, 3}));
    EXPECT_EQ(entry->group, 7U);
    ASSERT_EQ(entry->spec.settings.size(), 2U);
    EXPECT_EQ(entry->spec.settings[0].key, "disk");
    EXPECT_EQ(entry->spec.settings[0].value, "a.raw");
    EXPECT_EQ(entry->spec.settings[1].key, "readonly");
}

TEST(DeviceArgument, two_commas_are_one_comma_of_a_value)
{
    auto const entry = parse_device("nvme,bdf=00:04.0,disk=a,,b,,,,c=d");
    ASSERT_TRUE(entry) << entry.error();
    EXPECT_EQ(entry->spec.settings.at(0).value, "a,b,,c=d");
}

struct Wrong {
    std::string argument, sentence;
};
class WrongDeviceArgument : public testing::TestWithParam<Wrong> {};

TEST_P(WrongDeviceArgument, is_refused_with_a_sentence)
{
    auto const entry = parse_device(GetParam().argument);
    ASSERT_FALSE(entry);
    EXPECT_EQ(entry.error(), GetParam().sentence);
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, WrongDeviceArgument,
    testing::Values(
        Wrong{"", R"(--device "": it must start with a model, as in edu,bdf=0000:00:04.0)"},
        Wrong{"bdf=00:04.0",
              R"(--device "bdf=00:04.0": it must start with a model, as in edu,bdf=0000:00:04.0)"},
        Wrong{"edu", R"(--device "edu": bdf is missing, as in edu,bdf=0000:00:04.0)"},
        Wrong{"edu,", R"(--device "edu,": "" is not KEY=VALUE)"},
        Wrong{"edu,bdf", R"(--device "edu,bdf": "bdf" is not KEY=VALUE)"},
        Wrong{"edu,=1", R"(--device "edu,=1": "=1" is not KEY=VALUE)"},
        Wrong{"edu,bdf=4",
              R"(--device "edu,bdf=4": "4" is not a PCI address such as 0000:00:04.0)"},
        Wrong{"edu,bdf=00:04.0,bdf=00:05.0",
              R"(--device "edu,bdf=00:04.0,bdf=00:05.0": bdf is there twice)"},
        Wrong{"edu,bdf=00:04.0,group=x",
              R"(--device "edu,bdf=00:04.0,group=x": group "x" is not a number from 0 to 4095)"},
        Wrong{
            "edu,bdf=00:04.0,group=4096",
            R"(--device "edu,bdf=00:04.0,group=4096": group "4096" is not a number from 0 to 4095)"},
        Wrong{"edu,bdf=00:04.0,driver=none,driver=host",
              R"(--device "edu,bdf=00:04.0,driver=none,driver=host": driver is there twice)"},
        Wrong{"edu,bdf=00:04.0,group=1,group=1",
              R"(--device "edu,bdf=00:04.0,group=1,group=1": group is there twice)"}));

}  // namespace
}  // namespace pinfold::machine
