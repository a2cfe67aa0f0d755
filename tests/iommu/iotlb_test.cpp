#include "iommu/iotlb.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "base/read_section.hpp"
#include "support/single_step.hpp"

namespace pinfold::iommu {
namespace {

constexpr std::uint64_t kPage = 0x1000;
// Page 0 and pages this far apart from there share an entry.
constexpr std::uint64_t kSpan = (Iotlb::kEntries + 1) * kPage;

constexpr IovaRange range(std::uint64_t start, std::uint64_t size)
{
    return {Iova{start}, Iova{start + size - 1}};
}

using Written = Iotlb::Written;

// Of leaves that are not known.
Invalidation whole(IovaRange range) { return {range, {}, false}; }

void fill(Iotlb& iotlb, std::uint64_t iova, IovaRange leaf, std::uint64_t paddr,
          Prot prot = Prot::read_write)
{
    iotlb.fill(Iova{iova}, leaf, Paddr{paddr}, prot, Written::unasked, iotlb.generation());
}

TEST(Iotlb, keeps_what_it_is_given_for_that_page_only)
{
    Iotlb iotlb;
    EXPECT_FALSE(iotlb.lookup(Iova{0}));
    fill(iotlb, 0x5123, range(0x5000, kPage), 0x9000, Prot::read);
    auto const entry = iotlb.lookup(Iova{0x5678});
    ASSERT_TRUE(entry);
    EXPECT_EQ(entry->paddr, Paddr{0x9678});
    EXPECT_EQ(entry->size, kPage - 0x678);
    EXPECT_EQ(entry->prot, Prot::read);
    EXPECT_FALSE(iotlb.lookup(Iova{0x6000}));
    EXPECT_FALSE(iotlb.lookup(Iova{0x4fff}));
    EXPECT_FALSE(iotlb.lookup(Iova{0x5000 + kSpan}));
    EXPECT_EQ(iotlb.misses(), 1);
}

TEST(Iotlb, the_first_and_the_last_page_can_be_cached)
{
    Iotlb iotlb;
    std::uint64_t const top = ~std::uint64_t{0};
    fill(iotlb, 0, range(0, kPage), 0);
    fill(iotlb, top, range(top - kPage + 1, kPage), 0x3000);
    EXPECT_EQ(iotlb.lookup(Iova{0})->paddr, Paddr{0});
    EXPECT_EQ(iotlb.lookup(Iova{top})->paddr, Paddr{0x3fff});
    EXPECT_EQ(iotlb.lookup(Iova{top})->size, 1);
}

TEST(Iotlb, pages_at_strides_of_powers_of_two_do_not_share_entries)
{
    for (unsigned lg2 = 12; lg2 <= 30; ++lg2) {
        Iotlb iotlb;
        auto const page = [&](std::uint64_t i) { return range(i << lg2, kPage); };
        for (std::uint64_t i = 0; i < 64; ++i) fill(iotlb, i << lg2, page(i), i * kPage);
        unsigned found = 0;
        for (std::uint64_t i = 0; i < 64; ++i) found += iotlb.lookup(Iova{i << lg2}).has_value();
        EXPECT_EQ(found, 64U) << lg2;
    }
}

TEST(Iotlb, a_large_leaf_is_cached_by_block_and_says_how_far_it_goes)
{
    Iotlb iotlb;
    fill(iotlb, 0x603040, range(0x400000, 0x400000), 0x1000000, Prot::read);
    for (std::uint64_t const iova : {0x600000ULL, 0x603040ULL, 0x604000ULL, 0x7fffffULL}) {
        auto const entry = iotlb.lookup(Iova{iova});
        ASSERT_TRUE(entry) << iova;
        EXPECT_EQ(entry->paddr, Paddr{0x1000000 + iova - 0x400000});
        EXPECT_EQ(entry->size, 0x800000 - iova);
        EXPECT_EQ(entry->noted, entry->size);
        EXPECT_EQ(entry->prot, Prot::read);
    }
    EXPECT_FALSE(iotlb.lookup(Iova{0x5fffff}));
    EXPECT_FALSE(iotlb.lookup(Iova{0x800000}));
    EXPECT_FALSE(iotlb.lookup(Iova{0x600000 + Iotlb::kBlocks * 0x200000ULL}));
    iotlb.invalidate({range(0x5ff000, kPage), PageSizes{0x1000}, false});
    EXPECT_TRUE(iotlb.lookup(Iova{0x600000}));
    iotlb.invalidate({range(0x7ff000, kPage), PageSizes{0x400000}, false});
    EXPECT_FALSE(iotlb.lookup(Iova{0x600000}));
}

TEST(Iotlb, a_large_leaf_whose_writes_are_noted_is_cached_by_page)
{
    for (auto const written : {Written::no, Written::yes}) {
        Iotlb iotlb;
        iotlb.fill(Iova{0x203040}, range(0x200000, 0x200000), Paddr{0x800000}, Prot::read, written,
                   iotlb.generation());
        auto const entry = iotlb.lookup(Iova{0x203040});
        ASSERT_TRUE(entry);
        EXPECT_EQ(entry->paddr, Paddr{0x803040});
        EXPECT_EQ(entry->size, 0x400000 - 0x203040);
        EXPECT_FALSE(iotlb.lookup(Iova{0x204000}));
    }
}

TEST(Iotlb, a_leaf_that_does_not_hold_the_page_from_its_start_is_not_cached)
{
    Iotlb iotlb;
    fill(iotlb, 0x5800, range(0x5800, 0x800), 0x9000);
    EXPECT_FALSE(iotlb.lookup(Iova{0x5800}));
}

TEST(Iotlb, an_invalidation_takes_what_it_overlaps_and_nothing_else)
{
    Iotlb iotlb;
    fill(iotlb, 0x1000, range(0x1000, kPage), 0x1000);
    fill(iotlb, 0x2000, range(0x2000, kPage), 0x2000);
    fill(iotlb, 0x3000, range(0x3000, kPage), 0x3000);
    fill(iotlb, 0x200000, range(0x200000, 0x200000), 0);
    iotlb.invalidate(whole(range(0x2000, kPage)));
    EXPECT_TRUE(iotlb.lookup(Iova{0x1000}));
    EXPECT_FALSE(iotlb.lookup(Iova{0x2000}));
    EXPECT_TRUE(iotlb.lookup(Iova{0x3000}));
    iotlb.invalidate(whole(range(0x3ff000, kPage)));  // the end of the leaf cached at its start
    EXPECT_FALSE(iotlb.lookup(Iova{0x200000}));
    iotlb.invalidate_all();
    EXPECT_FALSE(iotlb.lookup(Iova{0x1000}));
    EXPECT_FALSE(iotlb.lookup(Iova{0x3000}));
}

TEST(Iotlb, an_invalidation_of_small_leaves_looks_at_their_pages_only_and_of_large_ones_at_all)
{
    Iotlb iotlb;
    // Cached at a page below the range, of a leaf that reaches into it.
    iotlb.fill(Iova{0x200000}, range(0x200000, 0x200000), Paddr{0}, Prot::read, Written::no,
               iotlb.generation());
    iotlb.invalidate({range(0x201000, kPage), PageSizes{k4K.bytes()}, false});
    EXPECT_TRUE(iotlb.lookup(Iova{0x200000}));
    iotlb.invalidate({range(0x201000, kPage), PageSizes{k4K.bytes() | k2M.bytes()}, false});
    EXPECT_FALSE(iotlb.lookup(Iova{0x200000}));

    // Every place of a range of fewer pages than there are entries, around the last entry.
    for (std::uint64_t pages = 1; pages <= Iotlb::kEntries + 2; pages += 51) {
        std::uint64_t const first = Iotlb::kEntries - 3;
        for (std::uint64_t page = first - 1; page <= first + pages; ++page) {
            Iotlb fresh;
            fill(fresh, page * kPage, range(page * kPage, kPage), 0);
            fresh.invalidate({range(first * kPage, pages * kPage), PageSizes{k4K.bytes()}, false});
            bool const outside = page < first || page >= first + pages;
            EXPECT_EQ(fresh.lookup(Iova{page * kPage}).has_value(), outside);
        }
    }
}

TEST(Iotlb, an_entry_tells_how_much_of_a_write_is_noted_already)
{
    Iotlb iotlb;
    auto const noted = [&](Written written) {
        iotlb.fill(Iova{0x200000}, range(0x200000, 0x200000), Paddr{0}, Prot::write, written,
                   iotlb.generation());
        return iotlb.lookup(Iova{0x200100})->noted;
    };
    EXPECT_EQ(noted(Written::no), 0);
    EXPECT_EQ(noted(Written::yes), kPage - 0x100);
    EXPECT_EQ(noted(Written::unasked), 0x200000 - 0x100);
}

TEST(Iotlb, a_fill_that_was_walked_before_an_invalidation_is_dropped)
{
    Iotlb iotlb;
    std::uint64_t const before = iotlb.generation();
    iotlb.invalidate(whole(range(0x8000, kPage)));
    iotlb.fill(Iova{0x5000}, range(0x5000, kPage), Paddr{0x9000}, Prot::read, Written::unasked,
               before);
    EXPECT_FALSE(iotlb.lookup(Iova{0x5000}));
}

#if !defined(__SANITIZE_THREAD__)

// Whoever keeps what a look-up found asks for the generation before it: at every point of an
// invalidation, what is still found there must be of a generation that is over at its end.
TEST(Iotlb, what_is_found_during_an_invalidation_is_of_no_generation_after_it)
{
    Iotlb iotlb;
    for (IovaRange const leaf : {range(0x5000, kPage), range(0x200000, 0x200000)}) {
        fill(iotlb, leaf.start.raw(), leaf, 0x800000);
        std::uint64_t const before = iotlb.generation();
        std::vector<std::uint64_t> found_in;
        test::single_step([&] { iotlb.invalidate({leaf, PageSizes{leaf.size()}, false}); },
                          [&](std::size_t) {
                              std::uint64_t const generation = iotlb.generation();
                              if (iotlb.lookup(leaf.start)) found_in.push_back(generation);
                              return test::Stepping::on;
                          });
        EXPECT_FALSE(iotlb.lookup(leaf.start));
        EXPECT_THAT(found_in, testing::Contains(testing::Gt(before)))
            << "nothing was ever found in between, which proves nothing";
        EXPECT_THAT(found_in, testing::Each(testing::Lt(iotlb.generation())));
    }
}

#endif

// Pages that share an entry, each with a paddr and rights that follow from its iova.
TEST(Iotlb, an_entry_is_never_torn)
{
    Iotlb iotlb;
    constexpr std::uint64_t kEnough = 100'000;
    std::atomic<std::uint64_t> torn{0};
    std::atomic<std::uint64_t> found{0};
    auto const prot_of = [](std::uint64_t i) { return static_cast<Prot>(1 + i % 3); };
    auto const size_of = [](std::uint64_t i) { return (1 + i % 5) * kPage; };
    auto reader = [&] {
        for (std::uint64_t i = 0; found < kEnough; i = (i + 1) % 7) {
            auto const entry = iotlb.lookup(Iova{i * kSpan});
            if (!entry) continue;
            ++found;
            if (entry->paddr.raw() != (i + 1) * 0x10000 || entry->prot != prot_of(i) ||
                entry->size != size_of(i))
                ++torn;
        }
    };
    auto filler = [&](std::uint64_t step) {
        for (std::uint64_t n = 0; found < kEnough; ++n) {
            std::uint64_t const i = n * step % 7;
            fill(iotlb, i * kSpan, range(i * kSpan, size_of(i)), (i + 1) * 0x10000, prot_of(i));
            if (n % 64 == 0) iotlb.invalidate(whole(range(i * kSpan, kPage)));
        }
    };
    std::thread reading{reader};
    std::thread one{filler, 1};
    std::thread other{filler, 3};
    one.join();
    other.join();
    reading.join();
    EXPECT_EQ(torn, 0);
}

// What a fill brings is the value as it was after generation(). Once an invalidation has returned
// and the fills under way have ended, no older value may be found.
TEST(Iotlb, a_fill_beside_an_invalidation_leaves_nothing_old)
{
    Iotlb iotlb;
    std::atomic<std::uint64_t> value{1};
    std::atomic<bool> stop{false};
    std::atomic<std::uint64_t> sections{0};
    auto filler = [&] {
        for (; !stop; ++sections) {
            ReadSection const section;
            std::uint64_t const generation = iotlb.generation();
            std::uint64_t const now = value;
            // In turns with a page that shares the entry, so that it is not always there to remove.
            for (std::uint64_t i = 0; i < 20; ++i) {
                std::uint64_t const iova = i % 2 * kSpan;
                iotlb.fill(Iova{iova}, range(iova, kPage), Paddr{now * kPage}, Prot::read,
                           Written::unasked, generation);
            }
        }
    };
    std::thread one{filler};
    std::thread other{filler};
    std::uint64_t old = 0;
    auto const deadline = std::chrono::steady_clock::now() + std::chrono::seconds{3};
    for (int round = 0; round < 5'000 && std::chrono::steady_clock::now() < deadline; ++round) {
        std::uint64_t const before = sections;
        while (sections == before) {
        }  // until the fillers are at it
        std::uint64_t const now = ++value;
        iotlb.invalidate(whole(range(0, kPage)));
        wait_for_readers();
        auto const entry = iotlb.lookup(Iova{0});
        if (entry && entry->paddr.raw() != now * kPage) ++old;
    }
    stop = true;
    one.join();
    other.join();
    EXPECT_EQ(old, 0);
}

}  // namespace
}  // namespace pinfold::iommu
