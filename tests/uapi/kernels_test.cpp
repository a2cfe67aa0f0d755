// What the ioctl door answers otherwise on older kernels; the newest is what the other tests have.
#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include <array>
#include <cstring>

#include "bench.hpp"
#include "device_support.hpp"

namespace pinfold::uapi {
namespace {

struct Info {
    std::int64_t result;
    std::uint32_t argsz;
    std::size_t touched;
    std::array<std::uint8_t, 160> bytes;

    std::uint32_t word(std::size_t offset) const
    {
        std::uint32_t value;
        std::memcpy(&value, &bytes[offset], sizeof value);
        return value;
    }
    std::uint64_t wide(std::size_t offset) const
    {
        std::uint64_t value;
        std::memcpy(&value, &bytes[offset], sizeof value);
        return value;
    }
};

Info get_info(Bench& bench, std::int64_t container, std::uint32_t argsz)
{
    Info info{};
    info.bytes.fill(0xee);
    std::memcpy(info.bytes.data(), &argsz, sizeof argsz);
    info.result = bench.ioctl(container, VFIO_IOMMU_GET_INFO, info.bytes.data());
    info.argsz = info.word(0);
    info.touched = info.bytes.size();
    while (info.bytes[info.touched - 1] == 0xee) --info.touched;
    return info;
}

TEST(Kernels, capabilities_of_GET_INFO_are_not_padded_in_6_1)
{
    Bench bench{k4K, Bench::default_unit(), Kernel::v6_1};
    auto const fds = bench.ready();
    auto const info = get_info(bench, fds.container, 116);
    EXPECT_EQ(info.argsz, 116U);
    EXPECT_EQ(info.wide(24), 56ULL << 32 | 1 << 16 | 2);
    EXPECT_EQ(info.wide(56), 68ULL << 32 | 1 << 16 | 3);
    EXPECT_EQ(info.word(64), 65535U);
    EXPECT_EQ(info.wide(68), std::uint64_t{1 << 16 | 1});
    EXPECT_EQ(info.wide(76), 2U);
    EXPECT_EQ(info.wide(84), 0U);
    EXPECT_EQ(info.wide(108), 0x7fffffffffU);
    EXPECT_EQ(info.wide(116), 0xeeeeeeeeeeeeeeeeU);
    EXPECT_EQ(get_info(bench, fds.container, 115).argsz, 116U);
}

TEST(Kernels, GET_INFO_writes_16_or_20_bytes_of_its_head_in_6_1)
{
    Bench bench{k4K, Bench::default_unit(), Kernel::v6_1};
    auto const fds = bench.ready();
    for (std::uint32_t argsz = 16; argsz < 116; ++argsz) {
        SCOPED_TRACE(argsz);
        auto const info = get_info(bench, fds.container, argsz);
        EXPECT_EQ(info.result, 0);
        EXPECT_EQ(info.argsz, 116U);
        EXPECT_EQ(info.touched, argsz < 20 ? 16U : 20U);
    }
    EXPECT_EQ(get_info(bench, fds.container, 116).wide(16), 0xeeeeeeee00000018U);
}

TEST(Kernels, capabilities_of_GET_INFO_are_padded_from_6_12_on)
{
    Bench bench{k4K, Bench::default_unit(), Kernel::v6_12};
    auto const fds = bench.ready();
    EXPECT_EQ(get_info(bench, fds.container, 16).argsz, 120U);
    EXPECT_EQ(get_info(bench, fds.container, 17).touched, 17U);
}

TEST(Kernels, a_file_that_is_no_container_is_EINVAL_in_6_1_and_EBADFD_later)
{
    for (auto const& [kernel, expected] :
         {std::pair{Kernel::v6_1, -EINVAL}, {Kernel::v6_12, -EBADFD}, {Kernel::v7_3, -EBADFD}}) {
        Bench bench{k4K, Bench::default_unit(), kernel};
        auto const group = bench.open_group(7);
        EXPECT_EQ(bench.set_container(group, group), expected);
    }
}

class Device61Test : public DeviceFileTest {
protected:
    Device61Test() : DeviceFileTest{pci::full_identity(), k4K, Kernel::v6_1} {}
};

TEST_F(Device61Test, DEVICE_GET_INFO_writes_16_or_20_bytes)
{
    for (std::uint32_t argsz = 16; argsz < 40; ++argsz) {
        std::array<std::uint8_t, 40> bytes;
        bytes.fill(0xee);
        std::memcpy(bytes.data(), &argsz, sizeof argsz);
        EXPECT_EQ(ioctl(VFIO_DEVICE_GET_INFO, bytes.data()), 0);
        std::size_t touched = bytes.size();
        while (bytes[touched - 1] == 0xee) --touched;
        EXPECT_EQ(touched, argsz < 20 ? 16U : 20U) << argsz;
    }
}

TEST_F(Device61Test, MSI_X_cannot_grow_and_says_so)
{
    vfio_irq_info info{
        .argsz = sizeof info, .flags = 0, .index = VFIO_PCI_MSIX_IRQ_INDEX, .count = 0};
    EXPECT_EQ(ioctl(VFIO_DEVICE_GET_IRQ_INFO, &info), 0);
    EXPECT_EQ(info.flags, unsigned{VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE});

    struct {
        std::uint32_t argsz, flags, index, start, count;
        std::int32_t fd;
    } set{
        24, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_PCI_MSIX_IRQ_INDEX, 0, 1,
        -1};
    EXPECT_EQ(ioctl(VFIO_DEVICE_SET_IRQS, &set), 0);
    set.start = 1;
    EXPECT_EQ(ioctl(VFIO_DEVICE_SET_IRQS, &set), -EINVAL);
    set.start = 0;
    EXPECT_EQ(ioctl(VFIO_DEVICE_SET_IRQS, &set), 0);
}

TEST_F(Device61Test, a_BAR_is_read_and_written_in_pieces_of_4_bytes_at_most)
{
    std::uint64_t value = 0;
    EXPECT_EQ(pread(&value, sizeof value, 3, 0), 8);
    ASSERT_EQ(device_->accesses.size(), 2U);
    for (auto const& access : device_->accesses) EXPECT_EQ(access.size, 4U);
}

}  // namespace
}  // namespace pinfold::uapi
