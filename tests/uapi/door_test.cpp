// The door as a whole: descriptors that are none of ours, scarcity, garbage, and threads.
#include "uapi/door.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>

#include "bench.hpp"
#include "support/failing_new.hpp"
#include "uapi/file_table.hpp"

namespace pinfold::uapi {
namespace {

constexpr std::uint64_t kI = 0x10000000;
constexpr std::uint64_t kPage = 0x1000;

TEST(Door, a_file_that_is_none_of_ours_is_EBADF)
{
    Bench bench;
    auto const container = bench.open_container();
    FileId const id = *bench.client.file(static_cast<int>(container));
    auto const call = [&](FileId file) {
        return bench.door->call(bench.client, {.file = file, .request = VFIO_GET_API_VERSION});
    };
    EXPECT_EQ(call(id), 0U);
    for (std::uint32_t const wild : {0U, 1U, ~0U, static_cast<std::uint32_t>(id) + 1,
                                     static_cast<std::uint32_t>(id) + (1U << 20)})
        EXPECT_EQ(call(FileId{wild}).error(), Errno::badf) << wild;
    EXPECT_EQ(bench.door->mmap(FileId::none, 0, kPage, true).error(), Errno::badf);

    bench.close(container);
    EXPECT_EQ(call(id).error(), Errno::badf);
    bench.door->release(id);
    bench.door->release(FileId{~0U});
    // The place is used again, under another name.
    auto const other = *bench.client.file(static_cast<int>(bench.open_container()));
    EXPECT_NE(other, id);
    EXPECT_EQ(call(id).error(), Errno::badf);
    EXPECT_EQ(call(other), 0U);
}

TEST(Door, many_containers_can_be_open_and_each_has_its_own_id)
{
    Bench bench;
    std::map<FileId, int> seen;
    std::vector<std::int64_t> fds;
    for (int i = 0; i < 1000; ++i) {
        fds.push_back(bench.open_container());
        ++seen[*bench.client.file(static_cast<int>(fds.back()))];
    }
    EXPECT_EQ(seen.size(), 1000U);
    for (auto const fd : fds) EXPECT_EQ(bench.ioctl(fd, VFIO_GET_API_VERSION, nullptr), 0);
}

TEST(Door, an_allocation_that_fails_anywhere_is_ENOMEM_and_can_be_tried_again)
{
    Bench bench;
    host::TestMapping const memory{4};
    int const container = static_cast<int>(bench.open_container());
    FileId const container_id = *bench.client.file(container);
    FileId group_id = FileId::none;
    std::uint64_t failures = 0;
    auto const until_it_works = [&](auto const& call) {
        for (std::uint64_t n = 0; n < 1000; ++n) {
            bool done = false;
            Errno error{};
            {
                test::FailingNew const failing{n};
                auto const result = call();
                done = result.has_value();
                if (!done) error = result.error();
            }
            if (done) return;
            ++failures;
            EXPECT_EQ(error, Errno::nomem) << n;
            EXPECT_EQ(bench.charged(), 0U);
        }
        FAIL() << "never works";
    };
    auto const ioctl = [&](FileId file, std::uint32_t request, void const* arg) {
        return bench.door->call(
            bench.client,
            {.file = file, .request = request, .arg = std::bit_cast<std::uint64_t>(arg)});
    };

    until_it_works([&] { return bench.door->open_container(); });
    until_it_works([&]() -> Result<> {
        auto const file = bench.door->open_group(7);
        if (!file) return fail(file.error());
        group_id = *file;
        return {};
    });
    until_it_works([&] { return ioctl(group_id, VFIO_GROUP_SET_CONTAINER, &container); });
    until_it_works([&] {
        return bench.door->call(bench.client,
                                {.file = container_id, .request = VFIO_SET_IOMMU, .arg = 3});
    });
    vfio_iommu_type1_dma_map map{32, 3, std::bit_cast<std::uint64_t>(memory.page(0)), kI,
                                 4 * kPage};
    until_it_works([&] { return ioctl(container_id, VFIO_IOMMU_MAP_DMA, &map); });
    EXPECT_EQ(bench.charged(), 4U);
    EXPECT_GT(failures, 10U);
    bench.door->release(group_id);
    EXPECT_EQ(bench.charged(), 0U);
}

// A device that cannot be opened for want of memory leaves the group free to go.
TEST(Door, a_device_that_cannot_be_opened_is_not_counted_as_open)
{
    Bench bench;
    auto const fds = bench.ready();
    FileId const group = *bench.client.file(static_cast<int>(fds.group));
    char const name[] = "0000:00:04.0";
    Call const call{.file = group,
                    .request = VFIO_GROUP_GET_DEVICE_FD,
                    .arg = std::bit_cast<std::uint64_t>(&name[0])};
    std::uint64_t failures = 0;
    for (;; ++failures) {
        ASSERT_LT(failures, 100U);
        Reply reply;
        {
            test::FailingNew const failing{failures};
            reply = bench.door->call(bench.client, call);
        }
        if (reply) break;
        // The fake client's own table may fail too, which the door takes for its own scarcity.
        EXPECT_EQ(reply.error(), Errno::nomem);
        EXPECT_EQ(bench.ioctl(fds.group, VFIO_GROUP_UNSET_CONTAINER, nullptr), 0) << failures;
        EXPECT_EQ(bench.set_container(fds.group, fds.container), 0);
        EXPECT_EQ(bench.ioctl(fds.container, VFIO_SET_IOMMU, 3), 0);
    }
    EXPECT_GT(failures, 1U);
    EXPECT_EQ(bench.ioctl(fds.group, VFIO_GROUP_UNSET_CONTAINER, nullptr), -EBUSY);
}

// Requests, sizes, flags and pointers at random. Nothing crashes, every answer is a known errno,
// and what was mapped can be told from the answers alone.
TEST(Door, garbage_gets_an_errno)
{
    unsigned const seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random{seed};
    Bench bench;
    auto const fds = bench.ready();
    auto const device = bench.device(fds.group, "0000:00:04.0");
    std::array const targets{fds.container, fds.group, device};
    host::TestMapping const memory{8};
    host::TestMapping const arguments{2};
    ::munmap(arguments.page(1), host::kPage);

    static constexpr std::array<std::uint64_t, 12> kNumbers{
        0,         1,          3,          kPage, kI, kI + kPage, ~std::uint64_t{0},
        0 - kPage, 1ULL << 63, 0xfee00000, 7,     512};
    auto const some_number = [&]() -> std::uint64_t {
        switch (random() % 4) {
            case 0: return random();
            case 1: return std::bit_cast<std::uint64_t>(memory.page(random() % 8));
            default: return kNumbers[random() % kNumbers.size()];
        }
    };
    auto const some_word = [&]() -> std::uint32_t {
        switch (random() % 4) {
            case 0: return static_cast<std::uint32_t>(random());
            case 1: return static_cast<std::uint32_t>(random() % 256);
            default: return static_cast<std::uint32_t>(random() % 8);
        }
    };
    static constexpr std::array kKnown{0,      EPERM,  ENOENT, EBADF,  ENOMEM, EACCES,
                                       EFAULT, EBUSY,  EEXIST, ENODEV, EINVAL, ENOTTY,
                                       ENOSPC, ERANGE, EIO,    EAGAIN, EBADFD, EOVERFLOW};
    for (int i = 0; i < 30000; ++i) {
        std::size_t const room = random() % 8 == 0 ? random() % 128 : 128;
        std::byte* const place = arguments.page(1) - room;
        for (std::size_t at = 0; at + 8 <= room; at += 8) {
            std::uint64_t value = some_number();
            if (at == 0)
                value = std::uint64_t{some_word()} << 32 |
                        (random() % 2 == 0 ? some_word() : 16U + random() % 64);
            std::memcpy(place + at, &value, sizeof value);
        }
        std::uint64_t const arg =
            random() % 16 == 0 ? some_number() : std::bit_cast<std::uint64_t>(place);
        auto const request = static_cast<std::uint32_t>(0x3b60 + random() % 0x20);
        auto const result = bench.ioctl(targets[random() % targets.size()], request, arg);
        ASSERT_TRUE(result >= 0 || std::ranges::find(kKnown, -result) != kKnown.end())
            << std::hex << request << ' ' << result;
    }
    vfio_iommu_type1_dma_unmap all{24, VFIO_DMA_UNMAP_FLAG_ALL, 0, 0};
    EXPECT_EQ(bench.ioctl(fds.container, VFIO_IOMMU_UNMAP_DMA, &all), 0);
    EXPECT_EQ(bench.charged(), 0U);
}

// Calls race with closes; each call finds the file whole or not at all.
TEST(Door, threads_may_call_and_close_at_once)
{
    Bench bench;
    host::TestMapping const memory{64};
    std::atomic<bool> stop{false};
    std::atomic<std::uint64_t> container_now{0};
    std::atomic<std::uint64_t> group_now{0};
    std::atomic<std::uint64_t> served{0};
    std::vector<std::thread> callers;
    for (unsigned t = 0; t < 3; ++t)
        callers.emplace_back([&, t] {
            std::uint64_t const iova = kI + t * 0x100000;
            auto* const vaddr = memory.page(t * 4);
            vfio_iommu_type1_dma_map map{32, 3, std::bit_cast<std::uint64_t>(vaddr), iova, kPage};
            while (!stop) {
                FileId const id{static_cast<std::uint32_t>(container_now)};
                auto const call = [&](std::uint32_t request, void* arg) {
                    return bench.door->call(
                        bench.client,
                        {.file = id, .request = request, .arg = std::bit_cast<std::uint64_t>(arg)});
                };
                auto const mapped = call(VFIO_IOMMU_MAP_DMA, &map);
                if (mapped) ++served;
                vfio_iommu_type1_info info{sizeof info, 0, 0, 0};
                (void)call(VFIO_IOMMU_GET_INFO, &info);
                vfio_iommu_type1_dma_unmap unmap{24, 0, iova, kPage};
                auto const gone = call(VFIO_IOMMU_UNMAP_DMA, &unmap);
                EXPECT_TRUE(!gone || unmap.size == 0 || unmap.size == kPage);
                vfio_group_status status{8, 0};
                (void)bench.door->call(bench.client,
                                       {.file = FileId{static_cast<std::uint32_t>(group_now)},
                                        .request = VFIO_GROUP_GET_STATUS,
                                        .arg = std::bit_cast<std::uint64_t>(&status)});
            }
        });
    for (int i = 0; i < 300 || (served < 100 && i < 30000); ++i) {
        auto const container = bench.open_container();
        std::int64_t group = -EBUSY;
        while (group == -EBUSY) group = bench.open_group(7);  // a call may hold the last one still
        container_now = static_cast<std::uint32_t>(*bench.client.file(static_cast<int>(container)));
        group_now = static_cast<std::uint32_t>(*bench.client.file(static_cast<int>(group)));
        EXPECT_EQ(bench.set_container(group, container), 0);
        EXPECT_EQ(bench.ioctl(container, VFIO_SET_IOMMU, 3), 0);
        auto const device = bench.device(group, "0000:00:04.0");
        EXPECT_GT(device, 0);
        if (i % 3 == 0) std::this_thread::yield();
        bench.close(group);
        bench.close(container);
        bench.close(device);
    }
    stop = true;
    for (auto& caller : callers) caller.join();
    EXPECT_GT(served, 0U);
}

class Counted final : public File {
public:
    explicit Counted(std::atomic<int>& living) : living_{living} { ++living_; }
    ~Counted() override { --living_; }
    Reply ioctl(Client&, std::uint32_t, std::uint64_t) override { return 0; }

private:
    std::atomic<int>& living_;
};

TEST(FileTable, a_file_lives_while_somebody_holds_it)
{
    std::atomic<int> living{0};
    FileTable table;
    FileId const id = table.insert(std::make_unique<Counted>(living)).value();
    auto reference = table.find(id);
    EXPECT_TRUE(reference);
    table.release(id);
    EXPECT_EQ(living, 1);
    EXPECT_FALSE(table.find(id));
    auto second = table.hold(*reference);
    reference = {};
    EXPECT_EQ(living, 1);
    second = {};
    EXPECT_EQ(living, 0);
}

TEST(FileTable, what_a_file_keeps_goes_after_it)
{
    std::atomic<int> living{0};
    auto living_at_end = std::make_shared<int>(-1);
    struct Keeper {
        std::atomic<int>& living;
        std::shared_ptr<int> seen;
        ~Keeper() { *seen = living; }
    };
    {
        FileTable table;
        auto const keeps = std::make_shared<Keeper>(living, living_at_end);
        (void)table.insert(std::make_unique<Counted>(living), keeps);
    }
    EXPECT_EQ(living, 0);
    EXPECT_EQ(*living_at_end, 0);
}

TEST(FileTable, ids_stay_apart_for_thousands_of_uses_of_one_place)
{
    std::atomic<int> living{0};
    FileTable table;
    std::map<FileId, int> seen;
    for (int i = 0; i < 4000; ++i) {
        FileId const id = table.insert(std::make_unique<Counted>(living)).value();
        EXPECT_NE(id, FileId::none);
        EXPECT_EQ(++seen[id], 1);
        table.release(id);
    }
    EXPECT_EQ(living, 0);
}

}  // namespace
}  // namespace pinfold::uapi
