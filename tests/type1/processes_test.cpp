// Whom pages are charged to when several processes use one container (rules M-22, P-9, P-10), and
// what the device side sees of an unmap (rules U-13 to U-16).
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "bench.hpp"

namespace pinfold::type1 {
namespace {

constexpr std::uint64_t kI = 0x10000000;

// A second process with the same memory and an account of its own.
struct Other {
    LockSource source;
    host::OwnProcess process{source, k4K};
    std::uint64_t charged() { return process.locked_memory().charged(); }
};

TEST(Processes, an_unmap_gives_back_to_whoever_mapped)
{
    Bench bench;
    Other other;
    Buffer const buffer{4, k4K};
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), 0x1000));
    EXPECT_TRUE(bench.container.map(
        other.process, {Iova{kI + 0x1000}, buffer.vaddr(1), 0x3000, Prot::read_write}));
    EXPECT_EQ(bench.charged(), 1U);
    EXPECT_EQ(other.charged(), 3U);
    EXPECT_EQ(bench.unmap(kI + 0x1000, 0x3000), 0x3000U);
    EXPECT_EQ(bench.charged(), 1U);
    EXPECT_EQ(other.charged(), 0U);
}

TEST(Processes, a_new_vaddr_from_another_process_takes_the_charge_over)
{
    Bench bench;
    Other other;
    Buffer const buffer{4, k4K};
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), 0x4000));
    EXPECT_EQ(bench.invalidate_vaddr(kI, 0x4000), 0x4000U);
    MapRequest const update{Iova{kI}, buffer.vaddr(), 0x4000, Prot::none, true};

    other.source.limit = 3 * 0x1000;
    EXPECT_EQ(error_of(bench.container.map(other.process, update)), Errno::nomem);
    EXPECT_EQ(bench.charged(), 4U);
    EXPECT_EQ(other.charged(), 0U);

    other.source.cap = host::LockCap::yes;
    EXPECT_TRUE(bench.container.map(other.process, update));
    EXPECT_EQ(bench.charged(), 0U);
    EXPECT_EQ(other.charged(), 4U);
    EXPECT_EQ(bench.unmap(kI, 0x4000), 0x4000U);
    EXPECT_EQ(other.charged(), 0U);
}

TEST(Processes, the_same_process_is_not_charged_for_a_new_vaddr)
{
    Bench bench;
    Buffer const buffer{1, k4K};
    bench.source.limit = 0x1000;
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), 0x1000));
    EXPECT_EQ(bench.invalidate_vaddr(kI, 0x1000), 0x1000U);
    EXPECT_TRUE(bench.update_vaddr(kI, buffer.vaddr(), 0x1000));
    EXPECT_EQ(bench.charged(), 1U);
}

TEST(DeviceSide, a_cached_translation_ends_with_the_unmap)
{
    Bench bench;
    Buffer const buffer{1, k4K};
    auto const leads = [&] {
        ReadSection const section;
        return bench.unit.first.translate(Iova{kI}, 1, Access::read).has_value();
    };
    EXPECT_FALSE(leads());
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), 0x1000));
    EXPECT_TRUE(leads());
    EXPECT_TRUE(leads());
    EXPECT_EQ(bench.unmap(kI, 0x1000), 0x1000U);
    EXPECT_FALSE(leads());
}

// Unpinning before the IOTLB is told, or before accesses under way have ended, would let a device
// meet a frame that is gone.
TEST(DeviceSide, no_access_meets_a_frame_that_has_been_let_go)
{
    Bench bench;
    Buffer const buffer{600, k4K};
    std::atomic<bool> stop{false};
    std::atomic<std::uint64_t> hits{0}, lost{0};
    std::thread device{[&] {
        for (std::uint64_t i = 0; !stop; ++i) {
            ReadSection const section;
            auto const there =
                bench.unit.first.translate(Iova{kI + i * 0x1000 % 0x258000}, 1, Access::read);
            if (!there) continue;
            ++hits;
            if (bench.memory.at(there->paddr) == nullptr) ++lost;
        }
    }};
    for (int i = 0; i < 200 || (hits == 0 && i < 20000); ++i) {
        EXPECT_TRUE(bench.map(kI, buffer.vaddr(), 0x258000));
        std::this_thread::yield();
        EXPECT_EQ(bench.unmap(kI, 0x258000), 0x258000U);
    }
    stop = true;
    device.join();
    EXPECT_GT(hits, 0U);
    EXPECT_EQ(lost, 0U);
}

// A page that the table has lost is skipped: it counts as unmapped, and stays pinned and charged.
TEST(DeviceSide, an_unmap_steps_over_what_the_table_has_lost)
{
    Bench bench;
    Buffer const buffer{3, k4K};
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), 0x3000));
    auto const raw = bench.unit.first.domain()->raw_table().value();
    auto& word = test::raw_word(raw.root.raw(), raw.levels, kI + 0x1000);
    Paddr const lost{word & 0xffffffffff000};
    word = 0;
    EXPECT_EQ(bench.unmap(kI, 0x3000), 0x3000U);
    EXPECT_EQ(bench.dma_avail(), 65535U);
    EXPECT_EQ(bench.charged(), 1U);
    EXPECT_EQ(bench.memory.pinned_pages(), 1U);
    bench.memory.unpin(lost, 1);
    bench.process.locked_memory().uncharge(1);
}

}  // namespace
}  // namespace pinfold::type1
