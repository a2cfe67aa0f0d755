// The sequence with which QEMU's NVMe block driver takes a controller into use, step by step.
#include "devices/nvme_fixture.hpp"

namespace pinfold::devices::nvme {
namespace {

TEST(NvmeInit, goes_as_qemus_block_driver_does_it)
{
    TestDisk disk{64 << 20};
    NvmeRig rig{{{"disk", disk.path()}}};
    NvmeDriver driver{rig};
    std::vector<TestEventfd> vectors(1);

    EXPECT_NE(rig.read64(0) & std::uint64_t{1} << 37, 0U);
    rig.write32(0x14, rig.read32(0x14) & 0xfe);
    EXPECT_EQ(rig.read32(0x1c) & 1, 0U);
    driver.enable(128);
    EXPECT_EQ(rig.read32(0x24), 0x7f'007fU);
    EXPECT_EQ(rig.read32(0x1c) & 1, 1U);
    rig.enable_msix(vectors);

    auto identify = admin_command(AdminOpcode::identify, 1);
    auto const page = rig.allocate(2);
    identify.prp1 = page;
    EXPECT_EQ(status_of(driver.admin(identify)), Status::success);
    EXPECT_EQ(vectors[0].take(), 1U);
    auto const controller = rig.memory(page, kPage);
    EXPECT_EQ(controller[525] & std::byte{1}, std::byte{1}) << "volatile write cache";
    EXPECT_EQ(controller[520] & std::byte{0x0c}, std::byte{0x0c}) << "Write Zeroes, DSM";

    identify = admin_command(AdminOpcode::identify, 0);
    identify.nsid = 1;
    identify.prp1 = page;
    EXPECT_EQ(status_of(driver.admin(identify)), Status::success);
    std::uint64_t blocks;
    std::memcpy(&blocks, rig.memory(page, 8).data(), 8);
    EXPECT_EQ(blocks, (64U << 20) / 512);

    // Set Features with the namespace's id, for -t none.
    auto write_cache = admin_command(AdminOpcode::set_features, 6, 0);
    write_cache.nsid = 1;
    EXPECT_EQ(status_of(driver.admin(write_cache)), Status::success);

    auto queue = driver.make_queues(1, 128);
    (void)vectors[0].take();
    std::vector<std::byte> const pattern(64 << 10, std::byte{0x5a});
    auto const data = rig.allocate(16);
    std::ranges::copy(pattern, rig.memory(data, pattern.size()).begin());
    auto write = rw(IoOpcode::write, 1234, 128);
    driver.point(write, data, pattern.size());
    EXPECT_EQ(status_of(driver.run(queue, write)), Status::success);
    EXPECT_EQ(vectors[0].take(), 1U);
    EXPECT_EQ(disk.read(1234 * 512, pattern.size()), pattern);
}

TEST(NvmeInit, after_a_reset_of_the_function_a_driver_starts_anew)
{
    TestDisk disk{1 << 20};
    NvmeRig rig{{{"disk", disk.path()}}};
    NvmeDriver driver{rig};
    for (int round = 0; round < 3; ++round) {
        driver.enable(2);
        auto queue = driver.make_queues(1, 2);
        auto read = rw(IoOpcode::read, 0, 1);
        driver.point(read, rig.allocate(1), 512);
        EXPECT_EQ(status_of(driver.run(queue, read)), Status::success);
        ASSERT_TRUE(rig.function().reset());
        EXPECT_EQ(driver.csts(), 0U);
    }
}

TEST(NvmeInit, the_face_to_the_bus_is_an_nvme_controllers)
{
    TestDisk disk{1 << 20};
    NvmeRig rig{{{"disk", disk.path()}}};
    auto const& identity = rig.function().identity();
    EXPECT_EQ(identity.class_code, 0x01'0802U);
    EXPECT_EQ(identity.interrupt_pin, 1U);
    EXPECT_GE(identity.msix.vectors, 17U);
    EXPECT_EQ(identity.bars[0].kind, pci::Bar::Kind::memory64);
    EXPECT_EQ(identity.bars[0].size, 0x4000U);
    auto const region = rig.function().region(0);
    ASSERT_TRUE(region);
    EXPECT_TRUE(region->mappable);
    EXPECT_TRUE(region->msix_table);
}

TEST(NvmeInit, finds_error_reporting_as_on_a_real_controller_unless_it_is_turned_off)
{
    constexpr std::uint32_t kErrorReporting = 0x0002'0001;
    auto const extended = [](std::vector<pci::Setting> settings) {
        TestDisk const disk{1 << 20};
        settings.push_back({"disk", disk.path()});
        NvmeRig rig{std::move(settings)};
        std::uint32_t value = 0;
        rig.function().config_read(0x100, std::as_writable_bytes(std::span{&value, 1}));
        return value;
    };
    EXPECT_EQ(extended({}), kErrorReporting);
    EXPECT_EQ(extended({{"aer", "yes"}}), kErrorReporting);
    EXPECT_EQ(extended({{"aer", "no"}}), 0U);
}

}  // namespace
}  // namespace pinfold::devices::nvme
