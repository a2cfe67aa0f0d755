// The group's ioctls, the names of devices, and the lifetimes of containers, groups and devices in
// every order of closing.
#include "uapi/group_file.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "bench.hpp"

namespace pinfold::uapi {
namespace {

constexpr std::uint64_t kI = 0x10000000;
constexpr std::uint64_t kPage = 0x1000;

TEST(GroupFile, opens_once_and_only_if_it_exists)
{
    Bench bench;
    EXPECT_EQ(bench.open_group(9), -ENOENT);
    auto const group = bench.open_group(7);
    EXPECT_EQ(bench.open_group(7), -EBUSY);
    auto const other = bench.open_group(8);
    EXPECT_GT(other, 0);
    bench.close(group);
    EXPECT_GT(bench.open_group(7), 0);
}

TEST(GroupFile, unknown_requests_are_ENOTTY)
{
    Bench bench;
    auto const group = bench.open_group(7);
    for (std::uint32_t const request : {0x3b64U, 0x3b66U, 0x3b6bU, 0x3b71U, 0U, ~0U})
        EXPECT_EQ(bench.ioctl(group, request, nullptr), -ENOTTY) << request;
}

TEST(GroupFile, GET_STATUS_tells_of_the_container_and_keeps_argsz)
{
    Bench bench;
    auto const container = bench.open_container();
    auto const group = bench.open_group(7);
    auto const status = [&] {
        vfio_group_status it{1000, 0xffff};
        EXPECT_EQ(bench.ioctl(group, VFIO_GROUP_GET_STATUS, &it), 0);
        EXPECT_EQ(it.argsz, 1000U);
        return it.flags;
    };
    EXPECT_EQ(status(), 1U);
    EXPECT_EQ(bench.set_container(group, container), 0);
    EXPECT_EQ(status(), 3U);
    EXPECT_EQ(bench.ioctl(group, VFIO_GROUP_UNSET_CONTAINER, nullptr), 0);
    EXPECT_EQ(status(), 1U);

    vfio_group_status too_short{7, 0};
    EXPECT_EQ(bench.ioctl(group, VFIO_GROUP_GET_STATUS, &too_short), -EINVAL);
    EXPECT_EQ(bench.ioctl(group, VFIO_GROUP_GET_STATUS, nullptr), -EFAULT);
}

// Rules G-3 and G-5.
TEST(GroupFile, a_group_of_which_the_kernel_uses_a_device_is_not_viable)
{
    Bench bench;
    auto const container = bench.open_container();
    auto const group = bench.open_group(7);
    auto const flags = [&] {
        vfio_group_status it{sizeof it, 0};
        EXPECT_EQ(bench.ioctl(group, VFIO_GROUP_GET_STATUS, &it), 0);
        return it.flags;
    };
    bench.client.kernels_group = 7;
    EXPECT_EQ(flags(), 0U);
    EXPECT_EQ(bench.set_container(group, -1), -EBADF) << "the descriptor comes first";
    EXPECT_EQ(bench.set_container(group, container), -EPERM);
    EXPECT_EQ(bench.ioctl(group, VFIO_GROUP_UNSET_CONTAINER, nullptr), -EINVAL);
    bench.client.kernels_group = 8;
    EXPECT_EQ(flags(), 1U);
    EXPECT_EQ(bench.set_container(group, container), 0);
    EXPECT_EQ(bench.client.claims, 1);
    EXPECT_EQ(bench.ioctl(group, VFIO_GROUP_UNSET_CONTAINER, nullptr), 0);
    EXPECT_EQ(bench.client.claims, 0);
    EXPECT_EQ(bench.set_container(group, container), 0);
    bench.close(group);
    EXPECT_EQ(bench.client.claims, 0) << "what is closed claims nothing";
}

// Vectors 54.
TEST(GroupFile, SET_CONTAINER_tells_apart_what_is_no_container)
{
    Bench bench;
    auto const container = bench.open_container();
    auto const group = bench.open_group(7);
    auto const foreign = bench.client.install(FileId::none).value();
    EXPECT_EQ(bench.ioctl(group, VFIO_GROUP_SET_CONTAINER, nullptr), -EFAULT);
    EXPECT_EQ(bench.set_container(group, -1), -EBADF);
    EXPECT_EQ(bench.set_container(group, foreign), -EBADFD);
    EXPECT_EQ(bench.set_container(group, group), -EBADFD);
    EXPECT_EQ(bench.set_container(group, container), 0);
    EXPECT_EQ(bench.set_container(group, container), -EINVAL);
    EXPECT_EQ(bench.set_container(group, foreign), -EINVAL);
    EXPECT_EQ(bench.set_container(group, -1), -EBADF);
}

// Vectors 50, and rules G-8, G-9.
TEST(GroupFile, a_bad_name_beats_a_missing_container)
{
    Bench bench;
    auto const container = bench.open_container();
    auto const group = bench.open_group(7);
    EXPECT_EQ(bench.device(group, "nope"), -ENODEV);
    EXPECT_EQ(bench.device(group, ""), -ENODEV);
    EXPECT_EQ(bench.device(group, "0000:00:05.0"), -ENODEV);  // of another group
    EXPECT_EQ(bench.device(group, "0000:00:04.0"), -EINVAL);
    EXPECT_EQ(bench.set_container(group, container), 0);
    EXPECT_EQ(bench.device(group, "0000:00:04.0"), -EINVAL);
    EXPECT_EQ(bench.ioctl(container, VFIO_SET_IOMMU, 3), 0);
    EXPECT_GT(bench.device(group, "0000:00:04.0"), 0);
    EXPECT_GT(bench.device(group, "0000:00:04.1"), 0);
    EXPECT_GT(bench.device(group, "0000:00:04.0  "), 0);
    EXPECT_EQ(bench.device(group, "0000:00:04.00"), -ENODEV);
    EXPECT_EQ(bench.device(group, "0000:00:04."), -ENODEV);
    EXPECT_EQ(bench.device(group, "0000:00:04.0 x=y"), -EINVAL);
    EXPECT_EQ(bench.device(group, "0000:00:04.0 vf_token=00000000-0000-0000-0000-000000000000"),
              -EINVAL);
}

TEST(GroupFile, a_name_is_read_up_to_its_NUL_and_no_further_than_a_host_page)
{
    for (PageSize const page : {k4K, k64K}) {
        Bench bench{page};
        auto const fds = bench.ready();
        host::TestMapping const text{page.bytes() / host::kPage + 2};
        std::byte* const end = text.page(page.bytes() / host::kPage + 1);
        ::mprotect(end, host::kPage, PROT_NONE);

        std::size_t const size = sizeof "0000:00:04.0";
        std::memcpy(end - size, "0000:00:04.0", size);
        EXPECT_GT(bench.ioctl(fds.group, VFIO_GROUP_GET_DEVICE_FD, end - size), 0);
        EXPECT_EQ(bench.ioctl(fds.group, VFIO_GROUP_GET_DEVICE_FD, end - size + 1), -ENODEV);
        *(end - 1) = std::byte{'x'};
        EXPECT_EQ(bench.ioctl(fds.group, VFIO_GROUP_GET_DEVICE_FD, end - size), -EFAULT);
        EXPECT_EQ(bench.ioctl(fds.group, VFIO_GROUP_GET_DEVICE_FD, nullptr), -EFAULT);
        EXPECT_EQ(bench.ioctl(fds.group, VFIO_GROUP_GET_DEVICE_FD, ~std::uint64_t{0}), -EFAULT);

        std::memset(text.page(0), 'y', page.bytes());
        *(text.page(0) + page.bytes()) = std::byte{0};
        EXPECT_EQ(bench.ioctl(fds.group, VFIO_GROUP_GET_DEVICE_FD, text.page(0)), -EINVAL);
        EXPECT_EQ(bench.ioctl(fds.group, VFIO_GROUP_GET_DEVICE_FD, text.page(0) + 1), -ENODEV);
    }
}

// Vectors 51 and 52.
TEST(GroupFile, an_open_device_keeps_the_group_open_and_in_its_container)
{
    Bench bench;
    auto const fds = bench.ready();
    auto const first = bench.device(fds.group, "0000:00:04.0");
    auto const again = bench.device(fds.group, "0000:00:04.0");
    auto const unset = [&] { return bench.ioctl(fds.group, VFIO_GROUP_UNSET_CONTAINER, nullptr); };
    EXPECT_EQ(unset(), -EBUSY);
    bench.close(first);
    EXPECT_EQ(unset(), -EBUSY);
    bench.close(again);
    EXPECT_EQ(unset(), 0);
    EXPECT_EQ(unset(), -EINVAL);

    EXPECT_EQ(bench.set_container(fds.group, fds.container), 0);
    EXPECT_EQ(bench.ioctl(fds.container, VFIO_SET_IOMMU, 3), 0);
    auto const device = bench.device(fds.group, "0000:00:04.1");
    bench.close(fds.group);
    EXPECT_EQ(bench.open_group(7), -EBUSY);
    EXPECT_NE(bench.first.domain(), nullptr);
    bench.close(device);
    EXPECT_EQ(bench.first.domain(), nullptr);
    EXPECT_GT(bench.open_group(7), 0);
}

TEST(GroupFile, a_full_descriptor_table_is_EMFILE_and_opens_nothing)
{
    Bench bench;
    auto const fds = bench.ready();
    bench.client.full = true;
    EXPECT_EQ(bench.device(fds.group, "0000:00:04.0"), -EMFILE);
    EXPECT_EQ(bench.device(fds.group, "nope"), -ENODEV);
    EXPECT_EQ(bench.ioctl(fds.group, VFIO_GROUP_UNSET_CONTAINER, nullptr), 0);
}

// Vectors 55.
TEST(GroupFile, UNSET_CONTAINER_of_the_last_group_loses_the_mappings_and_the_back_end)
{
    Bench bench;
    auto const fds = bench.ready();
    host::TestMapping const memory{2};
    EXPECT_EQ(bench.map(fds.container, kI, memory.page(0), 2 * kPage), 0);
    EXPECT_EQ(bench.charged(), 2U);
    EXPECT_EQ(bench.ioctl(fds.group, VFIO_GROUP_UNSET_CONTAINER, nullptr), 0);
    EXPECT_EQ(bench.charged(), 0U);
    EXPECT_EQ(bench.set_container(fds.group, fds.container), 0);
    EXPECT_EQ(bench.map(fds.container, kI, memory.page(0), kPage), -EINVAL);
    EXPECT_EQ(bench.ioctl(fds.container, VFIO_SET_IOMMU, 1), 0);
    EXPECT_EQ(bench.map(fds.container, kI, memory.page(0), kPage), 0);
}

// Rules G-12 to G-16 and vector 53, in each of the orders in which five descriptors can be closed:
// what is mapped stays until the last group has gone, and goes then.
TEST(GroupFile, every_order_of_closing_ends_with_nothing_pinned)
{
    std::array<int, 5> order{0, 1, 2, 3, 4};
    int orders = 0;
    do {
        Bench bench;
        auto const fds = bench.ready();
        auto const eight = bench.open_group(8);
        EXPECT_EQ(bench.set_container(eight, fds.container), 0);
        host::TestMapping const memory{2};
        EXPECT_EQ(bench.map(fds.container, kI, memory.page(0), 2 * kPage), 0);
        std::array const opened{fds.container, fds.group, eight,
                                bench.device(fds.group, "0000:00:04.0"),
                                bench.device(eight, "0000:00:05.0")};
        std::array<bool, 5> open{true, true, true, true, true};
        for (int const which : order) {
            auto const index = static_cast<std::size_t>(which);
            bench.close(opened[index]);
            open[index] = false;
            bool const seven_lives = open[1] || open[3];
            bool const eight_lives = open[2] || open[4];
            EXPECT_EQ(bench.charged(), seven_lives || eight_lives ? 2U : 0U);
            EXPECT_EQ(bench.first.domain() != nullptr, seven_lives);
            EXPECT_EQ(bench.third.domain() != nullptr, eight_lives);
        }
        EXPECT_GT(bench.open_group(7), 0);
        EXPECT_GT(bench.open_group(8), 0);
        ++orders;
    } while (std::ranges::next_permutation(order).found);
    EXPECT_EQ(orders, 120);
}

TEST(GroupFile, a_door_that_goes_with_everything_open_leaves_nothing_pinned)
{
    Bench bench;
    auto const fds = bench.ready();
    host::TestMapping const memory{2};
    EXPECT_EQ(bench.map(fds.container, kI, memory.page(0), 2 * kPage), 0);
    EXPECT_GT(bench.device(fds.group, "0000:00:04.0"), 0);
}

}  // namespace
}  // namespace pinfold::uapi
