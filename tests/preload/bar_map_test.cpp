#include "preload/bar_map.hpp"

#include <gtest/gtest.h>

#include <array>
#include <random>

namespace pinfold::preload {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr auto kFile = uapi::FileId{7};

VaddrRange pages(std::uint64_t first, std::uint64_t count)
{
    return {Vaddr{first * kPage}, Vaddr{(first + count) * kPage - 1}};
}

BarRange bar(std::uint64_t first, std::uint64_t count, std::uint64_t offset,
             std::shared_ptr<void> held = {})
{
    return {.vaddr = pages(first, count),
            .file = kFile,
            .offset = offset,
            .accessible = true,
            .writable = true,
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
    auto held = std::make_shared<int>(1);
    std::weak_ptr<int> const watch = held;
    map.add(bar(10, 5, 0, std::move(held)));
    map.remove(pages(12, 1));
    EXPECT_EQ(map.find(Vaddr{11 * kPage})->offset, kPage);
    EXPECT_FALSE(map.find(Vaddr{12 * kPage}));
    EXPECT_EQ(map.find(Vaddr{13 * kPage})->offset, 3 * kPage);
    EXPECT_FALSE(watch.expired());
    map.remove(pages(0, 12));
    EXPECT_FALSE(watch.expired());
    map.remove(pages(13, 100));
    EXPECT_TRUE(watch.expired());
    EXPECT_TRUE(map.empty());
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
