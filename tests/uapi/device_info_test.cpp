#include "uapi/device_info.hpp"

#include <cstring>

#include "uapi/device_support.hpp"

namespace pinfold::uapi {
namespace {

class DeviceInfoTest : public DeviceFileTest {
protected:
    using DeviceFileTest::DeviceFileTest;

    // What an index gives with room for a capability behind the structure.
    struct RegionReply {
        vfio_region_info info;
        std::array<std::byte, 8> behind;
    };
    RegionReply region(std::uint32_t index, std::uint32_t argsz = 40)
    {
        RegionReply reply{.info = {.argsz = argsz,
                                   .flags = 0xaaaaaaaa,
                                   .index = index,
                                   .cap_offset = 0xbbbbbbbb,
                                   .size = 1,
                                   .offset = 1},
                          .behind = {}};
        EXPECT_EQ(ioctl(VFIO_DEVICE_GET_REGION_INFO, &reply), 0) << index;
        return reply;
    }
    vfio_irq_info irq(std::uint32_t index)
    {
        vfio_irq_info info{.argsz = 16, .flags = 0xaaaaaaaa, .index = index, .count = 77};
        EXPECT_EQ(ioctl(VFIO_DEVICE_GET_IRQ_INFO, &info), 0) << index;
        return info;
    }
};

TEST_F(DeviceInfoTest, a_device_has_nine_regions_five_interrupts_and_a_reset)
{
    std::array<std::uint32_t, 8> info{};
    for (std::uint32_t const argsz : {16U, 20U, 24U, 32U}) {
        info.fill(0xcccccccc);
        info[0] = argsz;
        EXPECT_EQ(ioctl(VFIO_DEVICE_GET_INFO, info.data()), 0);
        EXPECT_EQ(info[0], argsz);
        EXPECT_EQ(info[1], 3U);
        EXPECT_EQ(info[2], 9U);
        EXPECT_EQ(info[3], 5U);
        EXPECT_EQ(info[4], argsz >= 20 ? 0 : 0xcccccccc) << "cap_offset, where there is room";
        EXPECT_EQ(info[5], argsz >= 24 ? 0 : 0xcccccccc);
        EXPECT_EQ(info[6], 0xcccccccc);
    }
    info[0] = 15;
    EXPECT_EQ(ioctl(VFIO_DEVICE_GET_INFO, info.data()), -EINVAL);
    Cliff const cliff;
    EXPECT_EQ(ioctl(VFIO_DEVICE_GET_INFO, cliff.before(15)), -EFAULT);
    EXPECT_EQ(ioctl(VFIO_DEVICE_GET_INFO, nullptr), -EFAULT);
    std::uint32_t const least = 16;
    std::memcpy(cliff.before(16), &least, 4);
    EXPECT_EQ(ioctl(VFIO_DEVICE_GET_INFO, cliff.before(16)), 0);
}

TEST_F(DeviceInfoTest, each_region_is_told_in_its_own_way)
{
    for (std::uint32_t index = 0; index < 8; ++index)
        EXPECT_EQ(region(index).info.offset, std::uint64_t{index} << 40);
    EXPECT_EQ(region(0).info.size, 0x4000U);
    EXPECT_EQ(region(1).info.size, 0U);
    EXPECT_EQ(region(1).info.flags, 0U);
    EXPECT_EQ(region(2).info.size, 0x40U);
    EXPECT_EQ(region(2).info.flags, 3U) << "ports cannot be mapped";
    EXPECT_EQ(region(3).info.flags, 7U);
    EXPECT_EQ(region(6).info.size, 0U);
    EXPECT_EQ(region(6).info.flags, 0U);
    EXPECT_EQ(region(7).info.size, 4096U);
    EXPECT_EQ(region(7).info.flags, 3U);
    EXPECT_EQ(region(3).info.cap_offset, 0xbbbbbbbb) << "kept where there is no capability";
}

TEST_F(DeviceInfoTest, the_BAR_of_the_MSI_X_table_says_that_it_may_be_mapped)
{
    auto const whole = region(0);
    EXPECT_EQ(whole.info.flags, 0xfU);
    EXPECT_EQ(whole.info.argsz, 40U);
    EXPECT_EQ(whole.info.cap_offset, 32U);
    vfio_info_cap_header capability;
    std::memcpy(&capability, whole.behind.data(), 8);
    EXPECT_EQ(capability.id, 3);
    EXPECT_EQ(capability.version, 1);
    EXPECT_EQ(capability.next, 0U);

    auto const small = region(0, 32);
    EXPECT_EQ(small.info.flags, 0xfU);
    EXPECT_EQ(small.info.argsz, 40U) << "what it takes";
    EXPECT_EQ(small.info.cap_offset, 0U);
    EXPECT_EQ(small.behind, (std::array<std::byte, 8>{}));
    EXPECT_EQ(region(0, 39).info.argsz, 40U);
}

TEST_F(DeviceInfoTest, regions_that_are_not_there_are_EINVAL_and_bad_memory_EFAULT)
{
    vfio_region_info info{
        .argsz = 32, .flags = 0, .index = 0, .cap_offset = 0, .size = 0, .offset = 0};
    for (std::uint32_t const index : {8U, 9U, 1000U, ~0U}) {
        info.index = index;
        EXPECT_EQ(ioctl(VFIO_DEVICE_GET_REGION_INFO, &info), -EINVAL) << index;
    }
    info.index = 0;
    info.argsz = 31;
    EXPECT_EQ(ioctl(VFIO_DEVICE_GET_REGION_INFO, &info), -EINVAL);
    Cliff const cliff;
    EXPECT_EQ(ioctl(VFIO_DEVICE_GET_REGION_INFO, cliff.before(31)), -EFAULT);
    info.argsz = 40;
    std::memcpy(cliff.before(32), &info, 32);
    EXPECT_EQ(ioctl(VFIO_DEVICE_GET_REGION_INFO, cliff.before(32)), -EFAULT)
        << "the capability does not fit where argsz says it does";
    EXPECT_EQ(ioctl(VFIO_DEVICE_GET_REGION_INFO, std::bit_cast<void*>(~std::uint64_t{0})), -EFAULT);
}

TEST_F(DeviceInfoTest, each_interrupt_index_has_its_count_and_flags)
{
    std::array<std::array<std::uint32_t, 2>, 5> const expected{
        {{1, 7}, {4, 9}, {8, 1}, {1, 9}, {1, 9}}};
    for (std::uint32_t index = 0; index < 5; ++index) {
        EXPECT_EQ(irq(index).count, expected[index][0]) << index;
        EXPECT_EQ(irq(index).flags, expected[index][1]) << index;
    }
    vfio_irq_info info{.argsz = 16, .flags = 0, .index = 5, .count = 0};
    EXPECT_EQ(ioctl(VFIO_DEVICE_GET_IRQ_INFO, &info), -EINVAL);
    info = {.argsz = 15, .flags = 0, .index = 0, .count = 0};
    EXPECT_EQ(ioctl(VFIO_DEVICE_GET_IRQ_INFO, &info), -EINVAL);
    EXPECT_EQ(ioctl(VFIO_DEVICE_GET_IRQ_INFO, nullptr), -EFAULT);
}

class PlainDeviceInfoTest : public DeviceInfoTest {
protected:
    static pci::Identity plain_identity()
    {
        pci::Identity identity = pci::full_identity();
        identity.pci_express = false;
        identity.interrupt_pin = 0;
        identity.msi_vectors = 0;
        identity.msix = {};
        return identity;
    }
    PlainDeviceInfoTest() : DeviceInfoTest{plain_identity()} {}
};

TEST_F(PlainDeviceInfoTest, a_conventional_function_has_no_reset_and_256_bytes)
{
    std::array<std::uint32_t, 4> info{16};
    EXPECT_EQ(ioctl(VFIO_DEVICE_GET_INFO, info.data()), 0);
    EXPECT_EQ(info[1], 2U);
    EXPECT_EQ(region(7).info.size, 256U);
    EXPECT_EQ(region(0).info.flags, 7U);
    for (std::uint32_t const index : {0U, 1U, 2U}) EXPECT_EQ(irq(index).count, 0U);
    EXPECT_EQ(irq(2).flags, 9U);
    vfio_irq_info error{.argsz = 16, .flags = 0, .index = 3, .count = 0};
    EXPECT_EQ(ioctl(VFIO_DEVICE_GET_IRQ_INFO, &error), 0) << "ERR is there in 7.3";
    EXPECT_EQ(error.count, 1U);
    EXPECT_EQ(irq(4).count, 1U);
}

class LargePageDeviceInfoTest : public DeviceInfoTest {
protected:
    LargePageDeviceInfoTest() : DeviceInfoTest{pci::full_identity(), k64K} {}
};

TEST_F(LargePageDeviceInfoTest, a_small_BAR_amid_a_host_page_cannot_be_mapped)
{
    EXPECT_EQ(region(0).info.flags, 0xfU) << "it begins at a page";
    EXPECT_EQ(region(3).info.flags, 3U);
    EXPECT_EQ(region(3).info.size, 0x1000U);
}

}  // namespace
}  // namespace pinfold::uapi
