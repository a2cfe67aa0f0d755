// Emulated groups: devices that are software, whose drivers pin, read and write for themselves
// (rules P-14 to P-18, B-6, B-7, A-10, A-13, A-14, M-3, U-10, C-5), and the lines of the kernel's
// log.
#include <gtest/gtest.h>

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <new>
#include <thread>

#include "bench.hpp"
#include "support/failing_new.hpp"
#include "type1/dirty_bitmap.hpp"

namespace pinfold::type1 {
namespace {

constexpr std::uint64_t kI = 0x10000000;
constexpr std::uint64_t kP = 0x1000;

// A container with an emulated group, first or only, and a driver that lets go when told to.
class DeviceServers : public testing::Test {
protected:
    explicit DeviceServers(Bench::Options options = {.type = std::nullopt}) : bench{options}
    {
        EXPECT_TRUE(bench.container.add(group));
        EXPECT_TRUE(bench.container.set_iommu(3));
        server = open();
    }
    ~DeviceServers() override
    {
        server.reset();
        bench.container.remove(group);
    }

    std::unique_ptr<DeviceServer> open()
    {
        return DeviceServer::open(bench.container, group,
                                  [this](IovaRange range) {
                                      told.push_back(range);
                                      if (obeys)
                                          server->unpin_pages(range.start, range.size() / kP);
                                  })
            .value();
    }
    Result<Paddr> pin(std::uint64_t iova, Prot prot = Prot::read_write)
    {
        Paddr page;
        auto const pinned = server->pin_pages(Iova{iova}, prot, {&page, 1});
        if (!pinned) return fail(pinned.error());
        return page;
    }
    void expect(std::uint64_t charged, std::uint64_t pinned)
    {
        EXPECT_EQ(bench.charged(), charged);
        EXPECT_EQ(bench.memory.pinned_pages(), pinned);
    }
    std::uint64_t dirty(std::uint64_t pages)
    {
        std::uint64_t word = 0;
        DirtyQuery const query{
            Iova{kI}, pages * kP, {kP, 8, Vaddr{reinterpret_cast<std::uint64_t>(&word)}}};
        EXPECT_TRUE(bench.container.dirty_bitmap(bench.process, query));
        return word;
    }

    Bench bench;
    Group group{40};
    std::unique_ptr<DeviceServer> server;
    std::vector<IovaRange> told;
    bool obeys = true;
    Buffer buffer{8, k4K};
};

TEST_F(DeviceServers, a_container_of_emulated_groups_pins_nothing_by_itself)
{
    auto const info = bench.container.info();
    EXPECT_EQ(info->page_sizes.bitmap(), ~(kP - 1));
    EXPECT_TRUE(info->iova_ranges.empty());
    EXPECT_TRUE(bench.container.check_extension(4));
    EXPECT_FALSE(bench.container.check_extension(10));
    buffer.protect(3, PROT_NONE);
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), 8 * kP));
    expect(0, 0);
    EXPECT_EQ(bench.dma_avail(), 65534U);
    EXPECT_ERRNO(bench.map(kI, buffer.vaddr(), kP), exist);
    EXPECT_ERRNO(bench.invalidate_vaddr(kI, 8 * kP), busy);
    EXPECT_ERRNO(bench.invalidate_vaddr(kI + 1, 8 * kP), busy) << "before the alignment";
    EXPECT_EQ(bench.unmap(kI, 8 * kP), 8 * kP);
}

TEST_F(DeviceServers, a_page_is_pinned_and_charged_once_and_goes_with_its_last_pin)
{
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), 4 * kP));
    std::array<Paddr, 3> pages;
    EXPECT_TRUE(server->pin_pages(Iova{kI}, Prot::read_write, pages));
    expect(3, 3);
    {
        ReadSection const section;
        EXPECT_EQ(bench.memory.at(pages[2]), buffer.page(2));
    }
    EXPECT_EQ(pin(kI + 2 * kP), pages[2]);
    expect(3, 3);
    server->unpin_pages(Iova{kI}, 3);
    expect(1, 1);
    server->unpin_pages(Iova{kI}, 4);  // what is not pinned is passed over
    expect(0, 0);
}

TEST_F(DeviceServers, each_mistake_has_its_errno)
{
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), 4 * kP, Prot::read));
    buffer.protect(2, PROT_NONE);
    std::array<Paddr, 4> pages;
    EXPECT_ERRNO(server->pin_pages(Iova{kI}, Prot::read, {}), inval);
    EXPECT_ERRNO(server->pin_pages(Iova{0 - 2 * kP}, Prot::read, pages), overflow);
    EXPECT_ERRNO(server->pin_pages(Iova{0 - 2 * kP + 1}, Prot::read, pages), inval);
    for (auto const kernel : {Kernel::v6_1, Kernel::v6_12}) {
        bench.settings.kernel = kernel;
        EXPECT_ERRNO(server->pin_pages(Iova{0 - 2 * kP}, Prot::read, pages), inval);
    }
    bench.settings.kernel = Kernel::v7_3;
    EXPECT_ERRNO(pin(kI + 1, Prot::read), inval);
    EXPECT_ERRNO(pin(kI - kP, Prot::read), inval);
    EXPECT_ERRNO(pin(kI), perm);
    EXPECT_ERRNO(pin(kI + 2 * kP, Prot::read), fault);
    EXPECT_ERRNO(server->pin_pages(Iova{kI}, Prot::read, pages), fault);
    expect(0, 0);
    bench.source.limit = kP;
    EXPECT_ERRNO(server->pin_pages(Iova{kI}, Prot::read, std::span{pages}.first(2)), nomem);
    expect(0, 0);
    EXPECT_TRUE(pin(kI, Prot::read));
    server->unpin_pages(Iova{kI}, 1);
}

TEST_F(DeviceServers, a_driver_that_cannot_be_told_cannot_pin)
{
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), kP));
    server.reset();
    auto const deaf = DeviceServer::open(bench.container, group, {}).value();
    Paddr page;
    EXPECT_ERRNO(deaf->pin_pages(Iova{kI}, Prot::read, {&page, 1}), inval);
    std::array<std::byte, 4> bytes{};
    EXPECT_TRUE(deaf->read(Iova{kI}, bytes));
    Group stranger{41};
    EXPECT_ERRNO(DeviceServer::open(bench.container, stranger, {}), inval);
}

// As when the last group goes while a call is on its way.
TEST(Container, without_a_back_end_answers_EINVAL)
{
    Bench bench{{.type = std::nullopt}};
    std::uint64_t word = 0;
    DirtyQuery const query{Iova{kI}, kP, {kP, 8, Vaddr{reinterpret_cast<std::uint64_t>(&word)}}};
    EXPECT_ERRNO(bench.container.info(), inval);
    EXPECT_ERRNO(bench.map(kI, Vaddr{kP}, kP), inval);
    EXPECT_ERRNO(bench.unmap_all(), inval);
    EXPECT_ERRNO(bench.container.start_dirty_tracking(), inval);
    EXPECT_ERRNO(bench.container.stop_dirty_tracking(), inval);
    EXPECT_ERRNO(bench.container.dirty_bitmap(bench.process, query), inval);
}

// Rule B-1, for what no test can pin: memory of 8T.
TEST(DirtyBitmap, has_at_most_2_to_31_granules_less_one)
{
    EXPECT_ERRNO(DirtyBitmap::of(std::uint64_t{1} << 31), inval);
    EXPECT_TRUE(DirtyBitmap::of(1));
}

TEST_F(DeviceServers, a_driver_whose_group_has_gone_reaches_nothing)
{
    bench.container.remove(group);
    std::array<std::byte, 4> bytes{};
    EXPECT_ERRNO(pin(kI), inval);
    EXPECT_ERRNO(server->read(Iova{kI}, bytes), inval);
    EXPECT_ERRNO(server->write(Iova{kI}, bytes), inval);
    server->unpin_pages(Iova{kI}, 1);
    server.reset();
    EXPECT_TRUE(bench.container.add(group));  // as the fixture found it
}

TEST(DeviceServersV1, version_1_has_no_pins)
{
    Bench bench{{.type = std::nullopt}};
    Group group{40};
    EXPECT_TRUE(bench.container.add(group));
    EXPECT_TRUE(bench.container.set_iommu(1));
    auto server = DeviceServer::open(bench.container, group, [](IovaRange) {}).value();
    Buffer const buffer{1, k4K};
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), kP));
    Paddr page;
    EXPECT_ERRNO(server->pin_pages(Iova{kI}, Prot::read, {&page, 1}), acces);
    EXPECT_ERRNO(server->pin_pages(Iova{kI + 1}, Prot::read, {&page, 1}), inval) << "form first";
    std::array<Paddr, 4> pages;
    EXPECT_ERRNO(server->pin_pages(Iova{0 - 2 * kP}, Prot::read, pages), overflow);
    server.reset();
    bench.container.remove(group);
}

TEST_F(DeviceServers, reads_and_writes_reach_memory_across_mappings)
{
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(4), kP));
    EXPECT_TRUE(bench.map(kI + kP, buffer.vaddr(1), kP));
    std::array<std::byte, 16> bytes;
    bytes.fill(std::byte{0x77});
    EXPECT_TRUE(server->write(Iova{kI + kP - 8}, bytes));
    EXPECT_EQ(buffer.page(5)[-1], std::byte{0x77});
    EXPECT_EQ(buffer.page(1)[7], std::byte{0x77});
    EXPECT_EQ(buffer.page(1)[8], std::byte{0x5a});
    bytes.fill(std::byte{0});
    EXPECT_TRUE(server->read(Iova{kI + kP - 8}, bytes));
    EXPECT_EQ(bytes[15], std::byte{0x77});
    expect(0, 0);

    EXPECT_ERRNO(server->read(Iova{kI + 2 * kP - 8}, bytes), inval);
    EXPECT_TRUE(bench.unmap_all());
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), kP, Prot::read));
    EXPECT_ERRNO(server->write(Iova{kI}, bytes), perm);
    EXPECT_TRUE(bench.map(kI + kP, buffer.vaddr(), kP, Prot::write));
    EXPECT_ERRNO(server->write(Iova{kI + kP}, bytes), perm);
    EXPECT_ERRNO(server->read(Iova{kI + kP}, bytes), perm);
    buffer.protect(0, PROT_NONE);
    EXPECT_ERRNO(server->read(Iova{kI}, bytes), fault);
}

TEST_F(DeviceServers, an_unmap_waits_until_drivers_have_let_go)
{
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), 2 * kP));
    EXPECT_TRUE(bench.map(kI + 4 * kP, buffer.vaddr(4), kP));
    EXPECT_TRUE(pin(kI + kP));
    EXPECT_EQ(bench.unmap(kI, 8 * kP), 3 * kP);
    EXPECT_EQ(told, (std::vector{range_of(kI, kI + 2 * kP - 1)}));
    expect(0, 0);
    EXPECT_EQ(bench.dma_avail(), 65535U);
}

TEST_F(DeviceServers, unmaps_that_wait_for_drivers_and_pins_do_not_wait_for_each_other)
{
    auto const work = [&](std::uint64_t iova, unsigned page) {
        for (int i = 0; i < 200; ++i) {
            EXPECT_TRUE(bench.map(iova, buffer.vaddr(page), kP));
            EXPECT_TRUE(pin(iova));
            EXPECT_EQ(bench.unmap(iova, kP), kP);
        }
    };
    {
        std::jthread const one{work, kI, 0};
        std::jthread const other{work, kI + 0x100 * kP, 1};
        std::jthread const third{work, kI + 0x200 * kP, 2};
    }
    EXPECT_EQ(told.size(), 600U);
    expect(0, 0);
}

TEST_F(DeviceServers, a_driver_that_never_lets_go_loses_its_pages_after_ten_rounds)
{
    obeys = false;
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), kP));
    EXPECT_TRUE(pin(kI));
    EXPECT_EQ(bench.unmap_all(), kP);
    EXPECT_EQ(told.size(), 10U);
    expect(0, 0);
}

// While a driver is told, other calls come in: here one that makes the range cut a mapping.
TEST_F(DeviceServers, an_unmap_that_cuts_a_mapping_after_the_wait_returns_what_it_has_removed)
{
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), kP));
    EXPECT_TRUE(bench.map(kI + kP, buffer.vaddr(1), kP));
    EXPECT_TRUE(pin(kI + kP));
    server.reset();
    auto meddler = DeviceServer::open(bench.container, group, [&](IovaRange range) {
                       if (!told.empty()) return;
                       told.push_back(range);
                       EXPECT_TRUE(bench.map(kI + 3 * kP, buffer.vaddr(3), 2 * kP));
                   }).value();
    EXPECT_EQ(bench.unmap(kI, 4 * kP), kP);
    meddler->unpin_pages(Iova{kI + kP}, 1);
    EXPECT_EQ(bench.unmap_all(), 3 * kP);
    meddler.reset();
}

TEST_F(DeviceServers, a_group_leaves_only_when_no_driver_is_being_told)
{
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), kP));
    EXPECT_TRUE(pin(kI));
    Group other{42};
    std::thread joiner;
    std::atomic<bool> joined{false};
    server.reset();
    DeviceServer* self = nullptr;
    auto slow = DeviceServer::open(bench.container, group, [&](IovaRange range) {
                    joiner = std::thread{[&] {
                        EXPECT_TRUE(bench.container.add(other));
                        joined = true;
                    }};
                    std::this_thread::sleep_for(std::chrono::milliseconds{20});
                    EXPECT_FALSE(joined);
                    self->unpin_pages(range.start, 1);
                }).value();
    self = slow.get();
    EXPECT_EQ(bench.unmap_all(), kP);
    joiner.join();
    EXPECT_TRUE(joined);
    slow.reset();
    bench.container.remove(other);
}

TEST_F(DeviceServers, the_first_real_group_pins_what_was_only_noted_down)
{
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), 4 * kP));
    auto const page = pin(kI + kP);
    ASSERT_TRUE(page);
    expect(1, 1);
    EXPECT_TRUE(bench.container.add(bench.unit.group, &bench.process));
    bench.expect_maps(*bench.unit.first.domain(), {{kI, 4 * kP, buffer.vaddr()}});
    expect(4, 4);  // the driver's page is not charged again
    EXPECT_TRUE(pin(kI));
    expect(4, 4);

    // The driver's pages stay, and stay charged; the rest goes.
    bench.container.remove(bench.unit.group);
    expect(2, 2);
    EXPECT_EQ(bench.container.info()->iova_ranges.size(), 1U);
    EXPECT_EQ(bench.container.info()->iova_ranges[0], range_of(0, ~std::uint64_t{0}));
    server->unpin_pages(Iova{kI}, 1);
    expect(1, 1);
    EXPECT_TRUE(bench.container.add(bench.unit.group));
    expect(4, 4);
    server->unpin_pages(Iova{kI + kP}, 1);
    expect(4, 4);
    EXPECT_EQ(bench.unmap(kI, 4 * kP), 4 * kP);
    expect(0, 0);
    bench.container.remove(bench.unit.group);
}

TEST_F(DeviceServers, a_real_group_that_cannot_pin_everything_stays_out)
{
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), 2 * kP));
    EXPECT_TRUE(bench.map(kI + 0x100000, buffer.vaddr(4), 2 * kP));
    EXPECT_TRUE(pin(kI));
    buffer.protect(5, PROT_NONE);
    EXPECT_ERRNO(bench.container.add(bench.unit.group), fault);
    EXPECT_EQ(bench.unit.first.domain(), nullptr);
    expect(1, 1);
    buffer.protect(5, PROT_READ | PROT_WRITE);
    bench.source.limit = 3 * kP;
    EXPECT_ERRNO(bench.container.add(bench.unit.group), nomem);
    expect(1, 1);
    Unit narrow{native(0x10000)};
    EXPECT_ERRNO(bench.container.add(narrow.group), inval);
    expect(1, 1);
    bench.source.limit = 4 * kP;
    EXPECT_TRUE(bench.container.add(bench.unit.group));
    expect(4, 4);
    bench.container.remove(bench.unit.group);
}

// Rule P-17.
TEST_F(DeviceServers, whoever_brings_the_group_is_held_to_its_own_limit_and_the_mapper_pays)
{
    LockSource source;
    host::OwnProcess other{source, k4K};
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), 2 * kP));
    source.limit = kP;
    EXPECT_ERRNO(bench.container.add(bench.unit.group, &other), nomem);
    expect(0, 0);
    source.limit = 2 * kP;
    EXPECT_TRUE(bench.container.add(bench.unit.group, &other));
    EXPECT_EQ(other.locked_memory().charged(), 0U);
    expect(2, 2);
    bench.container.remove(bench.unit.group);
}

TEST_F(DeviceServers, a_mapper_that_has_gone_is_ENODEV_to_pins_and_EPERM_to_reads)
{
    LockSource source;
    auto child = std::make_unique<host::OwnProcess>(source, k4K);
    EXPECT_TRUE(bench.container.map(*child, {Iova{kI}, buffer.vaddr(), 2 * kP, Prot::read_write}));
    EXPECT_TRUE(pin(kI));
    child.reset();
    EXPECT_TRUE(pin(kI));  // known already
    EXPECT_ERRNO(pin(kI + kP), nodev);
    std::array<std::byte, 4> bytes{};
    EXPECT_ERRNO(server->read(Iova{kI}, bytes), perm);
    EXPECT_ERRNO(server->write(Iova{kI}, bytes), perm);
    EXPECT_ERRNO(bench.container.add(bench.unit.group), nodev);
    EXPECT_EQ(bench.unmap_all(), 2 * kP);
    expect(0, 0);
}

TEST_F(DeviceServers, dirty_is_what_drivers_hold_and_what_they_have_written)
{
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), 8 * kP));
    EXPECT_TRUE(pin(kI));
    EXPECT_TRUE(bench.container.start_dirty_tracking());
    EXPECT_EQ(dirty(8), 0x01U);
    EXPECT_TRUE(pin(kI + 2 * kP));
    std::array<std::byte, 16> bytes{};
    EXPECT_TRUE(server->write(Iova{kI + 5 * kP - 8}, bytes));
    EXPECT_EQ(dirty(8), 0x35U);
    EXPECT_EQ(dirty(8), 0x05U);  // what is held stays
    server->unpin_pages(Iova{kI}, 1);
    EXPECT_EQ(dirty(8), 0x05U);  // it was held until now
    EXPECT_EQ(dirty(8), 0x04U);
}

TEST_F(DeviceServers, a_group_that_does_not_say_what_it_writes_makes_everything_dirty)
{
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), 8 * kP));
    EXPECT_TRUE(bench.container.start_dirty_tracking());
    EXPECT_TRUE(bench.container.add(bench.unit.group));
    EXPECT_EQ(dirty(8), 0xffU);
    EXPECT_EQ(dirty(8), 0xffU);
    bench.container.remove(bench.unit.group);
    EXPECT_EQ(dirty(8), 0xffU);  // what it wrote before it left
    EXPECT_EQ(dirty(8), 0x00U);

    // Its driver pins a page: from then on it says so.
    EXPECT_TRUE(bench.container.add(bench.unit.group));
    auto driver = DeviceServer::open(bench.container, bench.unit.group, {}).value();
    Paddr page;
    EXPECT_TRUE(driver->pin_pages(Iova{kI + kP}, Prot::read, {&page, 1}));
    EXPECT_EQ(dirty(8), 0x02U);
    driver->unpin_pages(Iova{kI + kP}, 1);
    driver.reset();
    EXPECT_EQ(dirty(8), 0x02U);
    bench.container.remove(bench.unit.group);
    EXPECT_EQ(dirty(8), 0x00U);
}

TEST_F(DeviceServers, an_unmap_with_a_bitmap_says_what_drivers_have_written)
{
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), 4 * kP));
    EXPECT_TRUE(bench.container.start_dirty_tracking());
    EXPECT_TRUE(pin(kI + 3 * kP));
    std::uint64_t word = 0;
    UnmapRequest const request{
        .iova = Iova{kI},
        .size = 4 * kP,
        .dirty = Bitmap{kP, 8, Vaddr{reinterpret_cast<std::uint64_t>(&word)}}};
    EXPECT_EQ(bench.container.unmap(bench.process, request), 4 * kP);
    EXPECT_EQ(word, 0x8U);
}

TEST_F(DeviceServers, the_last_group_of_any_kind_takes_the_mappings_along)
{
    obeys = false;
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), 4 * kP));
    EXPECT_TRUE(pin(kI));
    EXPECT_TRUE(bench.container.add(bench.unit.group));
    expect(4, 4);
    server.reset();
    bench.container.remove(group);
    bench.expect_maps(*bench.unit.first.domain(), {{kI, 4 * kP, buffer.vaddr()}});
    bench.container.remove(bench.unit.group);
    expect(0, 0);
    EXPECT_FALSE(bench.container.version());
    EXPECT_TRUE(bench.container.add(group));
}

TEST_F(DeviceServers, pins_survive_the_failure_of_each_allocation)
{
    for (std::uint64_t i = 0; i < 6; ++i) EXPECT_TRUE(bench.map(kI + i * kP, buffer.vaddr(i), kP));
    EXPECT_TRUE(bench.container.start_dirty_tracking());
    std::array<Paddr, 6> pages;
    bool done = false;
    for (std::uint64_t n = 0; !done; ++n) {
        ASSERT_LT(n, 100U);
        test::FailingNew const failing{n};
        try {
            done = server->pin_pages(Iova{kI}, Prot::read_write, pages).has_value();
        } catch (std::bad_alloc const&) {
            expect(0, 0);
        }
    }
    expect(6, 6);
    bool joined = false;
    for (std::uint64_t n = 0; !joined; ++n) {
        ASSERT_LT(n, 200U);
        {
            test::FailingNew const failing{n};
            try {
                joined = bench.container.add(bench.unit.group).has_value();
            } catch (std::bad_alloc const&) {
            }
        }
        if (joined) break;
        EXPECT_EQ(bench.unit.first.domain(), nullptr);
        expect(6, 6);
    }
    bench.container.remove(bench.unit.group);
    expect(6, 6);
}

class DeviceServersOnSubpages : public DeviceServers {
protected:
    DeviceServersOnSubpages()
        : DeviceServers{{.page = k64K, .type = std::nullopt, .policy = SubpagePolicy::subpage}}
    {
    }
    Buffer pages{4, k64K};
};

TEST_F(DeviceServersOnSubpages, a_part_of_a_page_cannot_be_pinned)
{
    constexpr std::uint64_t k64 = 0x10000;
    EXPECT_TRUE(bench.map(kI, pages.vaddr(), 2 * k64));
    EXPECT_TRUE(bench.container.add(bench.unit.group));
    EXPECT_TRUE(bench.map(kI + 4 * k64, pages.vaddr(2), kP));
    EXPECT_TRUE(bench.map(kI + 8 * k64, pages.vaddr(2) + kP, 2 * k64 - kP));
    EXPECT_EQ(bench.charged(), 4U);
    EXPECT_TRUE(pin(kI + k64));
    EXPECT_ERRNO(pin(kI + 4 * k64), inval);
    EXPECT_ERRNO(pin(kI + 8 * k64), inval);
    bench.container.remove(bench.unit.group);
    EXPECT_EQ(bench.charged(), 1U);
    server->unpin_pages(Iova{kI + k64}, 1);
    EXPECT_EQ(bench.charged(), 0U);
    EXPECT_TRUE(bench.unmap_all());
}

class Lines final : public Log {
public:
    void line(std::string_view text) override { lines.emplace_back(text); }
    std::vector<std::string> take() { return std::exchange(lines, {}); }
    std::vector<std::string> lines;
};

TEST(KernelLog, a_map_beyond_the_limit_is_told_of_once)
{
    Lines log;
    Bench bench{{.frames = host::FrameNumbering::scattered}};
    bench.settings.log = &log;
    bench.source.limit = 2 * kP + 1;
    Buffer const buffer{4, k4K};
    EXPECT_ERRNO(bench.map(kI, buffer.vaddr(), 4 * kP), nomem);
    EXPECT_EQ(log.take(),
              (std::vector<std::string>{"vfio_pin_pages_remote: RLIMIT_MEMLOCK (8192) exceeded"}));
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), 2 * kP));
    EXPECT_TRUE(log.take().empty());
}

TEST_F(DeviceServers, a_pin_beyond_the_limit_is_told_of_with_the_task)
{
    Lines log;
    bench.settings.log = &log;
    bench.source.limit = 564;
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), kP));
    EXPECT_ERRNO(pin(kI), nomem);
    auto const task = bench.process.task();
    EXPECT_EQ(task.pid, ::getpid());
    EXPECT_EQ(log.take(),
              (std::vector<std::string>{
                  "vfio_pin_page_external: Task " + std::string{task.comm.data()} + " (" +
                  std::to_string(task.pid) + ") RLIMIT_MEMLOCK (564) exceeded"}));
    bench.settings.log = nullptr;
}

TEST(KernelLog, a_coarse_granule_is_warned_of_where_Linux_does)
{
    for (auto const policy : {SubpagePolicy::merged, SubpagePolicy::pre_2015,
                              SubpagePolicy::rfc_2015, SubpagePolicy::subpage}) {
        Lines log;
        Bench bench{{.page = k64K,
                     .iommu = {.page_sizes = PageSizes{0x201000}, .reserved = {}},
                     .policy = policy}};
        bench.settings.log = &log;
        bool const coarse = policy == SubpagePolicy::pre_2015;
        EXPECT_ERRNO(bench.map(kI, Vaddr{512}, 0x10000), inval);
        EXPECT_EQ(log.take().size(), coarse ? 1U : 0U);
        EXPECT_EQ(bench.unmap(kI, 0x200000), 0U);
        EXPECT_EQ(log.take().size(), coarse ? 1U : 0U);
    }
    Lines log;
    Bench bench{{.iommu = native(0x10000)}};
    bench.settings.log = &log;
    EXPECT_EQ(bench.unmap_all(), 0U);
    EXPECT_EQ(log.take(),
              (std::vector<std::string>{
                  "WARNING: vfio_dma_do_unmap: granule 0x10000 is above the host page 0x1000"}));
}

TEST(KernelLog, a_group_with_unsafe_interrupts_is_told_of)
{
    Lines log;
    Bench bench;
    bench.settings.log = &log;
    Unit unsafe{{.reserved = {}}, MsiIsolation::no};
    EXPECT_ERRNO(bench.container.add(unsafe.group), perm);
    ASSERT_EQ(log.lines.size(), 1U);
    EXPECT_TRUE(log.lines[0].starts_with("vfio_iommu_type1_attach_group: No interrupt remapping"));
}

}  // namespace
}  // namespace pinfold::type1
