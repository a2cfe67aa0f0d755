#include "native/dirty_log.hpp"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <vector>

#include "native/model.hpp"
#include "pinfold/dma_map.hpp"
#include "support/seed.hpp"

namespace pinfold::native {
namespace {

class DirtyLogTest : public testing::Test {
protected:
    DirtyLogTest() { log->start(); }
    // The pages of `range` that the log says are dirty, by number.
    std::vector<std::uint64_t> harvest(IovaRange range)
    {
        std::uint64_t const count = (range.last.raw() - range.start.raw()) / kPageBytes + 1;
        std::vector<std::uint64_t> bits((count + 63) / 64);
        log->harvest(range, bits, [] {});
        std::vector<std::uint64_t> dirty;
        for (std::uint64_t page = 0; page < bits.size() * 64; ++page)
            if ((bits[page / 64] >> (page % 64) & 1) != 0)
                dirty.push_back(range.start.raw() / kPageBytes + page);
        return dirty;
    }
    void mark(std::uint64_t first, std::uint64_t last)
    {
        shown.load()->mark(pages(first, last).start, pages(first, last).size());
    }
    std::atomic<DirtySide*> shown{nullptr};
    std::unique_ptr<DirtyLog> const log = DirtyLog::create(Memory::system(), shown).value();
};
using Pages = std::vector<std::uint64_t>;

TEST_F(DirtyLogTest, what_is_marked_is_harvested_once)
{
    ASSERT_TRUE(log->cover(pages(0, 1000)));
    mark(5, 5);
    mark(70, 72);
    shown.load()->mark(Iova{100 * kPageBytes + 17}, 2);
    shown.load()->mark(Iova{200 * kPageBytes + 17}, 0);
    shown.load()->mark(Iova{300 * kPageBytes}, 0);
    EXPECT_EQ(harvest(pages(0, 1000)), (Pages{5, 70, 71, 72, 100}));
    EXPECT_EQ(harvest(pages(0, 1000)), Pages{});
    mark(5, 5);
    EXPECT_EQ(harvest(pages(0, 1000)), Pages{5});
}

TEST_F(DirtyLogTest, a_harvest_of_some_leaves_the_marks_of_others)
{
    ASSERT_TRUE(log->cover(pages(0, 1000)));
    mark(10, 20);
    EXPECT_EQ(harvest(pages(12, 13)), (Pages{12, 13}));
    EXPECT_EQ(harvest(pages(900, 1000)), Pages{});
    EXPECT_EQ(harvest(pages(0, 11)), (Pages{10, 11}));
    mark(11, 12);
    EXPECT_EQ(harvest(pages(0, 1000)), (Pages{11, 12, 14, 15, 16, 17, 18, 19, 20}));
}

TEST_F(DirtyLogTest, pages_of_other_windows_and_the_last_of_all_are_logged)
{
    std::uint64_t const top = ~std::uint64_t{0} >> kPageLg2;
    ASSERT_TRUE(log->cover(pages(top - 300'000, top)));
    mark(top - 262'145, top - 262'143);
    mark(top, top);
    EXPECT_EQ(harvest(pages(top - 300'000, top)),
              (Pages{top - 262'145, top - 262'144, top - 262'143, top}));
}

TEST_F(DirtyLogTest, what_is_not_covered_is_left_out_and_too_much_is_ENOMEM)
{
    mark(5, 5);
    EXPECT_EQ(harvest(pages(0, 63)), Pages{});
    EXPECT_EQ(log->cover({Iova{0}, Iova{~std::uint64_t{0}}}), fail(Errno::nomem));
    ASSERT_TRUE(log->cover(pages(262'143, 262'144)));
    mark(0, 600'000);
    EXPECT_EQ(harvest(pages(0, 700'000)).size(), 2 * 262'144U) << "whole GiB";
}

// 32 768 pages have one word of the summary, and go in one run if a harvest is of all of them.
TEST_F(DirtyLogTest, much_that_is_dirty_is_harvested_to_the_page)
{
    constexpr std::uint64_t kRun = 32'768;
    ASSERT_TRUE(log->cover(pages(0, 3 * kRun)));
    for (std::uint64_t const shift : {0U, 64U, 65U}) {
        mark(kRun - 100, 2 * kRun + 99);
        IovaRange const range = pages(kRun - shift, 2 * kRun);
        EXPECT_EQ(harvest(range).size(), kRun + shift + 1);
        EXPECT_EQ(harvest(range), Pages{});
        EXPECT_EQ(harvest(pages(0, 3 * kRun)).size(), 100 - shift + 99);
    }
}

TEST(DirtyWords, move_by_any_width_and_are_added_to_what_is_there)
{
    constexpr std::size_t kWords = 512;
    for (MoveWords const move : moves_of_words()) {
        std::mt19937_64 random{1};
        std::vector<std::uint64_t> from(kWords + 1), into(kWords + 1);
        for (std::size_t word = 0; word <= kWords; ++word) {
            from[word] = random();
            into[word] = random();
        }
        auto expected = into;
        for (std::size_t word = 0; word < kWords; ++word) expected[word] |= from[word];
        std::uint64_t const behind = from.back();
        move(from.data(), into.data(), kWords);
        EXPECT_EQ(into, expected);
        EXPECT_EQ(from.back(), behind);
        EXPECT_TRUE(std::all_of(from.begin(), from.end() - 1, [](auto word) { return word == 0; }));
    }
}

TEST_F(DirtyLogTest, random_marks_and_harvests_agree_with_a_set)
{
    std::uint64_t const seed = test::seed();
    SCOPED_TRACE("PINFOLD_SEED=" + std::to_string(seed));
    std::mt19937_64 random{seed};
    constexpr std::uint64_t kBase = 262'144 - 5'000;  // two blocks
    constexpr std::uint64_t kPages = 10'000;
    ASSERT_TRUE(log->cover(pages(kBase, kBase + kPages)));
    std::set<std::uint64_t> model;
    for (unsigned call = 0; call < 4'000; ++call) {
        std::uint64_t const first = kBase + random() % kPages;
        std::uint64_t const most = random() % 8 == 0 ? kPages : 20;
        std::uint64_t const last = std::min(kBase + kPages - 1, first + random() % most);
        if (random() % 3 != 0) {
            mark(first, std::min(last, first + 100));
            for (std::uint64_t page = first; page <= std::min(last, first + 100); ++page)
                model.insert(page);
            continue;
        }
        auto const from = model.lower_bound(first);
        auto const to = model.upper_bound(last);
        ASSERT_EQ(harvest(pages(first, last)), Pages(from, to));
        model.erase(from, to);
    }
}

TEST(DirtyDmaMap, only_what_is_written_while_a_log_is_kept_is_harvested)
{
    auto const map = DmaMap::create({}).value();
    auto const reader = map->add_reader(Reading::sections).value();
    alignas(4096) static std::array<std::byte, 8 * 4096> memory{};
    std::array<std::uint64_t, 1> bits{};
    IovaRange const range = pages(16, 23);
    ASSERT_TRUE(map->map(range.start, memory.data(), memory.size(), Prot::read_write));
    EXPECT_EQ(map->harvest(range, bits).error(), Errno::inval) << "there is no log";
    std::array<std::byte, 8> bytes{};
    ASSERT_TRUE(reader.write(range.start, bytes));
    ASSERT_TRUE(map->start_dirty_log());
    ASSERT_TRUE(map->start_dirty_log()) << "again is no error";
    ASSERT_TRUE(reader.write(range.start + 2 * kPageBytes - 4, bytes));
    ASSERT_TRUE(reader.read(range.start + 4 * kPageBytes, bytes));
    EXPECT_EQ(map->harvest({range.start + 1, range.last}, bits).error(), Errno::inval);
    EXPECT_EQ(map->harvest(range, {}).error(), Errno::inval);
    ASSERT_TRUE(map->harvest(range, bits));
    EXPECT_EQ(bits[0], 0b110U);
    ASSERT_TRUE(reader.write(range.start, bytes));
    EXPECT_EQ(map->unmap_all(), memory.size());
    bits = {};
    ASSERT_TRUE(map->harvest(range, bits));
    EXPECT_EQ(bits[0], 1U) << "what was written last is told after the unmap";
    map->stop_dirty_log();
    EXPECT_EQ(map->harvest(range, bits).error(), Errno::inval);
}

}  // namespace
}  // namespace pinfold::native
