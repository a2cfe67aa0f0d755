#include <gtest/gtest.h>

#include "machine/description.hpp"
#include "support/command.hpp"

namespace pinfold::machine {
namespace {

Description with(std::vector<std::string> const& devices)
{
    auto machine = presets()[0].make();
    for (auto const& device : devices) {
        auto entry = parse_device(device);
        EXPECT_TRUE(entry) << entry.error();
        if (entry) machine.devices.push_back(*entry);
    }
    return machine;
}

std::string wrong_with(Description const& machine)
{
    auto const fine = check(machine);
    return fine ? "" : fine.error();
}

TEST(Check, every_preset_is_fine)
{
    for (auto const& preset : presets()) {
        EXPECT_EQ(wrong_with(preset.make()), "") << preset.name;
        EXPECT_EQ(preset.make().name, preset.name);
    }
}

TEST(Check, an_address_has_room_for_one_device)
{
    EXPECT_EQ(wrong_with(with({"edu,bdf=0000:00:04.0", "edu,bdf=00:04.0"})),
              "--device \"edu,bdf=00:04.0\": 0000:00:04.0 is taken already, by --device "
              "\"edu,bdf=0000:00:04.0\"");
    EXPECT_EQ(wrong_with(with({"edu,bdf=00:04.0", "edu,bdf=00:04.1", "edu,bdf=0001:00:04.0"})), "");
}

TEST(Check, an_unknown_model_is_named_with_what_it_may_have_been)
{
    EXPECT_EQ(
        wrong_with(with({"nmve,bdf=00:04.0"})),
        "--device \"nmve,bdf=00:04.0\": there is no device model \"nmve\"; did you mean nvme?");
}

TEST(Check, a_models_own_objections_say_which_device_they_are_about)
{
    for (auto const* const device : {"edu,bdf=00:04.0,dma_mask=zz", "edu,bdf=00:04.0,zebra=1",
                                     "nvme,bdf=00:04.0", "nvme,bdf=00:04.0,disk=/does/not/exist",
                                     "nvme,bdf=00:04.0,disk=/", "nvme,bdf=00:04.0,disk="}) {
        auto const sentence = wrong_with(with({device}));
        EXPECT_TRUE(sentence.starts_with("--device \"")) << device << ": " << sentence;
        EXPECT_FALSE(sentence.contains('\n')) << sentence;
    }
}

TEST(Check, values_that_cannot_be_handed_on_as_toml_are_refused)
{
    test::Scratch const scratch;
    auto const disk = scratch.path() / "d\xff.raw";
    std::ofstream{disk} << std::string(4096, '\0');
    EXPECT_TRUE(wrong_with(with({"nvme,bdf=00:04.0,disk=" + disk.string()}))
                    .ends_with("a value is not text in UTF-8"));
}

TEST(Check, an_iommu_that_cannot_be_is_described)
{
    auto machine = with({});
    machine.iommu.address_width = 60;
    EXPECT_EQ(wrong_with(machine),
              "machine \"vtd\": an IOMMU of model vtd cannot have address_width 60 with page_sizes "
              "0x40201000; vtd has 30 to 57 bits, and pages of 4K, 2M and 1G, 4K among them");
    machine = with({});
    machine.iommu.page_sizes = PageSizes{0x10000};
    EXPECT_NE(wrong_with(machine), "");
}

TEST(Check, a_host_page_size_that_no_kernel_has_is_refused)
{
    auto machine = with({});
    machine.host.page_size = PageSize::lg2_of(13);
    EXPECT_EQ(wrong_with(machine), "machine \"vtd\": host.page_size 8K is not 4K, 16K or 64K");
}

TEST(Check, an_iommu_whose_pages_are_all_larger_than_the_hosts_needs_leave)
{
    auto machine = with({});
    machine.iommu.model = iommu::Model::native;
    machine.iommu.page_sizes = PageSizes{0x2001'0000};
    EXPECT_EQ(wrong_with(machine),
              "machine \"vtd\": the IOMMU's smallest page, 64K, is larger than the host's, 4K; no "
              "Linux runs on that. To see what Type1 alone would do, say allow_coarse = true, or "
              "--allow-coarse");
    machine.allow_coarse = true;
    EXPECT_EQ(wrong_with(machine), "");
    machine.allow_coarse = false;
    machine.host.page_size = k64K;
    EXPECT_EQ(wrong_with(machine), "");
}

TEST(Check, a_device_is_behind_an_iommu_that_there_is)
{
    auto machine = with({"edu,bdf=00:04.0,iommu=second"});
    EXPECT_EQ(wrong_with(machine),
              "--device \"edu,bdf=00:04.0,iommu=second\": there is no IOMMU \"second\"; an "
              "extra_iommu of the machine makes one");
    machine.extra_iommus.push_back({"second", machine.iommu});
    EXPECT_EQ(wrong_with(machine), "");
    machine.extra_iommus.push_back({"second", machine.iommu});
    EXPECT_EQ(wrong_with(machine),
              "machine \"vtd\": there are two IOMMUs with the name \"second\"");
    machine.extra_iommus.back().name = "";
    EXPECT_EQ(wrong_with(machine), "machine \"vtd\": an extra_iommu has no name");
}

TEST(Check, the_devices_of_a_group_are_behind_one_iommu)
{
    auto machine = with({"edu,bdf=00:04.0,group=3", "edu,bdf=00:05.0,group=3,iommu=second"});
    machine.extra_iommus.push_back({"second", machine.iommu});
    EXPECT_EQ(wrong_with(machine),
              "--device \"edu,bdf=00:05.0,group=3,iommu=second\": group 3 is behind another IOMMU "
              "already, by --device \"edu,bdf=00:04.0,group=3\"");
}

TEST(Groups, devices_without_one_get_the_lowest_that_nobody_asked_for)
{
    auto const machine = with({"edu,bdf=00:04.0", "edu,bdf=00:05.0,group=1", "edu,bdf=00:06.0",
                               "edu,bdf=00:07.0,group=1", "edu,bdf=00:08.0,group=0"});
    EXPECT_EQ(assign_groups(machine), (std::vector<unsigned>{2, 1, 3, 1, 0}));
}

}  // namespace
}  // namespace pinfold::machine
