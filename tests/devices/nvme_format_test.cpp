#include "devices/nvme_fixture.hpp"

namespace pinfold::devices::nvme {
namespace {

class NvmeFormat : public NvmeTest {
protected:
    Status format(std::uint32_t cdw10, std::uint32_t nsid = 1)
    {
        auto command = admin_command(AdminOpcode::format_nvm, cdw10);
        command.nsid = nsid;
        return admin(command);
    }
    void identify_namespace()
    {
        auto command = admin_command(AdminOpcode::identify, 0);
        command.nsid = 1;
        ASSERT_EQ(admin_data(command), Status::success);
    }
};

TEST_F(NvmeFormat, changes_the_size_of_a_block_and_loses_what_was_there)
{
    std::vector<std::byte> const old(kDiskSize, std::byte{0x77});
    disk_.write(0, old);
    ASSERT_EQ(format(1), Status::success);
    identify_namespace();
    EXPECT_EQ(field<std::uint64_t>(0), kDiskSize / 4096);
    EXPECT_EQ(field<std::uint8_t>(25), 1U) << "two formats";
    EXPECT_EQ(field<std::uint8_t>(26), 1U) << "the second";
    EXPECT_EQ(disk_.size(), kDiskSize);
    EXPECT_EQ(disk_.read(0, kDiskSize), std::vector<std::byte>(kDiskSize));

    auto queue = driver_.make_queues(1, 8);
    auto command = rw(IoOpcode::read, kDiskSize / 4096 - 1, 1);
    command.prp1 = rig_.allocate(1);
    EXPECT_EQ(status_of(driver_.run(queue, command)), Status::success);
    command.cdw10 = kDiskSize / 4096;
    EXPECT_EQ(status_of(driver_.run(queue, command)), Status::lba_out_of_range);

    ASSERT_EQ(format(0 | 1 << 9, kBroadcastNsid), Status::success) << "erasing, and all of them";
    identify_namespace();
    EXPECT_EQ(field<std::uint64_t>(0), kDiskSize / 512);
    EXPECT_EQ(field<std::uint8_t>(26), 0U);
}

TEST_F(NvmeFormat, stays_over_a_reset_of_the_controller)
{
    ASSERT_EQ(format(1), Status::success);
    ASSERT_TRUE(rig_.function().reset());
    driver_.enable();
    identify_namespace();
    EXPECT_EQ(field<std::uint8_t>(26), 1U);
}

TEST_F(NvmeFormat, that_there_is_not_is_refused_and_changes_nothing)
{
    std::vector<std::byte> const old(4096, std::byte{0x77});
    disk_.write(0, old);
    EXPECT_EQ(format(2), Status::invalid_format);
    EXPECT_EQ(format(15), Status::invalid_format);
    EXPECT_EQ(format(1 | 1 << 4), Status::invalid_format) << "metadata";
    EXPECT_EQ(format(1 | 1 << 5), Status::invalid_format) << "protection information";
    EXPECT_EQ(format(1 | 2 << 9), Status::invalid_field) << "no keys to erase";
    EXPECT_EQ(format(1 | 7 << 9), Status::invalid_field);
    EXPECT_EQ(format(1, 0), Status::invalid_namespace);
    EXPECT_EQ(format(1, 2), Status::invalid_namespace);
    EXPECT_EQ(disk_.read(0, 4096), old);
    identify_namespace();
    EXPECT_EQ(field<std::uint8_t>(26), 0U);
}

TEST(NvmeFormatOf, a_read_only_disk_or_one_below_a_block_is_refused)
{
    TestDisk small{1024}, fixed{8192};
    NvmeRig rig{{{"disk", small.path()}, {"disk2", fixed.path()}, {"readonly2", "yes"}}};
    NvmeDriver driver{rig};
    driver.enable();
    auto command = admin_command(AdminOpcode::format_nvm, 1);
    command.nsid = 1;
    EXPECT_EQ(status_of(driver.admin(command)), Status::invalid_format);
    command.nsid = 2;
    EXPECT_EQ(status_of(driver.admin(command)), Status::namespace_write_protected);
}

}  // namespace
}  // namespace pinfold::devices::nvme
