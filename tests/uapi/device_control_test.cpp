#include "uapi/device_control.hpp"

#include <thread>

#include "uapi/device_support.hpp"

namespace pinfold::uapi {
namespace {

using DeviceControlTest = DeviceFileTest;

TEST_F(DeviceControlTest, a_reset_resets_the_device_whatever_the_argument)
{
    EXPECT_EQ(ioctl(VFIO_DEVICE_RESET, nullptr), 0);
    EXPECT_EQ(device_->resets, 1U);
}

class NoResetTest : public DeviceFileTest {
protected:
    static pci::Identity conventional()
    {
        pci::Identity identity = pci::full_identity();
        identity.pci_express = false;
        return identity;
    }
    NoResetTest() : DeviceFileTest{conventional()} {}
};

TEST_F(NoResetTest, a_function_without_a_reset_says_EINVAL)
{
    EXPECT_EQ(ioctl(VFIO_DEVICE_RESET, nullptr), -EINVAL);
    EXPECT_EQ(device_->resets, 0U);
}

TEST_F(DeviceControlTest, nothing_resets_a_bus_but_the_form_is_looked_at_first)
{
    std::array<std::uint32_t, 3> header{12, 0, 0};
    EXPECT_EQ(ioctl(VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, header.data()), -ENODEV);
    EXPECT_EQ(ioctl(VFIO_DEVICE_PCI_HOT_RESET, header.data()), -EINVAL) << "no group is named";
    header = {12, 0, 1};
    EXPECT_EQ(ioctl(VFIO_DEVICE_PCI_HOT_RESET, header.data()), -ENODEV);
    header = {12, 1, 0};
    EXPECT_EQ(ioctl(VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, header.data()), -ENODEV);
    EXPECT_EQ(ioctl(VFIO_DEVICE_PCI_HOT_RESET, header.data()), -EINVAL);
    header = {11, 0, 0};
    EXPECT_EQ(ioctl(VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, header.data()), -EINVAL);
    EXPECT_EQ(ioctl(VFIO_DEVICE_PCI_HOT_RESET, header.data()), -EINVAL);
    Cliff const cliff;
    EXPECT_EQ(ioctl(VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, cliff.before(8)), -EFAULT);
    EXPECT_EQ(ioctl(VFIO_DEVICE_PCI_HOT_RESET, cliff.before(8)), -EFAULT);
}

TEST_F(DeviceControlTest, features_are_looked_at_once_the_question_is_well_formed)
{
    constexpr std::uint32_t kGet = 1 << 16, kSet = 1 << 17, kProbe = 1 << 18;
    auto const ask = [&](std::uint32_t flags, std::uint32_t argsz = 8) {
        std::array<std::uint32_t, 2> const header{argsz, flags};
        return ioctl(VFIO_DEVICE_FEATURE, header.data());
    };
    EXPECT_EQ(ask(kProbe | kGet | 1), -ENOTTY);
    EXPECT_EQ(ask(kProbe | kGet | kSet | 0), -ENOTTY);
    EXPECT_EQ(ask(kSet | 0xffff), -ENOTTY);
    EXPECT_EQ(ask(2), -ENOTTY);
    EXPECT_EQ(ask(kGet | kSet | 1), -EINVAL);
    EXPECT_EQ(ask(kGet | 1 << 19), -EINVAL);
    EXPECT_EQ(ask(kGet | 1, 7), -EINVAL);
    EXPECT_EQ(ioctl(VFIO_DEVICE_FEATURE, nullptr), -EFAULT);
    for (std::uint32_t const power : {3U, 4U, 5U}) {
        EXPECT_EQ(ask(power), -EINVAL);
        EXPECT_EQ(ask(kGet | power), -EINVAL);
        EXPECT_EQ(ask(kProbe | power), 0);
        EXPECT_EQ(ask(kProbe | kSet | power), 0);
        EXPECT_EQ(ask(kProbe | kGet | power), -EINVAL);
    }
}

TEST_F(DeviceControlTest, in_low_power_mapped_registers_do_not_answer_and_files_do)
{
    auto const set = [&](std::uint32_t feature) {
        std::array<std::uint32_t, 2> const header{8, 1U << 17 | feature};
        return ioctl(VFIO_DEVICE_FEATURE, header.data());
    };
    EXPECT_EQ(set(5), 0);
    EXPECT_EQ(set(3), 0);
    EXPECT_EQ(set(3), -EINVAL);
    EXPECT_EQ(plain(file_->mmio_read(0, 4)), -EIO);
    EXPECT_EQ(plain(file_->mmio_write(0, 4, 0)), -EIO);
    std::uint32_t value = 0;
    EXPECT_EQ(pread(&value, sizeof value, 3, 0), 4);
    EXPECT_EQ(plain(file_->mmio_read(0, 4)), -EIO) << "an access wakes nothing by itself";
    EXPECT_EQ(set(5), 0);
    EXPECT_GE(plain(file_->mmio_read(0, 4)), 0);
}

TEST_F(DeviceControlTest, an_access_ends_low_power_where_an_eventfd_is_to_be_woken)
{
    pci::TestEvent const event;
    struct {
        std::uint32_t argsz, flags;
        std::int32_t fd;
        std::uint32_t reserved;
    } set{16, 1U << 17 | 4, -1, 0};
    EXPECT_EQ(ioctl(VFIO_DEVICE_FEATURE, &set), -EINVAL);
    set.fd = 1000;
    EXPECT_EQ(ioctl(VFIO_DEVICE_FEATURE, &set), -EBADF);
    set.fd = event.fd();
    set.argsz = 15;
    EXPECT_EQ(ioctl(VFIO_DEVICE_FEATURE, &set), -EINVAL);
    set.argsz = 16;
    EXPECT_EQ(ioctl(VFIO_DEVICE_FEATURE, &set), 0);
    EXPECT_EQ(plain(file_->mmio_read(0, 4)), -EIO);
    EXPECT_EQ(event.fired(), 0U);
    (void)config(0);
    EXPECT_EQ(event.fired(), 1U);
    EXPECT_GE(plain(file_->mmio_read(0, 4)), 0);
}

TEST_F(DeviceControlTest, IOEVENTFD_writes_when_its_eventfd_is_signalled)
{
    pci::TestEvent const event;
    vfio_device_ioeventfd request{.argsz = sizeof request,
                                  .flags = VFIO_DEVICE_IOEVENTFD_32,
                                  .offset = std::uint64_t{3} << 40 | 8,
                                  .data = 0x1234,
                                  .fd = -1};
    EXPECT_EQ(ioctl(VFIO_DEVICE_IOEVENTFD, &request), -ENODEV);
    request.fd = 1000;
    EXPECT_EQ(ioctl(VFIO_DEVICE_IOEVENTFD, &request), -EBADF);
    request.fd = event.fd();
    EXPECT_EQ(ioctl(VFIO_DEVICE_IOEVENTFD, &request), 0);
    EXPECT_EQ(ioctl(VFIO_DEVICE_IOEVENTFD, &request), -EEXIST);
    event.signal();
    while (function_->counters().io_events == 0) std::this_thread::yield();
    EXPECT_EQ(device_->accesses, (std::vector<pci::FakeDevice::Access>{{true, 3, 8, 4, 0x1234}}));
    EXPECT_EQ(event.fired(), 0U) << "the count is taken";
    request.fd = -1;
    EXPECT_EQ(ioctl(VFIO_DEVICE_IOEVENTFD, &request), 0);
    EXPECT_EQ(ioctl(VFIO_DEVICE_IOEVENTFD, &request), -ENODEV);
}

TEST_F(DeviceControlTest, IOEVENTFD_is_for_one_width_inside_a_BAR)
{
    vfio_device_ioeventfd const good{.argsz = sizeof good,
                                     .flags = VFIO_DEVICE_IOEVENTFD_32,
                                     .offset = std::uint64_t{3} << 40 | 0xffc,
                                     .data = 0,
                                     .fd = -1};
    EXPECT_EQ(ioctl(VFIO_DEVICE_IOEVENTFD, &good), -ENODEV);
    auto const with = [&](auto change) {
        auto request = good;
        change(request);
        return ioctl(VFIO_DEVICE_IOEVENTFD, &request);
    };
    EXPECT_EQ(with([](auto& it) { it.argsz = 27; }), -EINVAL);
    EXPECT_EQ(with([](auto& it) { it.argsz = 28; }), -ENODEV);
    EXPECT_EQ(with([](auto& it) { it.flags = 0; }), -EINVAL);
    EXPECT_EQ(with([](auto& it) { it.flags = 3; }), -EINVAL);
    EXPECT_EQ(with([](auto& it) { it.flags = 0x14; }), -EINVAL);
    EXPECT_EQ(with([](auto& it) { it.fd = -2; }), -EINVAL);
    EXPECT_EQ(with([](auto& it) { it.offset += 4; }), -EINVAL);
    EXPECT_EQ(with([](auto& it) { it.flags = VFIO_DEVICE_IOEVENTFD_64; }), -EINVAL);
    for (std::uint64_t const region : {1U, 6U, 7U, 9U, 0xffffffU})
        EXPECT_EQ(with([&](auto& it) { it.offset = region << 40; }), -EINVAL) << region;
    EXPECT_EQ(ioctl(VFIO_DEVICE_IOEVENTFD, nullptr), -EFAULT);
}

TEST_F(DeviceControlTest, other_numbers_are_ENOTTY)
{
    EXPECT_EQ(ioctl(VFIO_GROUP_GET_STATUS, nullptr), -ENOTTY);
    for (std::uint32_t const number : {0U, 0x3b63U, 0x3b80U, 0xc0103b6bU, ~0U})
        EXPECT_EQ(ioctl(number, nullptr), -ENOTTY) << number;
}

}  // namespace
}  // namespace pinfold::uapi
