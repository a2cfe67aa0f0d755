#include "uapi/hot_reset.hpp"

#include "uapi/bench.hpp"
#include "uapi/device_support.hpp"

namespace pinfold::uapi {
namespace {

// The bench with its first function (group 7) and its third (group 8) behind one root port; the
// second stays on the root bus.
class HotResetTest : public testing::TestWithParam<Kernel> {
protected:
    using Info = std::array<std::uint32_t, 16>;

    HotResetTest() { open(); }

    void open()
    {
        bench_.door = std::make_unique<Door>(
            bench_.settings,
            std::vector<Door::GroupEntry>{
                {7, &bench_.seven, {bench_.first_function.get(), bench_.second_function.get()}},
                {8, &bench_.eight, {bench_.third_function.get()}}},
            std::vector<ResetDomain>{{{{bench_.first_function.get(), 7, 0, 1, 0},
                                       {bench_.third_function.get(), 8, 0, 1, 1}}}});
        auto const ready = bench_.ready();
        seven_ = ready.group;
        eight_ = bench_.open_group(8);
        device_ = bench_.device(seven_, "0000:00:04.0");
        EXPECT_GE(device_, 0);
    }

    std::int64_t info(Info& room) { return bench_.ioctl(device_, kInfo, room.data()); }
    std::int64_t reset(std::vector<std::int64_t> const& groups)
    {
        std::array<std::int32_t, 8> call{12, 0, static_cast<std::int32_t>(groups.size())};
        for (std::size_t i = 0; i < groups.size(); ++i)
            call[3 + i] = static_cast<std::int32_t>(groups[i]);
        return bench_.ioctl(device_, kReset, call.data());
    }
    unsigned resets(pci::Function const& function) const
    {
        return bench_.devices.at(&function)->resets;
    }

    static constexpr std::uint32_t kInfo = VFIO_DEVICE_GET_PCI_HOT_RESET_INFO;
    static constexpr std::uint32_t kReset = VFIO_DEVICE_PCI_HOT_RESET;
    Bench bench_{k4K, Bench::default_unit(), GetParam()};
    std::int64_t seven_ = -1, eight_ = -1, device_ = -1;
};

TEST_P(HotResetTest, everything_behind_the_port_is_listed)
{
    Info room{28, 0x5a, 0x5a};
    EXPECT_EQ(info(room), 0);
    EXPECT_EQ(room, (Info{28, 0, 2, 7, 0x0001'0000, 8, 0x0101'0000}));
}

TEST_P(HotResetTest, a_list_without_room_says_how_much_it_needs)
{
    Info room{27, 0x5a, 0x5a, 0x5a};
    EXPECT_EQ(info(room), -ENOSPC);
    EXPECT_EQ(room, (Info{27, 0, 2, 0x5a}));
}

TEST_P(HotResetTest, what_is_behind_the_port_is_reset_for_who_shows_all_groups)
{
    auto const first = resets(*bench_.first_function);
    auto const second = resets(*bench_.second_function);
    auto const third = resets(*bench_.third_function);
    EXPECT_EQ(reset({seven_}), -EINVAL);
    EXPECT_EQ(reset({eight_, eight_}), -EINVAL);
    EXPECT_EQ(reset({seven_, eight_, eight_}), -EINVAL) << "more than there are functions";
    EXPECT_EQ(resets(*bench_.first_function), first);
    EXPECT_EQ(reset({eight_, seven_}), 0);
    EXPECT_EQ(resets(*bench_.first_function), first + 1);
    EXPECT_EQ(resets(*bench_.second_function), second) << "it is on the root bus";
    EXPECT_EQ(resets(*bench_.third_function), third + 1);
}

TEST_P(HotResetTest, nothing_is_reset_where_one_of_them_is_not_bound)
{
    bench_.client.unbound = "0000:00:05.0";
    auto const first = resets(*bench_.first_function);
    EXPECT_EQ(reset({seven_, eight_}), -EINVAL);
    EXPECT_EQ(resets(*bench_.first_function), first);
    bench_.client.unbound.clear();
    EXPECT_EQ(reset({seven_, eight_}), 0);
}

TEST_P(HotResetTest, the_first_wrong_descriptor_decides)
{
    EXPECT_EQ(reset({4711, device_}), -EBADF);
    EXPECT_EQ(reset({device_, 4711}), -EINVAL);
    EXPECT_EQ(reset({}), -EINVAL);
}

TEST_P(HotResetTest, a_function_that_is_gone_counts_no_more)
{
    bench_.third_function->unplug();
    Info room{20};
    EXPECT_EQ(info(room), 0);
    EXPECT_EQ(room[2], 1U);
    EXPECT_EQ(reset({seven_}), 0);
}

TEST_P(HotResetTest, nobody_resets_the_root_bus)
{
    device_ = bench_.device(seven_, "0000:00:04.1");
    Info room{28};
    EXPECT_EQ(info(room), -ENODEV);
    EXPECT_EQ(reset({seven_}), -ENODEV);
    EXPECT_EQ(reset({}), GetParam() == Kernel::v6_1 ? -ENODEV : -EINVAL);
}

TEST_P(HotResetTest, a_list_that_cannot_be_written_leaves_the_header_alone_since_6_12)
{
    Cliff const cliff;
    auto* const room = reinterpret_cast<std::uint32_t*>(cliff.before(12));
    std::ranges::copy(std::array<std::uint32_t, 3>{28, 0x5a, 0x5a}, room);
    EXPECT_EQ(bench_.ioctl(device_, kInfo, room), -EFAULT);
    EXPECT_EQ(room[2], GetParam() == Kernel::v6_1 ? 2U : 0x5aU);
}

INSTANTIATE_TEST_SUITE_P(on_every, HotResetTest,
                         testing::Values(Kernel::v6_1, Kernel::v6_12, Kernel::v7_3));

}  // namespace
}  // namespace pinfold::uapi
