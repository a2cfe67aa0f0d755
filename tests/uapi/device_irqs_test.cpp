#include "uapi/device_irqs.hpp"

#include <cstring>
#include <random>

#include "uapi/device_support.hpp"

namespace pinfold::uapi {
namespace {

constexpr std::uint32_t kNone = 1, kBool = 2, kEventfd = 4;
constexpr std::uint32_t kMask = 8, kTrigger = 32;

class DeviceIrqsTest : public DeviceFileTest {
protected:
    struct Request {
        std::uint32_t argsz, flags, index, start, count;
        std::array<std::int32_t, 8> descriptors;
    };
    static constexpr std::uint32_t kWhole = sizeof(Request);

    std::int64_t set(Request const& request) { return ioctl(VFIO_DEVICE_SET_IRQS, &request); }
    std::int64_t set(std::uint32_t flags, std::uint32_t index, std::uint32_t start,
                     std::uint32_t count, std::array<std::int32_t, 8> descriptors = {})
    {
        return set({kWhole, flags, index, start, count, descriptors});
    }
    void raise(int vector)
    {
        device_->raise_on_write = vector;
        EXPECT_TRUE(file_->mmio_write(0x1000, 4, 0));
    }

    pci::TestEvent event_;
};

TEST_F(DeviceIrqsTest, eventfds_are_set_fired_by_the_device_and_by_hand_and_taken_down)
{
    std::uint32_t const master = 6;
    ASSERT_EQ(pwrite(&master, 2, 7, 4), 2);
    EXPECT_EQ(set(kEventfd | kTrigger, 2, 0, 2, {-1, event_.fd()}), 0);
    EXPECT_EQ(config(0x92, 2), 0x8007U);
    raise(1);
    EXPECT_EQ(event_.fired(), 1U);
    EXPECT_EQ(set(kNone | kTrigger, 2, 0, 2), 0);
    EXPECT_EQ(event_.fired(), 1U);
    std::array<std::int32_t, 8> booleans{};
    booleans[0] = 0x0100;  // bytes 0 and 1
    EXPECT_EQ(set(kBool | kTrigger, 2, 0, 2, booleans), 0);
    EXPECT_EQ(event_.fired(), 1U);
    EXPECT_EQ(set(kNone | kTrigger, 2, 0, 0), 0);
    EXPECT_EQ(config(0x92, 2), 7U);
    raise(1);
    EXPECT_EQ(event_.fired(), 0U);
}

TEST_F(DeviceIrqsTest, an_eventfd_that_the_client_closes_stays_bound)
{
    pci::TestEvent const kept;
    {
        UniqueFd const handed{::dup(kept.fd())};
        ASSERT_EQ(set(kEventfd | kTrigger, 4, 0, 1, {handed.get()}), 0);
    }
    EXPECT_EQ(set(kNone | kTrigger, 4, 0, 1), 0);
    EXPECT_EQ(kept.fired(), 1U);
}

TEST_F(DeviceIrqsTest, form_comes_before_content)
{
    Request const good{kWhole, kEventfd | kTrigger, 2, 0, 1, {event_.fd()}};
    struct Case {
        char const* what;
        std::int64_t expected;
        void (*spoil)(Request&);
    };
    std::array<Case, 19> const cases{{
        {"argsz", -EINVAL, [](Request& r) { r.argsz = 19; }},
        {"index", -EINVAL, [](Request& r) { r.index = 5; }},
        {"index far", -EINVAL, [](Request& r) { r.index = ~0U; }},
        {"start + count at the top", -EINVAL, [](Request& r) { r.start = 2, r.count = ~0U - 2; }},
        {"start + count wraps", -EINVAL, [](Request& r) { r.start = ~0U, r.count = 2; }},
        {"unknown flag", -EINVAL, [](Request& r) { r.flags |= 64; }},
        {"start beyond", -EINVAL, [](Request& r) { r.start = 8, r.count = 0; }},
        {"count beyond", -EINVAL, [](Request& r) { r.start = 1, r.count = 8; }},
        {"no data type", -EINVAL, [](Request& r) { r.flags = kTrigger; }},
        {"two data types", -EINVAL, [](Request& r) { r.flags = kNone | kBool | kTrigger; }},
        {"too short for its eventfds", -EINVAL, [](Request& r) { r.argsz = 23; }},
        {"too short for its booleans", -EINVAL,
         [](Request& r) { r.flags = kBool | kTrigger, r.count = 5, r.argsz = 24; }},
        {"no action", -ENOTTY, [](Request& r) { r.flags = kEventfd; }},
        {"two actions", -ENOTTY, [](Request& r) { r.flags = kEventfd | kMask | kTrigger; }},
        {"an action that MSI-X has not", -ENOTTY, [](Request& r) { r.flags = kEventfd | kMask; }},
        {"a closed descriptor", -EBADF, [](Request& r) { r.descriptors[0] = 1'000'000; }},
        {"no data type beats no action", -EINVAL, [](Request& r) { r.flags = 0; }},
        {"too short beats no action", -EINVAL,
         [](Request& r) { r.flags = kEventfd, r.argsz = 20; }},
        {"nothing to trigger", -EINVAL, [](Request& r) { r.flags = kNone | kTrigger; }},
    }};
    for (Case const& it : cases) {
        Request request = good;
        it.spoil(request);
        EXPECT_EQ(set(request), it.expected) << it.what;
    }
    UniqueFd const plain_file{::open("/dev/null", O_RDWR | O_CLOEXEC)};
    Request request = good;
    request.descriptors[0] = plain_file.get();
    EXPECT_EQ(set(request), -EINVAL);
    EXPECT_EQ(config(0x92, 2), 7U) << "nothing was set up";
    EXPECT_EQ(set(good), 0);
}

TEST_F(DeviceIrqsTest, memory_that_is_not_there_is_EFAULT_unless_something_else_is_wrong_first)
{
    Cliff const cliff;
    EXPECT_EQ(ioctl(VFIO_DEVICE_SET_IRQS, nullptr), -EFAULT);
    EXPECT_EQ(ioctl(VFIO_DEVICE_SET_IRQS, cliff.before(19)), -EFAULT);
    std::array<std::uint32_t, 5> header{24, kEventfd | kTrigger, 2, 0, 1};
    std::memcpy(cliff.before(20), header.data(), 20);
    EXPECT_EQ(ioctl(VFIO_DEVICE_SET_IRQS, cliff.before(20)), -EFAULT);
    header[1] = kEventfd;
    std::memcpy(cliff.before(20), header.data(), 20);
    EXPECT_EQ(ioctl(VFIO_DEVICE_SET_IRQS, cliff.before(20)), -EFAULT) << "before the action";
    header[0] = 20;
    header[1] = kNone | kTrigger | kMask;
    std::memcpy(cliff.before(20), header.data(), 20);
    EXPECT_EQ(ioctl(VFIO_DEVICE_SET_IRQS, cliff.before(20)), -ENOTTY);
}

TEST_F(DeviceIrqsTest, a_notifier_takes_one_descriptor)
{
    EXPECT_EQ(set(kEventfd | kTrigger, 3, 0, 1, {event_.fd()}), 0);
    EXPECT_EQ(set(kNone | kTrigger, 3, 0, 1), 0);
    EXPECT_EQ(event_.fired(), 1U);
    EXPECT_EQ(set(kEventfd | kTrigger, 3, 0, 2, {event_.fd(), event_.fd()}), -EINVAL);
    EXPECT_EQ(set(kNone | kMask, 3, 0, 1), -ENOTTY);
}

class PinlessDeviceIrqsTest : public DeviceFileTest {
protected:
    static pci::Identity pinless()
    {
        pci::Identity identity = pci::full_identity();
        identity.interrupt_pin = 0;
        return identity;
    }
    PinlessDeviceIrqsTest() : DeviceFileTest{pinless()} {}
};

TEST_F(PinlessDeviceIrqsTest, an_absent_interrupt_cannot_even_be_disabled)
{
    std::array<std::uint32_t, 5> const disable{20, kNone | kTrigger, 0, 0, 0};
    EXPECT_EQ(ioctl(VFIO_DEVICE_SET_IRQS, disable.data()), -EINVAL);
}

TEST_F(DeviceIrqsTest, any_request_is_answered)
{
    auto const seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random{seed};
    auto const below = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); };
    int succeeded = 0;
    for (int step = 0; step < 20000; ++step) {
        Request request{kWhole, 1U << below(3) | 8U << below(3), below(6), below(9), below(9), {}};
        for (auto& fd : request.descriptors)
            fd = below(3) == 0 ? -1 : below(20) == 0 ? static_cast<int>(random()) : event_.fd();
        auto const words = std::span{&request.argsz, 5};
        if (below(4) == 0) words[below(5)] = static_cast<std::uint32_t>(random()) >> below(32);
        auto const reply = set(request);
        EXPECT_TRUE(reply == 0 || reply == -EINVAL || reply == -ENOTTY || reply == -EBADF ||
                    reply == -ERANGE || reply == -EFAULT)
            << reply;
        succeeded += reply == 0;
    }
    EXPECT_GT(succeeded, 100);
}

}  // namespace
}  // namespace pinfold::uapi
