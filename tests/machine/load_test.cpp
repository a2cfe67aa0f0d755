#include <gtest/gtest.h>

#include "machine/description.hpp"
#include "support/command.hpp"

namespace pinfold::machine {
namespace {

namespace fs = std::filesystem;

fs::path write(fs::path const& file, std::string_view text)
{
    std::ofstream{file, std::ios::binary} << text;
    return file;
}

TEST(Load, a_presets_name_comes_before_a_file_of_that_name) { EXPECT_EQ(load("vtd")->name, "vtd"); }

TEST(Load, neither_a_preset_nor_a_file_is_told_with_what_may_have_been_meant)
{
    EXPECT_EQ(load("vtt").error(),
              "there is neither a machine \"vtt\" nor a file of that name; did you mean vtd?");
    EXPECT_EQ(
        load("").error(),
        "there is neither a machine \"\" nor a file of that name; allowed here are vtd, vtd-48, "
        "amdvi, arm64-4k, arm64-16k, arm64-64k, arm64-64k-48, arm64-64k-iommu4k and "
        "arm64-64k-virtio");
}

TEST(Load, a_file_that_cannot_be_read_is_named_with_the_reason)
{
    test::Scratch const scratch;
    auto const& dir = scratch.path();
    EXPECT_EQ(load((dir / "no.toml").string()).error(),
              (dir / "no.toml").string() + ": No such file or directory");
    EXPECT_EQ(load(dir.string()).error(), dir.string() + ": is a directory");
    auto const huge = write(dir / "huge.toml", std::string((1 << 20) + 1, '#'));
    EXPECT_EQ(load(huge.string()).error(), huge.string() + ": is too large for a machine file");
    EXPECT_EQ(load("/dev/zero").error(), "/dev/zero: is too large for a machine file");
}

TEST(Load, disks_are_looked_for_beside_the_machine_file)
{
    test::Scratch const scratch;
    auto const file = write(scratch.path() / "m.toml", R"(
[[device]]
model = "nvme"
bdf = "00:04.0"
disk = "a.raw"
disk2 = "/b.raw"
serial = "FILE"
)");
    auto const machine = load(file.string());
    ASSERT_TRUE(machine) << machine.error();
    auto const& settings = machine->devices.at(0).spec.settings;
    EXPECT_EQ(settings.at(0).value, (scratch.path() / "a.raw").string());
    EXPECT_EQ(settings.at(1).value, "/b.raw");
    EXPECT_EQ(settings.at(2).value, "FILE");
}

}  // namespace
}  // namespace pinfold::machine
