// Every map followed by every unmap that touches it on the tiny format, against the slow model.
#include <gtest/gtest.h>

#include "pagetable/leaf_model.hpp"
#include "pagetable/radix.hpp"
#include "pagetable/test_formats.hpp"

namespace pinfold::pagetable {
namespace {

constexpr std::uint64_t kGranule = 16;
constexpr std::uint64_t kGranules = 64;
constexpr std::uint64_t kLast = kGranule * kGranules - 1;
constexpr PageSizes kAllSizes{16 | 32 | 64 | 256};

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::uint64_t kStride = 11;
#else
constexpr std::uint64_t kStride = 1;
#endif

std::shared_ptr<TableMemory> tiny_memory()
{
    return TableMemory::create(PageSize::lg2_of(5), TableMemory::kUnlimited).value();
}

struct Span {
    std::uint64_t start;
    std::uint64_t size;

    bool touches(Span other) const
    {
        return start <= other.start + other.size && other.start <= start + size;
    }
};

std::vector<Span> every_range()
{
    std::vector<Span> ranges;
    for (std::uint64_t start = 0; start < kGranules; ++start)
        for (std::uint64_t size = 1; start + size <= kGranules; ++size)
            ranges.push_back({start * kGranule, size * kGranule});
    return ranges;
}

// Whether each granule is translated as the model says; a failure names the first that is not.
testing::AssertionResult same(RadixTable<Tiny> const& table, test::LeafModel const& model)
{
    for (std::uint64_t iova = 5; iova <= kLast; iova += kGranule) {
        auto const leaf = table.walk(Iova{iova});
        auto const expected = model.find(iova);
        bool const mapped = expected != model.leaves().end();
        if (!leaf && !mapped) continue;
        if (leaf && mapped && leaf->iova.start.raw() == expected->first &&
            leaf->iova.size() == expected->second.bytes &&
            leaf->paddr.raw() == expected->second.paddr && leaf->prot == expected->second.prot)
            continue;
        return testing::AssertionFailure() << "differs at " << iova;
    }
    return testing::AssertionSuccess();
}

struct Case {
    std::uint64_t sizes;
    std::uint64_t paddr_offset;
    unsigned levels = 3;
    Partial partial = Partial::takes_all;
    std::uint64_t stride = 1;  // of the unmaps: prime, so that all starts and sizes occur
};

class EveryMap : public testing::TestWithParam<Case> {};

TEST_P(EveryMap, followed_by_every_unmap_does_what_the_model_does)
{
    auto const [sizes, paddr_offset, levels, partial, stride] = GetParam();
    std::uint64_t const step = std::max(stride, kStride);
    Shape<Tiny> const shape{
        .levels = levels, .width = 10, .page_sizes = PageSizes{sizes}, .partial = partial};
    auto const memory = tiny_memory();
    auto const ranges = every_range();
    std::uint64_t unmap_number = 0;
    for (auto const map : ranges) {
        for (std::size_t i = unmap_number++ % step; i < ranges.size(); i += step) {
            if (!map.touches(ranges[i])) continue;
            auto table = RadixTable<Tiny>::create(memory, shape).value();
            test::LeafModel model{PageSizes{sizes}, kLast, partial};
            std::uint64_t const paddr = 0x10000 + map.start + paddr_offset;
            std::uint64_t mapped = 0;
            std::uint64_t expected = 0;
            auto const done = table->map(Iova{map.start}, Paddr{paddr}, map.size, Prot::write,
                                         Snoop::as_asked, mapped);
            ASSERT_EQ(done, model.map(map.start, paddr, map.size, Prot::write, expected));
            ASSERT_EQ(mapped, expected);
            auto const [start, size] = ranges[i];
            ASSERT_EQ(table->unmap(Iova{start}, size), model.unmap(start, size))
                << "map " << map.start << "+" << map.size << ", unmap " << start << "+" << size;
            ASSERT_TRUE(same(*table, model))
                << "map " << map.start << "+" << map.size << ", unmap " << start << "+" << size;
        }
    }
    EXPECT_EQ(memory->pages_in_use(), 0);
}

// Lined up with the paddr, 16 bytes off (no larger size ever fits), and 64 off; a table that grows;
// the other two ways to unmap part of a leaf.
INSTANTIATE_TEST_SUITE_P(
    Tiny, EveryMap,
    testing::Values(
        Case{kAllSizes.bitmap(), 0}, Case{kAllSizes.bitmap(), 64}, Case{16 | 256, 0},
        Case{.sizes = 16 | 32 | 64, .paddr_offset = 0, .levels = 2, .stride = 5},
        Case{.sizes = 16 | 64 | 256, .paddr_offset = 0, .partial = Partial::splits, .stride = 3},
        Case{.sizes = kAllSizes.bitmap(),
             .paddr_offset = 0,
             .partial = Partial::refuses,
             .stride = 5}));

// With a mapping of each size and place in the way.
TEST(EveryMapOverMap, is_refused_or_done_as_the_model_says)
{
    auto const memory = tiny_memory();
    auto const ranges = every_range();
    std::uint64_t first_number = 0;
    for (auto const first : ranges) {
        for (std::size_t i = first_number++ % kStride; i < ranges.size(); i += kStride) {
            if (!first.touches(ranges[i])) continue;
            auto table = RadixTable<Tiny>::create(memory, Shape<Tiny>::fixed(3, kAllSizes)).value();
            test::LeafModel model{kAllSizes, kLast};
            auto map = [&](Span range, std::uint64_t paddr) {
                std::uint64_t mapped = 0;
                std::uint64_t expected = 0;
                auto const done = table->map(Iova{range.start}, Paddr{paddr}, range.size,
                                             Prot::read, Snoop::as_asked, mapped);
                ASSERT_EQ(done, model.map(range.start, paddr, range.size, Prot::read, expected));
                ASSERT_EQ(mapped, expected);
            };
            ASSERT_NO_FATAL_FAILURE(map(first, first.start));
            ASSERT_NO_FATAL_FAILURE(map(ranges[i], ranges[i].start + 0x1000));
            ASSERT_TRUE(same(*table, model)) << first.start << "+" << first.size << ", then "
                                             << ranges[i].start << "+" << ranges[i].size;
        }
    }
    EXPECT_EQ(memory->pages_in_use(), 0);
}

// Mapping small pieces, removing them one by one (which leaves empty tables), and mapping again in
// one piece must find those tables out of the way.
TEST(EveryRange, maps_over_the_empty_tables_that_single_unmaps_leave)
{
    auto const memory = tiny_memory();
    for (auto const [start, size] : every_range()) {
        auto table = RadixTable<Tiny>::create(memory, Shape<Tiny>::fixed(3, kAllSizes)).value();
        std::uint64_t mapped = 0;
        for (std::uint64_t at = 0; at <= kLast; at += kGranule)
            ASSERT_TRUE(table->map(Iova{at}, Paddr{at + kGranule}, kGranule, Prot::read,
                                   Snoop::as_asked, mapped));
        for (std::uint64_t at = 0; at <= kLast; at += kGranule)
            ASSERT_EQ(table->unmap(Iova{at}, kGranule), kGranule);
        ASSERT_EQ(table->tables(), 1 + 4 + 16);

        test::LeafModel model{kAllSizes, kLast};
        std::uint64_t expected = 0;
        ASSERT_TRUE(model.map(start, start, size, Prot::read, expected));
        ASSERT_TRUE(
            table->map(Iova{start}, Paddr{start}, size, Prot::read, Snoop::as_asked, mapped));
        ASSERT_TRUE(same(*table, model)) << start << "+" << size;

        ASSERT_EQ(table->tables(), 1 + 4 + 16);  // retired, not yet released
        std::uint64_t covered = 0;
        for (auto const& [iova, leaf] : model.leaves())
            covered += leaf.bytes == 256 ? 5 : leaf.bytes == 64 ? 1 : 0;
        table->release_tables();
        ASSERT_EQ(table->tables(), 1 + 4 + 16 - covered);
    }
    EXPECT_EQ(memory->pages_in_use(), 0);
}

}  // namespace
}  // namespace pinfold::pagetable
