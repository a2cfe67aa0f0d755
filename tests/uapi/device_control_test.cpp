#include "uapi/device_control.hpp"

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

TEST_F(DeviceControlTest, features_are_unknown_once_the_question_is_well_formed)
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
}

TEST_F(DeviceControlTest, other_numbers_are_ENOTTY)
{
    EXPECT_EQ(ioctl(VFIO_DEVICE_IOEVENTFD, nullptr), -ENOTTY);
    EXPECT_EQ(ioctl(VFIO_GROUP_GET_STATUS, nullptr), -ENOTTY);
    for (std::uint32_t const number : {0U, 0x3b63U, 0x3b80U, 0xc0103b6bU, ~0U})
        EXPECT_EQ(ioctl(number, nullptr), -ENOTTY) << number;
}

}  // namespace
}  // namespace pinfold::uapi
