#include "preload/bar_map.hpp"

#include <gtest/gtest.h>

#include <array>
#include <random>
#include <vector>

namespace pinfold::preload {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr auto kFile = uapi::FileId{7};

VaddrRange pages(std::uint64_t first, std::uint64_t count)
{
    return {Vaddr{first * kPage}, Vaddr{(first + count) * kPage - 1}};
}

BarRange bar(std::uint64_t first, std::uint64_t count, std::uint64_t offset,
             std::shared_ptr<BarHold> held = {})
{
    return {.vaddr = pages(first, count),
            .file = kFile,
            .offset = offset,
            .accessible = true,
            .writable = true,
            .device = nullptr,
            .paddr = Paddr{offset + 0x100000},
            .held = std::move(held)};
}

TEST(BarMap, finds_the_offset_of_an_address_in_a_mapping_and_nothing_beside_it)
{
    BarMap map;
    map.add(bar(10, 4, 0x2000));
    EXPECT_EQ(map.find(Vaddr{10 * kPage})->offset, 0x2000U);
    EXPECT_EQ(map.find(Vaddr{13 * kPage + 0xfff})->offset, 0x2000U + 3 * kPage + 0xfff);
    EXPECT_FALSE(map.find(Vaddr{10 * kPage - 1}));
    EXPECT_FALSE(map.find(Vaddr{14 * kPage}));
}

TEST(BarMap, a_mapping_with_its_middle_unmapped_keeps_both_ends_and_what_it_holds)
{
    BarMap map;
    unsigned let_go = 0;
    auto held = std::make_shared<BarHold>(kFile, [&](uapi::FileId file) {
        EXPECT_EQ(file, kFile);
        ++let_go;
    });
    map.add(bar(10, 5, 0, std::move(held)));
    map.remove(pages(12, 1));
    EXPECT_EQ(map.find(Vaddr{11 * kPage})->offset, kPage);
    EXPECT_FALSE(map.find(Vaddr{12 * kPage}));
    EXPECT_EQ(map.find(Vaddr{13 * kPage})->offset, 3 * kPage);
    map.remove(pages(0, 12));
    EXPECT_EQ(let_go, 0U);
    map.remove(pages(13, 100));
    EXPECT_EQ(let_go, 1U);
    EXPECT_TRUE(map.empty());
}

TEST(BarMap, in_a_child_mappings_are_of_the_files_that_it_knows_and_let_go_of_those)
{
    BarMap map;
    constexpr auto kNow = uapi::FileId{8};
    auto let_go = uapi::FileId::none;
    map.add(
        bar(10, 5, 0, std::make_shared<BarHold>(kFile, [&](uapi::FileId file) { let_go = file; })));
    map.rebind([&](uapi::FileId) { return kNow; });
    map.remove(pages(12, 1));
    EXPECT_EQ(map.holds(), std::vector{kNow});
    EXPECT_EQ(map.find(Vaddr{11 * kPage})->file, kNow);
    EXPECT_EQ(map.find(Vaddr{11 * kPage})->offset, kPage);
    map.remove(pages(10, 5));
    EXPECT_EQ(let_go, kNow);
}

TEST(BarMap, a_range_is_told_apart_into_bars_and_what_lies_between)
{
    BarMap map;
    map.add(bar(10, 2, 0x2000));
    map.add(bar(12, 1, 0));
    map.add(bar(14, 4, 0x8000));
    struct Expected {
        VaddrRange range;
        std::uint64_t paddr;  // 0: no BAR
    };
    auto const expect = [&](VaddrRange range, std::vector<Expected> const& expected) {
        auto const parts = map.parts(range);
        ASSERT_EQ(parts.size(), expected.size());
        for (std::size_t i = 0; i < parts.size(); ++i) {
            EXPECT_EQ(parts[i].range, expected[i].range) << i;
            EXPECT_EQ(parts[i].place ? parts[i].place->paddr.raw() : 0, expected[i].paddr) << i;
        }
    };
    expect(pages(9, 10), {{pages(9, 1), 0},
                          {pages(10, 2), 0x102000},
                          {pages(12, 1), 0x100000},
                          {pages(13, 1), 0},
                          {pages(14, 4), 0x108000},
                          {pages(18, 1), 0}});
    expect(pages(11, 1), {{pages(11, 1), 0x103000}});
    expect(pages(15, 2), {{pages(15, 2), 0x109000}});
    expect(pages(1, 3), {{pages(1, 3), 0}});
    expect(pages(30, 3), {{pages(30, 3), 0}});
    expect(pages(13, 1), {{pages(13, 1), 0}});
}

TEST(BarMap, a_moved_piece_is_found_at_its_new_place)
{
    BarMap map;
    map.add(bar(10, 4, 0));
    map.move(pages(11, 2), Vaddr{100 * kPage});
    EXPECT_EQ(map.find(Vaddr{101 * kPage})->offset, 2 * kPage);
    EXPECT_FALSE(map.find(Vaddr{11 * kPage}));
    EXPECT_TRUE(map.find(Vaddr{13 * kPage}));
}

TEST(BarMap, agrees_with_an_array_of_pages_under_random_maps_unmaps_and_moves)
{
    constexpr std::uint64_t kSpace = 32;
    auto const seed = std::random_device{}();
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random{seed};
    std::array<std::uint64_t, kSpace> model{};  // offset + 1, or 0
    BarMap map;
    for (int step = 0; step < 5000; ++step) {
        std::uint64_t const first = random() % kSpace;
        std::uint64_t const count = 1 + random() % (kSpace - first);
        map.remove(pages(first, count));
        for (std::uint64_t page = first; page < first + count; ++page) model[page] = 0;
        if (random() % 2 == 0) {
            std::uint64_t const offset = (random() % 64) * kPage;
            map.add(bar(first, count, offset));
            for (std::uint64_t i = 0; i < count; ++i) model[first + i] = offset + i * kPage + 1;
        }
        for (std::uint64_t page = 0; page < kSpace; ++page) {
            auto const found = map.find(Vaddr{page * kPage});
            ASSERT_EQ(found ? found->offset + 1 : 0, model[page])
                << "page " << page << " step " << step;
            ASSERT_EQ(map.overlaps(pages(page, 1)), model[page] != 0);
        }
    }
}

}  // namespace
}  // namespace pinfold::preload
