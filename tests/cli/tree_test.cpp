#include <gtest/gtest.h>
#include <sys/stat.h>

#include "cli/device_tree.hpp"
#include "cli/shadow.hpp"
#include "cli/tree_writer.hpp"
#include "machine/run_state.hpp"
#include "support/command.hpp"

namespace pinfold::cli {
namespace {

namespace fs = std::filesystem;

machine::Face nvme_like()
{
    machine::Face face;
    face.bdf = {0, 0, 4, 0};
    face.group = 12;
    face.identity.vendor = 0x1b36;
    face.identity.device = 0x10;
    face.identity.subsystem_vendor = 0x1af4;
    face.identity.subsystem = 0x1100;
    face.identity.revision = 2;
    face.identity.class_code = 0x010802;
    face.identity.bars[0].kind = pci::Bar::Kind::memory64;
    face.identity.bars[0].size = 0x4000;
    face.identity.bars[2].kind = pci::Bar::Kind::io;
    face.identity.bars[2].size = 0x40;
    face.bar_addresses = {0xc0000000, 0, 0x1000};
    face.config.resize(4096, std::byte{0x5a});
    return face;
}

class Tree : public testing::Test {
protected:
    void SetUp() override
    {
        auto const written = write_tree(scratch_.path(), machine::presets()[0].make(), faces_);
        ASSERT_TRUE(written) << written.error();
    }
    std::string read(std::string const& path) { return test::slurp(at(path)); }
    fs::path at(std::string const& path) { return machine::mirrored(scratch_.path(), path); }

    test::Scratch scratch_;
    std::vector<machine::Face> faces_{nvme_like()};
};

TEST_F(Tree, a_device_tells_what_it_is_as_sysfs_does)
{
    std::string const device = "/sys/bus/pci/devices/0000:00:04.0/";
    EXPECT_EQ(read(device + "vendor"), "0x1b36\n");
    EXPECT_EQ(read(device + "device"), "0x0010\n");
    EXPECT_EQ(read(device + "subsystem_vendor"), "0x1af4\n");
    EXPECT_EQ(read(device + "subsystem_device"), "0x1100\n");
    EXPECT_EQ(read(device + "class"), "0x010802\n");
    EXPECT_EQ(read(device + "revision"), "0x02\n");
    EXPECT_EQ(read(device + "numa_node"), "-1\n");
    EXPECT_EQ(read(device + "config"), std::string(4096, '\x5a'));
    EXPECT_EQ(read(device + "modalias"), "pci:v00001B36d00000010sv00001AF4sd00001100bc01sc08i02\n");
    EXPECT_TRUE(read(device + "uevent").contains("PCI_ID=1B36:0010\n"));
}

TEST_F(Tree, resources_have_a_line_for_each_bar_and_for_each_that_is_not)
{
    auto const table = read("/sys/bus/pci/devices/0000:00:04.0/resource");
    EXPECT_TRUE(
        table.starts_with("0x00000000c0000000 0x00000000c0003fff 0x0000000000140204\n"
                          "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
                          "0x0000000000001000 0x000000000000103f 0x0000000000040101\n"))
        << table;
    EXPECT_EQ(std::ranges::count(table, '\n'), 13);
}

TEST_F(Tree, links_lead_where_the_kernels_lead)
{
    std::string const device = "/sys/bus/pci/devices/0000:00:04.0";
    EXPECT_EQ(fs::read_symlink(at(device)), "../../../devices/pinfold/pci0000:00/0000:00:04.0");
    EXPECT_EQ(fs::read_symlink(at(device + "/iommu_group")), "../../../../kernel/iommu_groups/12");
    for (auto const* const link :
         {"/sys/bus/pci/devices/0000:00:04.0", "/sys/bus/pci/drivers/vfio-pci/0000:00:04.0",
          "/sys/kernel/iommu_groups/12/devices/0000:00:04.0"})
        EXPECT_EQ(fs::canonical(at(link)),
                  fs::canonical(at("/sys/devices/pinfold/pci0000:00/0000:00:04.0")))
            << link;
    EXPECT_EQ(fs::canonical(at(device + "/driver")),
              fs::canonical(at("/sys/bus/pci/drivers/vfio-pci")));
    EXPECT_EQ(fs::canonical(at(device + "/driver/module")),
              fs::canonical(at("/sys/module/vfio_pci")));
    EXPECT_EQ(fs::canonical(at(device + "/subsystem")), fs::canonical(at("/sys/bus/pci")));
    EXPECT_EQ(fs::canonical(at(device + "/iommu_group")),
              fs::canonical(at("/sys/kernel/iommu_groups/12")));
}

TEST_F(Tree, a_device_may_start_with_another_driver_or_with_none)
{
    std::string const device = "/sys/bus/pci/devices/0000:00:04.0/";
    for (auto const& [driver, bound, chosen] : {std::tuple{"host", "nvme", "(null)\n"},
                                                {"pci-stub", "pci-stub", "pci-stub\n"},
                                                {"none", "", "(null)\n"}}) {
        test::Scratch const scratch;
        faces_[0].driver = driver;
        ASSERT_TRUE(write_tree(scratch.path(), machine::presets()[0].make(), faces_));
        auto const in = [&](std::string const& path) {
            return machine::mirrored(scratch.path(), path);
        };
        EXPECT_EQ(test::slurp(in(device + "driver_override")), chosen);
        EXPECT_EQ(fs::exists(fs::symlink_status(in(device + "driver"))), *bound != '\0');
        if (*bound != '\0') {
            EXPECT_EQ(fs::canonical(in(device + "driver")),
                      fs::canonical(in(std::string{"/sys/bus/pci/drivers/"} + bound)));
        }
    }
}

TEST_F(Tree, a_group_tells_its_type_and_what_is_reserved)
{
    EXPECT_EQ(read("/sys/kernel/iommu_groups/12/type"), "DMA\n");
    EXPECT_EQ(read("/sys/kernel/iommu_groups/12/reserved_regions"),
              "0x00000000fee00000 0x00000000feefffff msi\n");
}

TEST_F(Tree, modules_are_there_with_their_parameters)
{
    EXPECT_EQ(read("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode"), "N\n");
    EXPECT_EQ(read("/sys/module/vfio_iommu_type1/parameters/dma_entry_limit"), "65535\n");
    EXPECT_EQ(read("/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts"), "N\n");
    EXPECT_TRUE(fs::is_directory(at("/sys/module/vfio_pci")));
}

TEST_F(Tree, there_is_a_node_for_the_container_and_for_each_group)
{
    EXPECT_TRUE(fs::is_regular_file(at("/dev/vfio/vfio")));
    EXPECT_TRUE(fs::is_regular_file(at("/dev/vfio/12")));
    ASSERT_TRUE(write_device_files(scratch_.path(), faces_));
    EXPECT_TRUE(fs::is_regular_file(machine::device_file(scratch_.path(), {0, 0, 4, 0})));
}

TEST(TreeWriter, modes_hold_whatever_the_umask_is)
{
    test::Scratch const scratch;
    auto const before = ::umask(0777);
    TreeWriter tree{scratch.path()};
    tree.directory("/d", 0755);
    tree.file("/d/f", "x", 0444);
    ::umask(before);
    ASSERT_TRUE(tree.result()) << tree.result().error();
    struct stat status{};
    ASSERT_EQ(::stat((scratch.path() / "d/f").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0444U);
}

TEST(TreeWriter, the_first_failure_is_the_one_that_is_told)
{
    TreeWriter tree{"/proc/self"};
    tree.file("/x/one", "1");
    tree.directory("/two");
    ASSERT_FALSE(tree.result());
    EXPECT_TRUE(tree.result().error().starts_with("/proc/self/x/one: ")) << tree.result().error();
}

TEST(Shadow, the_nearest_directory_that_exists_is_found)
{
    EXPECT_EQ(existing_ancestor("/dev"), "/dev");
    EXPECT_EQ(existing_ancestor("/dev/no/such/thing"), "/dev");
    EXPECT_EQ(existing_ancestor("/dev/null/x"), "/dev") << "a file is no place";
    EXPECT_EQ(existing_ancestor("/no-such-thing"), "/");
}

}  // namespace
}  // namespace pinfold::cli
