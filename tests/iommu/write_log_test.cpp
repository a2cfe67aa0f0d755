#include "iommu/write_log.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "iommu/unit.hpp"
#include "support/seed.hpp"

namespace pinfold::iommu {
namespace {

constexpr std::uint64_t kPage = 0x1000;
constexpr std::uint64_t k2MBytes = 0x200000;
constexpr std::uint64_t kBlock = std::uint64_t{1} << 30;

constexpr IovaRange range(std::uint64_t start, std::uint64_t size)
{
    return {Iova{start}, Iova{start + (size - 1)}};
}

// The iovas of the pages that are taken.
std::vector<std::uint64_t> take(WriteLog& log, IovaRange range)
{
    log.flip(range);
    wait_for_readers();
    std::uint64_t const first = range.start.raw() / kPage;
    std::uint64_t const count = range.last.raw() / kPage - first + 1;
    std::vector<std::uint64_t> bits((count + 63) / 64);
    log.take(range, bits);
    std::vector<std::uint64_t> iovas;
    for (std::uint64_t i = 0; i < count; ++i)
        if ((bits[i / 64] >> i % 64) % 2 == 1) iovas.push_back((first + i) * kPage);
    return iovas;
}

using Pages = std::vector<std::uint64_t>;

TEST(WriteLog, gives_what_was_marked_once)
{
    auto const log = WriteLog::create().value();
    log->mark(Iova{0x5123}, 1);
    log->mark(Iova{0x7fff}, 2);
    EXPECT_EQ(take(*log, range(0, 64 * kPage)), (Pages{0x5000, 0x7000, 0x8000}));
    EXPECT_EQ(take(*log, range(0, 64 * kPage)), Pages{});
    log->mark(Iova{0x5000}, kPage);
    EXPECT_EQ(take(*log, range(0, 64 * kPage)), Pages{0x5000});
}

TEST(WriteLog, knows_every_address)
{
    auto const log = WriteLog::create().value();
    std::uint64_t const top = ~std::uint64_t{0} - kPage + 1;
    for (std::uint64_t const iova : {std::uint64_t{0}, kBlock - kPage, std::uint64_t{1} << 47, top})
        log->mark(Iova{iova}, kPage);
    log->mark(Iova{4 * kBlock - kPage}, 2 * kPage);  // in two blocks
    EXPECT_EQ(take(*log, range(0, kPage)), Pages{0});
    EXPECT_EQ(take(*log, range(kBlock - kPage, 8 * kPage)), Pages{kBlock - kPage});
    EXPECT_EQ(take(*log, range((std::uint64_t{1} << 47) - kPage, 3 * kPage)),
              Pages{std::uint64_t{1} << 47});
    EXPECT_EQ(take(*log, range(top - kPage, 2 * kPage)), Pages{top});
    EXPECT_EQ(take(*log, range(3 * kBlock, 2 * kBlock)), (Pages{4 * kBlock - kPage, 4 * kBlock}));
}

// Ranges that cut words and blocks, in any order, beside a set of pages.
TEST(WriteLog, agrees_with_a_set)
{
    std::uint64_t const seed = test::seed();
    std::printf("PINFOLD_SEED=%llu\n", static_cast<unsigned long long>(seed));
    std::mt19937_64 random{seed};
    std::uint64_t const start = kBlock - 300 * kPage;
    auto const log = WriteLog::create().value();
    std::set<std::uint64_t> model;
    for (int step = 0; step < 3'000; ++step) {
        std::uint64_t const page = random() % 600;
        std::uint64_t const pages = 1 + random() % 150;
        if (random() % 3 != 0) {
            log->mark(Iova{start + page * kPage + random() % kPage},
                      (pages - 1) * kPage + 1);  // may touch one page more
            continue;
        }
        (void)take(*log, range(start + page * kPage, pages * kPage));
    }
    // From here on the model knows: everything is clean.
    (void)take(*log, range(0, 2 * kBlock));
    (void)take(*log, range(0, 2 * kBlock));
    for (int step = 0; step < 3'000; ++step) {
        std::uint64_t const page = random() % 600;
        std::uint64_t const pages = 1 + random() % 150;
        if (random() % 3 != 0) {
            log->mark(Iova{start + page * kPage}, pages * kPage);
            for (std::uint64_t i = page; i < page + pages; ++i) model.insert(start + i * kPage);
            continue;
        }
        if (random() % 16 == 0) {
            ASSERT_EQ(take(*log, range(0, 2 * kBlock)), Pages(model.begin(), model.end()));
            model.clear();
        }
        Pages expected;
        for (std::uint64_t i = page; i < page + pages; ++i)
            if (model.erase(start + i * kPage) != 0) expected.push_back(start + i * kPage);
        ASSERT_EQ(take(*log, range(start + page * kPage, pages * kPage)), expected);
    }
}

TEST(WriteLog, what_there_was_no_memory_for_counts_as_written)
{
    auto const log = WriteLog::create(1).value();
    log->mark(Iova{0x5000}, kPage);
    log->mark(Iova{kBlock + 0x5000}, kPage);
    EXPECT_EQ(take(*log, range(0, 16 * kPage)), Pages{0x5000});
    EXPECT_EQ(take(*log, range(kBlock, 4 * kPage)).size(), 4);
    EXPECT_EQ(take(*log, range(kBlock, 4 * kPage)).size(), 0);
}

struct Logged : Unit {
    explicit Logged(Iommu::Options options) : Unit{std::move(options)}
    {
        EXPECT_TRUE(endpoint->attach(*domain));
    }
    bool write(std::uint64_t iova, std::uint64_t size)
    {
        ReadSection const section;
        return endpoint->translate(Iova{iova}, size, Access::write).has_value();
    }
    // The bytes of a range in which a device gathers what it is about to write.
    std::uint64_t gather(std::uint64_t iova, std::uint64_t size)
    {
        ReadSection const section;
        std::array<Endpoint::Segment, 8> segments{};
        return endpoint->gather(range(iova, size), Access::write, segments).bytes;
    }
    std::uint64_t taken(std::uint64_t iova, std::uint64_t pages)
    {
        std::vector<std::uint64_t> bits((pages + 63) / 64);
        domain->take_written(range(iova, pages * kPage), bits);
        return bits[0];
    }
};

TEST(DomainWriteLog, knows_of_each_write_and_of_nothing_else)
{
    for (auto const& options : each_model()) {
        Logged unit{options};
        ASSERT_TRUE(unit.map(0, 4 * k2MBytes, k2MBytes));
        ASSERT_TRUE(unit.map(k2MBytes, 8 * k2MBytes, kPage, Prot::read));
        EXPECT_TRUE(unit.write(0x1000, 1));  // cached before the log is on
        ASSERT_TRUE(unit.domain->start_write_log());
        EXPECT_EQ(unit.domain->start_write_log(), fail(Errno::busy));
        EXPECT_EQ(unit.taken(0, 64), 0);

        EXPECT_NE(unit.read(0x2000), 0);
        EXPECT_FALSE(unit.write(k2MBytes, 1));  // a fault writes nothing
        for (int again = 0; again < 3; ++again) EXPECT_TRUE(unit.write(0x1fff, 1));
        EXPECT_TRUE(unit.write(0x2000, 1));  // after the read has cached it
        EXPECT_TRUE(unit.write(0x4000, 1));
        EXPECT_TRUE(unit.write(0x4800, 0x2000));  // beyond the page that is known
        EXPECT_EQ(unit.taken(0, 64), 0b111'0110);

        EXPECT_TRUE(unit.write(0x4000, 1));  // was known as written until it was taken
        EXPECT_EQ(unit.taken(0, 64), 0b001'0000);
        unit.domain->stop_write_log();
        EXPECT_TRUE(unit.write(0x4000, 1));
        ASSERT_TRUE(unit.domain->start_write_log());
        EXPECT_EQ(unit.taken(0, 64), 0);
    }
}

TEST(DomainWriteLog, knows_of_what_is_gathered_for_writing)
{
    for (auto const& options : each_model()) {
        Logged unit{options};
        ASSERT_TRUE(unit.map(0, 4 * k2MBytes, k2MBytes));
        ASSERT_TRUE(unit.map(k2MBytes, 8 * k2MBytes, 4 * kPage));
        ASSERT_TRUE(unit.domain->start_write_log());
        for (int again = 0; again < 3; ++again) {
            EXPECT_EQ(unit.gather(k2MBytes - 2 * kPage, 5 * kPage), 5 * kPage);
            EXPECT_EQ(unit.taken(k2MBytes - 4 * kPage, 10), 0b111'1100);
            EXPECT_EQ(unit.gather(kPage + 0x800, kPage), kPage);
            EXPECT_EQ(unit.taken(0, 10), 0b110);
        }
    }
}

TEST(DomainDirtyBits, are_set_in_each_leaf_that_is_gathered_for_writing)
{
    for (auto const model : {Model::vtd, Model::amdvi, Model::smmuv3}) {
        auto options = options_of(model);
        options.tracks_dirty = true;
        Logged unit{options};
        for (std::uint64_t page = 0; page < 4; ++page)
            ASSERT_TRUE(unit.map(page * kPage, 0x5000 + page * 3 * kPage, kPage));
        std::vector<IovaRange> dirty;
        auto const harvest = [&] {
            dirty.clear();
            (void)unit.domain->read_and_clear_dirty(range(0, 4 * kPage),
                                                    [&](IovaRange leaf) { dirty.push_back(leaf); });
        };
        harvest();  // Arm's leaves are dirty when they are made
        for (int again = 0; again < 3; ++again) {
            EXPECT_EQ(unit.gather(kPage, 2 * kPage), 2 * kPage);
            harvest();
            EXPECT_EQ(dirty, (std::vector{range(kPage, kPage), range(2 * kPage, kPage)}));
        }
    }
}

TEST(DomainDirtyBits, are_set_in_the_leaf_that_a_device_writes_through_and_read_and_cleared)
{
    for (auto options : each_model()) {
        bool const can = options.model == Model::vtd || options.model == Model::amdvi ||
                         options.model == Model::smmuv3;
        options.tracks_dirty = true;
        Logged unit{options};
        std::vector<IovaRange> dirty;
        auto const harvest = [&] {
            dirty.clear();
            return unit.domain->read_and_clear_dirty(
                range(0, 4 * k2MBytes), [&](IovaRange leaf) { dirty.push_back(leaf); });
        };
        ASSERT_TRUE(unit.map(0, 8 * k2MBytes, k2MBytes));
        ASSERT_TRUE(unit.map(k2MBytes, 0x5000, kPage));
        ASSERT_TRUE(unit.map(k2MBytes + kPage, 0x9000, kPage));
        EXPECT_EQ(unit.domain->tracks_dirty(), can);
        if (!can) {
            EXPECT_EQ(harvest(), fail(Errno::opnotsupp));
            continue;
        }
        (void)harvest();  // Arm's leaves are dirty when they are made
        EXPECT_EQ(harvest(), 0);
        EXPECT_NE(unit.read(0x9000), 0);  // shares its place in the IOTLB with none of the others
        EXPECT_NE(unit.read(k2MBytes), 0);
        EXPECT_EQ(harvest(), 0);
        for (int again = 0; again < 3; ++again) {
            EXPECT_TRUE(unit.write(0x9000, 1));  // the read has cached it
            EXPECT_TRUE(unit.write(k2MBytes + kPage, 1));
            EXPECT_EQ(harvest(), 2);
            EXPECT_EQ(dirty, (std::vector{range(0, k2MBytes), range(k2MBytes + kPage, kPage)}));
        }
    }
}

struct CountingUnit final : CommandQueue {
    void submit(Command const&) override { ++told; }
    unsigned told = 0;
};

// The access that found the leaf dirty is held open until the call has had ample time to return.
TEST(DomainDirtyBits, are_clean_when_the_unit_knows_it_and_the_accesses_under_way_are_over)
{
    for (auto const model : {Model::vtd, Model::amdvi, Model::smmuv3}) {
        CountingUnit counting;
        auto options = options_of(model);
        options.tracks_dirty = true;
        options.commands = &counting;
        Logged unit{options};
        ASSERT_TRUE(unit.map(0, 0x5000, kPage));
        std::atomic<bool> inside{false};
        std::atomic<bool> returned{false};
        bool early = false;
        std::thread device{[&] {
            ReadSection const section;
            EXPECT_TRUE(unit.endpoint->translate(Iova{0}, 1, Access::write));
            inside = true;
            std::this_thread::sleep_for(std::chrono::milliseconds{30});
            early = returned;
        }};
        while (!inside) std::this_thread::yield();
        unsigned const before = counting.told;
        EXPECT_EQ(unit.domain->read_and_clear_dirty(range(0, kPage), [](IovaRange) {}), 1);
        returned = true;
        EXPECT_EQ(counting.told - before, 2);  // what to let go of, and to say when that is done
        device.join();
        EXPECT_FALSE(early);
        EXPECT_EQ(unit.domain->read_and_clear_dirty(range(0, kPage), [](IovaRange) {}), 0);
        EXPECT_EQ(counting.told - before, 2);  // nothing was dirty
    }
}

// Each write is counted in a take after it, at the latest in the last.
TEST(DomainWriteLog, loses_nothing_while_it_is_taken)
{
    Logged unit{{}};
    constexpr std::uint64_t kPages = 128;
    ASSERT_TRUE(unit.map(0, 4 * k2MBytes, kPages * kPage));
    ASSERT_TRUE(unit.domain->start_write_log());
    std::atomic<std::uint64_t> turn{1};
    std::vector<std::atomic<std::uint64_t>> written(kPages);  // the last turn begun with a write
    std::atomic<bool> stop{false};
    std::thread device{[&] {
        for (std::uint64_t page = 0; !stop; page = (page + 37) % kPages) {
            ReadSection const section;
            std::uint64_t const now = turn;
            if (!unit.endpoint->translate(Iova{page * kPage}, 8, Access::write)) continue;
            written[page] = now;  // the bytes are there
        }
    }};
    std::uint64_t lost = 0;
    for (int round = 0; round < 2'000; ++round) {
        std::uint64_t const now = turn;
        std::vector<std::uint64_t> before(kPages);
        for (std::uint64_t page = 0; page < kPages; ++page) before[page] = written[page];
        std::vector<std::uint64_t> bits(kPages / 64);
        unit.domain->take_written(range(0, kPages * kPage), bits);
        for (std::uint64_t page = 0; page < kPages; ++page) {
            bool const taken = (bits[page / 64] >> page % 64) % 2 == 1;
            // Written in this turn before the take began.
            if (before[page] == now && !taken) ++lost;
        }
        ++turn;
    }
    stop = true;
    device.join();
    EXPECT_EQ(lost, 0);
}

}  // namespace
}  // namespace pinfold::iommu
