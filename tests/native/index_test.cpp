#include "native/index.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>

namespace pinfold::native {
namespace {

constexpr IovaRange range(std::uint64_t start, std::uint64_t last)
{
    return {Iova{start}, Iova{last}};
}

TEST(Index, an_entry_is_found_by_each_of_its_addresses_and_by_no_other)
{
    Index index;
    ASSERT_TRUE(index.map(range(0x1000, 0x3fff), Paddr{0x9000}, Prot::read));
    EXPECT_FALSE(index.find(Iova{0xfff}));
    EXPECT_FALSE(index.find(Iova{0x4000}));
    for (std::uint64_t const iova : {0x1000ULL, 0x2345ULL, 0x3fffULL}) {
        auto const entry = index.find(Iova{iova});
        ASSERT_TRUE(entry);
        EXPECT_EQ(entry->iova, range(0x1000, 0x3fff));
        EXPECT_EQ(entry->paddr, Paddr{0x9000});
        EXPECT_EQ(entry->prot, Prot::read);
    }
}

TEST(Index, an_overlap_from_any_side_is_EADDRINUSE)
{
    Index index;
    ASSERT_TRUE(index.map(range(0x1000, 0x3fff), Paddr{0x9000}, Prot::read));
    for (auto const other : {range(0x3fff, 0x4fff), range(0, 0x1000), range(0x2000, 0x2fff),
                             range(0, 0x8000), range(0x1000, 0x3fff)})
        EXPECT_EQ(index.map(other, Paddr{0}, Prot::read), fail(Errno::addrinuse));
    EXPECT_TRUE(index.map(range(0x4000, 0x4fff), Paddr{0}, Prot::read));
    EXPECT_TRUE(index.map(range(0, 0xfff), Paddr{0}, Prot::read));
}

TEST(Index, entries_go_as_wholes_up_to_the_first_hole)
{
    Index index;
    ASSERT_TRUE(index.map(range(0x1000, 0x1fff), Paddr{0}, Prot::read));
    ASSERT_TRUE(index.map(range(0x2000, 0x4fff), Paddr{0}, Prot::read));
    ASSERT_TRUE(index.map(range(0x6000, 0x6fff), Paddr{0}, Prot::read));
    EXPECT_EQ(index.unmap(range(0x3000, 0x3fff)), 0);
    EXPECT_EQ(index.unmap(range(0x5000, 0x7fff)), 0);
    EXPECT_EQ(index.unmap(range(0x1000, 0x2fff)), 0x4000);  // the second reaches beyond
    EXPECT_EQ(index.unmap(range(0x6000, 0x8fff)), 0x1000);
    EXPECT_EQ(index.sizes(), (std::array<std::uint64_t, 64>{}));
}

TEST(Index, the_last_byte_of_the_address_space_belongs_to_it)
{
    Index index;
    std::uint64_t const top = ~std::uint64_t{0};
    ASSERT_TRUE(index.map(range(top - 0xfff, top), Paddr{0x5000}, Prot::write));
    EXPECT_EQ(index.find(Iova{top})->paddr, Paddr{0x5000});
    EXPECT_EQ(index.map(range(top, top), Paddr{0}, Prot::write), fail(Errno::addrinuse));
    EXPECT_EQ(index.unmap(range(top - 0xfff, top)), 0x1000);
}

TEST(Index, entries_are_counted_by_size_rounded_down)
{
    Index index;
    ASSERT_TRUE(index.map(range(0x1000, 0x1fff), Paddr{0}, Prot::read));
    ASSERT_TRUE(index.map(range(0x2000, 0x4fff), Paddr{0}, Prot::read));
    EXPECT_EQ(index.sizes()[12], 1);
    EXPECT_EQ(index.sizes()[13], 1);
    EXPECT_GT(index.bytes(), 0);
}

TEST(Index, random_calls_agree_with_a_list_of_pages)
{
    std::uint64_t const seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random{seed};
    constexpr std::uint64_t kPages = 64;
    std::array<std::uint64_t, kPages> owner{};  // 0: free; else the number of the map call
    Index index;
    for (std::uint64_t call = 1; call < 20'000; ++call) {
        std::uint64_t const first = random() % kPages;
        std::uint64_t const last = std::min(kPages - 1, first + random() % 8);
        IovaRange const asked = range(first << 12, (last << 12) | 0xfff);
        if (random() % 2 == 0) {
            bool const free = std::all_of(&owner[first], &owner[last] + 1,
                                          [](std::uint64_t page) { return page == 0; });
            ASSERT_EQ(index.map(asked, Paddr{call << 12}, Prot::read).has_value(), free);
            if (free) std::fill(&owner[first], &owner[last] + 1, call);
        } else {
            std::uint64_t gone = 0;
            bool const inside = first > 0 && owner[first] == owner[first - 1];
            for (std::uint64_t page = first; page < kPages && owner[page] != 0 && !inside;) {
                std::uint64_t const call_here = owner[page];
                if (page > last) break;
                for (; page < kPages && owner[page] == call_here; ++page, gone += 0x1000)
                    owner[page] = 0;
            }
            ASSERT_EQ(index.unmap(asked), gone);
        }
        std::uint64_t const probe = random() % kPages;
        auto const entry = index.find(Iova{probe << 12});
        ASSERT_EQ(entry.has_value(), owner[probe] != 0);
        ASSERT_EQ(entry ? entry->paddr.raw() >> 12 : 0, owner[probe]);
    }
}

TEST(Index, readers_beside_a_writer_see_whole_entries)
{
    Index index;
    std::atomic<bool> stop{false};
    std::atomic<std::uint64_t> torn{0};
    std::thread reader{[&] {
        while (!stop) {
            auto const entry = index.find(Iova{0x1800});
            if (entry && entry->paddr.raw() != entry->iova.size()) ++torn;
        }
    }};
    for (int i = 0; i < 20'000; ++i) {
        std::uint64_t const pages = 1 + static_cast<std::uint64_t>(i) % 3;
        IovaRange const here = range(0x1000, 0xfff + pages * 0x1000);
        EXPECT_TRUE(index.map(here, Paddr{here.size()}, Prot::read));
        EXPECT_EQ(index.unmap(here), here.size());
    }
    stop = true;
    reader.join();
    EXPECT_EQ(torn, 0);
}

}  // namespace
}  // namespace pinfold::native
