#include <gtest/gtest.h>

#include "cli/options.hpp"

namespace pinfold::cli {
namespace {

machine::Description described(RunOptions const& options)
{
    auto const machine = describe(options);
    EXPECT_TRUE(machine) << machine.error();
    return machine.value_or(machine::Description{});
}

TEST(Describe, without_options_it_is_vtd_with_an_edu)
{
    auto const machine = described({});
    EXPECT_EQ(machine.name, "vtd");
    ASSERT_EQ(machine.devices.size(), 1U);
    EXPECT_EQ(machine.devices[0].spec.model, "edu");
}

TEST(Describe, options_are_laid_over_the_machine)
{
    RunOptions options;
    options.kernel = "6.12";
    options.policy = "rfc-2015";
    options.host_page = "64K";
    options.iommu_pages = "4K,2M";
    options.aperture = "48";
    options.memlock = "8M";
    auto const machine = described(options);
    EXPECT_EQ(machine.kernel, Kernel::v6_12);
    EXPECT_EQ(machine.policy, type1::SubpagePolicy::rfc_2015);
    EXPECT_EQ(machine.host.page_size, k64K);
    EXPECT_EQ(machine.iommu.page_sizes, PageSizes{0x201000});
    EXPECT_EQ(machine.iommu.address_width, 48U);
    EXPECT_EQ(machine.host.memlock.bytes, 8U << 20);
}

TEST(Describe, what_cannot_be_is_a_sentence_that_names_the_option)
{
    auto const sentence = [](std::optional<std::string> RunOptions::* option, char const* value) {
        RunOptions options;
        options.*option = value;
        auto const machine = describe(options);
        return machine ? std::string{} : machine.error();
    };
    EXPECT_EQ(sentence(&RunOptions::kernel, "6.2"),
              "--kernel: \"6.2\" is unknown; did you mean 6.1?");
    EXPECT_EQ(sentence(&RunOptions::policy, "linx"),
              "--policy: \"linx\" is unknown; did you mean linux?");
    EXPECT_EQ(sentence(&RunOptions::host_page, "5K"), "--host-page: \"5K\" is not 4K, 16K or 64K");
    EXPECT_EQ(sentence(&RunOptions::iommu_pages, "4K,5K"),
              "--iommu-pages: \"5K\" is no page size; a list is wanted, such as 4K,2M,1G");
    EXPECT_EQ(sentence(&RunOptions::iommu_pages, ""),
              "--iommu-pages: a list is wanted, such as 4K,2M,1G");
    EXPECT_EQ(sentence(&RunOptions::aperture, "65"),
              "--aperture: \"65\" is not a number of bits from 1 to 64");
    EXPECT_EQ(sentence(&RunOptions::aperture, "0"),
              "--aperture: \"0\" is not a number of bits from 1 to 64");
    EXPECT_NE(sentence(&RunOptions::memlock, "many"), "");
}

}  // namespace
}  // namespace pinfold::cli
