// Whatever runs out, a failed call leaves nothing: table pages one by one, every allocation of the
// process one by one, chunks that cannot be mapped in a second domain.
#include <gtest/gtest.h>

#include <array>
#include <new>

#include "bench.hpp"
#include "support/failing_new.hpp"

namespace pinfold::type1 {
namespace {

constexpr std::uint64_t kI = 0x10000000;
constexpr std::uint64_t kMiB = 1 << 20;

// Runs `call` with the n-th allocation failing, for n = 0, 1, ... until it succeeds; `check` runs
// after each failure. What the door makes of bad_alloc is ENOMEM. Returns how often it failed.
std::uint64_t fail_each_allocation(auto const& call, auto const& check)
{
    for (std::uint64_t n = 0; n < 1000; ++n) {
        Result<> result;
        {
            test::FailingNew const failing{n};
            try {
                result = call();
            } catch (std::bad_alloc const&) {
                result = fail(Errno::nomem);
            }
        }
        if (result) return n;
        EXPECT_EQ(result.error(), Errno::nomem) << n;
        check();
    }
    ADD_FAILURE() << "never succeeds";
    return 0;
}

// A map that straddles every level of the table: the last page below 1 GiB * 512 / 2 and the first
// above, so that two pages are needed at each.
TEST(Scarcity, a_map_without_table_pages_is_ENOMEM_and_leaves_nothing)
{
    constexpr std::uint64_t kStraddle = (std::uint64_t{256} << 30) - 0x1000;
    Buffer const buffer{2, k4K};
    bool succeeded = false;
    std::uint64_t failures = 0;
    for (std::uint64_t budget = 1; !succeeded; ++budget) {
        ASSERT_LT(budget, 10U);
        Bench bench{{.iommu = {.reserved = {}, .table_budget = budget}}};
        auto const mapped = bench.map(kStraddle, buffer.vaddr(), 0x2000);
        succeeded = mapped.has_value();
        failures += !succeeded;
        if (succeeded) {
            bench.expect_state({{kStraddle, 0x2000, buffer.vaddr()}});
        } else {
            EXPECT_EQ(mapped.error(), Errno::nomem);
            bench.expect_state({});
        }
    }
    EXPECT_GE(failures, 4U);
}

TEST(Scarcity, a_chunk_that_the_second_domain_refuses_is_taken_back_from_the_first)
{
    Bench bench{{.iommu = native(0x1000), .frames = host::FrameNumbering::scattered}};
    Buffer const buffer{8, k4K};
    Unit small{{.reserved = {}, .table_budget = 3}};
    EXPECT_TRUE(bench.container.add(small.group));
    EXPECT_EQ(error_of(bench.map(2 * kMiB - 0x4000, buffer.vaddr(), 0x8000)), Errno::nomem);
    bench.expect_state({}, {&small.first});
    EXPECT_TRUE(bench.map(2 * kMiB - 0x8000, buffer.vaddr(), 0x8000));
    bench.expect_state({{2 * kMiB - 0x8000, 0x8000, buffer.vaddr()}}, {&small.first});
    bench.container.remove(small.group);
}

// The newest domain is asked first, so it has the chunk when the older one refuses.
TEST(Scarcity, a_chunk_that_an_older_domain_refuses_is_taken_back_from_the_newest)
{
    Bench bench{{.iommu = {.reserved = {}, .table_budget = 3}}};
    Buffer const buffer{8, k4K};
    Unit newest{native(0x1000)};
    EXPECT_TRUE(bench.container.add(newest.group));
    EXPECT_EQ(error_of(bench.map(2 * kMiB - 0x4000, buffer.vaddr(), 0x8000)), Errno::nomem);
    bench.expect_state({}, {&newest.first});
    for (std::uint64_t offset = 0; offset < 0x8000; offset += 0x1000) {
        ReadSection const section;
        EXPECT_FALSE(newest.first.domain()->walk(Iova{2 * kMiB - 0x4000 + offset}));
    }
    bench.container.remove(newest.group);
}

void map_while_each_allocation_fails(Bench& bench)
{
    Buffer const buffer{600, k4K};
    EXPECT_TRUE(bench.container.start_dirty_tracking());
    // Enough mappings that the map of them must split nodes.
    std::vector<Expected> mapped;
    std::uint64_t failures = 0;
    for (std::uint64_t i = 0; i < 40; ++i) {
        Expected const one{kI + i * kMiB * 4, (i % 3 + 1) * 0x1000, buffer.vaddr(i)};
        failures += fail_each_allocation([&] { return bench.map(one.iova, one.vaddr, one.size); },
                                         [&] { bench.expect_state(mapped); });
        mapped.push_back(one);
        bench.expect_state(mapped);
    }
    EXPECT_GT(failures, 40U);  // the bitmap of each, and nodes
    Expected const large{kI * 16, 600 * 0x1000, buffer.vaddr()};
    fail_each_allocation([&] { return bench.map(large.iova, large.vaddr, large.size); },
                         [&] { bench.expect_state(mapped); });
}

TEST(Scarcity, a_map_survives_the_failure_of_each_allocation)
{
    Bench bench;
    map_while_each_allocation_fails(bench);
}

// A list of records is memory of the process too, and a map takes several of them.
TEST(Scarcity, a_map_by_records_survives_the_failure_of_each_allocation)
{
    Bench bench{{.iommu = {.model = iommu::Model::virtio,
                           .page_sizes = PageSizes{~0xfffULL},
                           .address_width = 64,
                           .reserved = {}}}};
    map_while_each_allocation_fails(bench);
}

TEST(Scarcity, a_map_of_parts_of_pages_survives_the_failure_of_each_allocation)
{
    Bench bench{{.page = k64K,
                 .frames = host::FrameNumbering::scattered,
                 .policy = SubpagePolicy::subpage}};
    Buffer const buffer{16, k64K};
    std::vector<Expected> mapped;
    std::uint64_t failures = 0;
    for (std::uint64_t i = 0; i < 12; ++i) {
        Expected const one{kI + i * kMiB * 4, 0x21000, buffer.vaddr(i) + 0x3000 * i};
        failures += fail_each_allocation([&] { return bench.map(one.iova, one.vaddr, one.size); },
                                         [&] { bench.expect_state(mapped); });
        mapped.push_back(one);
        bench.expect_state(mapped);
    }
    EXPECT_GT(failures, 12U);
    test::FailingNew const failing{0};
    EXPECT_EQ(bench.unmap_all(), 12 * 0x21000U);
}

TEST(Scarcity, a_group_that_joins_survives_the_failure_of_each_allocation)
{
    Bench bench;
    Buffer const buffer{64, k4K};
    std::vector<Expected> mapped;
    for (std::uint64_t i = 0; i < 20; ++i) {
        mapped.push_back({kI + i * kMiB * 4, 0x3000, buffer.vaddr(3 * i)});
        EXPECT_TRUE(bench.map(mapped.back().iova, mapped.back().vaddr, mapped.back().size));
    }
    Unit other{{.address_width = 48,
                .reserved = {{range_of(0xfee00000, 0xfeefffff), iommu::ReservedType::msi}}}};
    auto const failures =
        fail_each_allocation([&] { return bench.container.add(other.group); },
                             [&] {
                                 EXPECT_EQ(other.first.domain(), nullptr);
                                 bench.expect_state(mapped);
                                 EXPECT_EQ(bench.container.info()->iova_ranges.size(), 1U);
                             });
    EXPECT_GT(failures, 3U);
    bench.expect_state(mapped, {&other.first});
    iommu::Endpoint endpoint{*bench.unit.iommu, "0000:00:05.0"};
    Group sibling{9, *bench.unit.iommu, {&endpoint}};
    fail_each_allocation([&] { return bench.container.add(sibling); },
                         [&] {
                             EXPECT_EQ(endpoint.domain(), nullptr);
                             bench.expect_state(mapped, {&other.first});
                         });
    EXPECT_EQ(endpoint.domain(), bench.unit.first.domain());
    // Departure allocates nothing at all, so it cannot fail.
    test::FailingNew const failing{0};
    bench.container.remove(sibling);
    bench.container.remove(other.group);
}

TEST(Scarcity, setting_up_survives_the_failure_of_each_allocation)
{
    Bench bench{
        {.iommu = {.reserved = {{range_of(0xfee00000, 0xfeefffff), iommu::ReservedType::msi}}},
         .type = std::nullopt}};
    fail_each_allocation([&] { return bench.container.add(bench.unit.group); }, [] {});
    bench.in = true;
    auto const failures = fail_each_allocation([&] { return bench.container.set_iommu(3); },
                                               [&] {
                                                   EXPECT_FALSE(bench.container.version());
                                                   EXPECT_EQ(bench.unit.first.domain(), nullptr);
                                               });
    EXPECT_GT(failures, 3U);
    bench.expect_state({});
}

TEST(Scarcity, dirty_tracking_that_cannot_start_is_off)
{
    Bench bench;
    Buffer const buffer{8, k4K};
    for (std::uint64_t i = 0; i < 4; ++i)
        EXPECT_TRUE(bench.map(kI + i * kMiB, buffer.vaddr(2 * i), 0x2000));
    std::uint64_t word = 0;
    DirtyQuery const query{
        Iova{kI}, 0x2000, {0x1000, 8, Vaddr{reinterpret_cast<std::uint64_t>(&word)}}};
    fail_each_allocation([&] { return bench.container.start_dirty_tracking(); },
                         [&] {
                             EXPECT_EQ(error_of(bench.container.dirty_bitmap(bench.process, query)),
                                       Errno::inval);
                         });
    EXPECT_TRUE(bench.container.dirty_bitmap(bench.process, query));
    EXPECT_EQ(word, 3U);
}

// A bitmap grows when it is asked for after the granule has become finer. Mappings before that one
// have gone already (rule U-9), and so have their pins.
TEST(Scarcity, an_unmap_whose_bitmap_cannot_grow_lets_go_of_what_it_has_removed)
{
    constexpr std::uint64_t kSize = 0x50000;  // more than 64 pages
    std::uint64_t failures_between = 0;
    for (std::uint64_t n = 0; n < 8; ++n) {
        Bench bench{{.iommu = native(0x11000)}};
        Buffer const buffer{10, k64K};
        Unit coarse{native(0x10000)};
        EXPECT_TRUE(bench.container.add(coarse.group));
        EXPECT_EQ(bench.container.info()->granule, 0x10000U);
        EXPECT_TRUE(bench.container.start_dirty_tracking());
        EXPECT_TRUE(bench.map(kI, buffer.vaddr(), kSize));
        EXPECT_TRUE(bench.map(kI + kSize, buffer.vaddr(5), kSize));
        bench.container.remove(coarse.group);
        EXPECT_EQ(bench.container.info()->granule, 0x1000U);

        std::array<std::uint64_t, 3> words{};
        UnmapRequest const request{
            .iova = Iova{kI},
            .size = 2 * kSize,
            .dirty =
                Bitmap{0x1000, sizeof words, Vaddr{reinterpret_cast<std::uint64_t>(words.data())}}};
        try {
            test::FailingNew const failing{n};
            EXPECT_EQ(bench.container.unmap(bench.process, request), 2 * kSize);
        } catch (std::bad_alloc const&) {
        }
        std::uint64_t const left = bench.settings.dma_entry_limit - bench.dma_avail();
        EXPECT_EQ(bench.memory.pinned_pages(), left * kSize / 0x1000) << n;
        failures_between += left == 1;
        EXPECT_EQ(bench.unmap_all(), left * kSize);
    }
    EXPECT_GE(failures_between, 1U);
}

TEST(Scarcity, an_unmap_allocates_nothing)
{
    Bench bench{{.frames = host::FrameNumbering::scattered}};
    Buffer const buffer{1200, k4K};
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), 1200 * 0x1000));
    for (std::uint64_t i = 0; i < 30; ++i)
        EXPECT_TRUE(bench.map(kI * 2 + i * kMiB, buffer.vaddr(i), 0x2000));
    {
        test::FailingNew const failing{0};
        EXPECT_EQ(bench.unmap(kI, 1200 * 0x1000), 1200 * 0x1000U);
        EXPECT_EQ(bench.unmap_all(), 60 * 0x1000U);
    }
    bench.expect_state({});
}

}  // namespace
}  // namespace pinfold::type1
