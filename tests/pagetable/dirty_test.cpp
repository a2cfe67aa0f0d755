// What devices leave in the leaves of the formats that have a place for it.
#include <atomic>
#include <thread>

#include "pagetable/cases.hpp"

namespace pinfold::test {
namespace {

template <class C>
class EveryDirtyFormat : public testing::Test {
public:
    static constexpr bool kTracks = TracksDirty<typename C::Format>;
    static auto tracked()
    {
        auto shape = C::shape();
        shape.tracking = Tracking::on;
        return shape;
    }
};
TYPED_TEST_SUITE(EveryDirtyFormat, Cases);

std::vector<IovaRange> dirty(auto const& table, IovaRange range)
{
    std::vector<IovaRange> found;
    std::uint64_t const count =
        table.read_dirty(range, [&](IovaRange leaf) { found.push_back(leaf); });
    EXPECT_EQ(count, found.size());
    return found;
}
std::vector<IovaRange> clean(auto& table, IovaRange range, Removed& removed)
{
    std::vector<IovaRange> found;
    table.read_and_clear_dirty(range, [&](IovaRange leaf) { found.push_back(leaf); }, removed);
    return found;
}

TYPED_TEST(EveryDirtyFormat, a_write_is_seen_once_in_a_leaf_of_every_size)
{
    if constexpr (TestFixture::kTracks) {
        for_each_size(TypeParam::shape(), [&](unsigned level, PageSize size) {
            OneTable<TypeParam> bench{TestFixture::tracked()};
            if (size.lg2() >= std::min(bench.shape.paddr_bits, bench.shape.width)) return;
            auto& table = *bench.table;
            IovaRange const leaf{Iova{0}, Iova{size.mask()}};
            IovaRange const some{Iova{size.bytes() / 2}, Iova{size.bytes() / 2}};
            ASSERT_TRUE(bench.map(0, 0, size.bytes()));
            // Some formats are born dirty, where nothing else tells that a leaf can be written.
            (void)clean(table, leaf, bench.removed);
            bench.removed.flush = {};
            EXPECT_TRUE(table.access(Iova{0}, Access::read));
            EXPECT_TRUE(dirty(table, leaf).empty()) << size.lg2();

            // In the last of its words.
            auto const written = table.access(Iova{size.mask()}, Access::write);
            ASSERT_TRUE(written);
            EXPECT_EQ(written->prot, Prot::read_write);
            EXPECT_EQ(dirty(table, some), (std::vector{leaf})) << size.lg2();
            EXPECT_EQ(dirty(table, some), (std::vector{leaf}));
            EXPECT_EQ(clean(table, some, bench.removed), (std::vector{leaf}));
            EXPECT_EQ(bench.removed.flush.range, leaf);
            EXPECT_EQ(bench.removed.flush.leaf_levels, 1U << level);
            EXPECT_TRUE(dirty(table, leaf).empty());
            EXPECT_EQ(table.walk(Iova{0})->prot, Prot::read_write);
            EXPECT_EQ(bench.unmap(0, size.bytes()), size.bytes());
        });
    }
}

TYPED_TEST(EveryDirtyFormat, a_leaf_of_several_words_is_clean_in_each_of_them)
{
    if constexpr (TestFixture::kTracks) {
        using F = typename TypeParam::Format;
        for_each_size(TypeParam::shape(), [&](unsigned level, PageSize size) {
            OneTable<TypeParam> bench{TestFixture::tracked()};
            if (size.lg2() >= std::min(bench.shape.paddr_bits, bench.shape.width)) return;
            ASSERT_TRUE(bench.map(0, 0, size.bytes()));
            std::uint64_t const step = std::uint64_t{1} << slot_lg2<F>(level);
            auto const dirty_words = [&] {
                std::uint64_t words = 0;
                for (std::uint64_t iova = 0; iova < size.bytes(); iova += step)
                    words += F::dirty(bench.word(iova)) ? 1U : 0U;
                return words;
            };
            IovaRange const leaf{Iova{0}, Iova{size.mask()}};
            (void)clean(*bench.table, leaf, bench.removed);
            EXPECT_EQ(dirty_words(), 0U) << size.lg2();
            for (std::uint64_t const iova : {std::uint64_t{0}, size.mask()})
                EXPECT_TRUE(bench.table->access(Iova{iova}, Access::write));
            EXPECT_EQ(dirty_words(), size.bytes() == step ? 1U : 2U) << size.lg2();
            EXPECT_EQ(clean(*bench.table, leaf, bench.removed), (std::vector{leaf}));
            EXPECT_EQ(dirty_words(), 0U) << size.lg2();
        });
    }
}

TYPED_TEST(EveryDirtyFormat, only_what_was_written_is_dirty)
{
    if constexpr (TestFixture::kTracks) {
        OneTable<TypeParam> bench{TestFixture::tracked()};
        auto& table = *bench.table;
        std::uint64_t const page = bench.smallest().bytes();
        // Over an edge between tables, lined up with nothing larger.
        std::uint64_t const start =
            (std::uint64_t{1} << slot_lg2<typename TypeParam::Format>(1)) - 4 * page;
        ASSERT_TRUE(bench.map(start, page, 8 * page));
        IovaRange const all{Iova{0}, Iova{start + 16 * page}};
        (void)clean(table, all, bench.removed);
        EXPECT_TRUE(table.access(Iova{start + page}, Access::write));
        EXPECT_TRUE(table.access(Iova{start + 7 * page}, Access::write));
        auto const page_at = [&](std::uint64_t n) {
            return IovaRange{Iova{start + n * page}, Iova{start + n * page + page - 1}};
        };
        EXPECT_EQ(dirty(table, all), (std::vector{page_at(1), page_at(7)}));
        EXPECT_EQ(dirty(table, page_at(7)), (std::vector{page_at(7)}));
        EXPECT_TRUE(dirty(table, page_at(2)).empty());
        EXPECT_EQ(clean(table, page_at(1), bench.removed), (std::vector{page_at(1)}));
        EXPECT_EQ(dirty(table, all), (std::vector{page_at(7)}));
    }
}

TYPED_TEST(EveryDirtyFormat, what_is_refused_marks_nothing_and_without_tracking_nothing_is_marked)
{
    if constexpr (TestFixture::kTracks) {
        using F = typename TypeParam::Format;
        OneTable<TypeParam> tracked{TestFixture::tracked()};
        std::uint64_t const page = tracked.smallest().bytes();
        ASSERT_TRUE(tracked.map(0, 0, page, Prot::read));
        auto const before = tracked.word(0);
        EXPECT_EQ(tracked.table->access(Iova{0}, Access::write)->prot, Prot::read);
        EXPECT_EQ(tracked.word(0), before);
        EXPECT_FALSE(tracked.table->access(Iova{page}, Access::write));

        OneTable<TypeParam> plain;
        ASSERT_TRUE(plain.map(0, 0, page));
        auto const word = plain.word(0);
        EXPECT_EQ(word, F::make_leaf(Paddr{0}, 0, plain.smallest(),
                                     F::attributes({.prot = Prot::read_write})));
        EXPECT_TRUE(plain.table->access(Iova{0}, Access::write));
        EXPECT_EQ(plain.word(0), word);
    }
}

// A device, and one that reads and clears beside it: a write that no clearing met is there to see.
TEST(Dirty, no_write_is_lost_between_a_device_and_a_reader)
{
    using C = Case<ArmLpae<12>, 4, 48>;
    auto shape = C::shape();
    shape.tracking = Tracking::on;
    OneTable<C> bench{shape};
    constexpr IovaRange kLeaf{Iova{0}, Iova{0xffff}};  // of sixteen words
    ASSERT_TRUE(bench.map(0, 0, 0x10000));
    std::atomic<int> begun{0};
    std::atomic<int> ended{0};
    std::atomic<bool> done{false};
    std::jthread reader{[&] {
        Removed removed;
        while (!done.load()) {
            ++begun;
            (void)clean(*bench.table, kLeaf, removed);
            ++ended;
            std::this_thread::yield();
        }
    }};
    int undisturbed = 0;
    for (int i = 0; undisturbed < 200 && i < 2'000'000; ++i) {
        int const before = ended.load();
        (void)bench.table->access(Iova{static_cast<std::uint64_t>(i % 16) << 12}, Access::write);
        bool const seen = !dirty(*bench.table, kLeaf).empty();
        if (begun.load() != before) continue;
        ++undisturbed;
        ASSERT_TRUE(seen);
    }
    done = true;
    EXPECT_GT(undisturbed, 0);
}

// A device that follows its walk with a mark must not revive a leaf that is gone.
TEST(Dirty, a_device_never_marks_a_leaf_that_was_unmapped_meanwhile)
{
    using C = Case<Vtdss, 3, 39>;
    auto shape = C::shape();
    shape.tracking = Tracking::on;
    OneTable<C> bench{shape};
    std::atomic<bool> done{false};
    std::jthread device{[&] {
        while (!done.load()) (void)bench.table->access(Iova{0x5000}, Access::write);
    }};
    ASSERT_TRUE(bench.map(0x4000, 0x4000, 0x1000));  // keeps the table
    for (int i = 0; i < 5'000; ++i) {
        ASSERT_TRUE(bench.map(0x5000, 0x9000, 0x1000));
        ASSERT_EQ(bench.unmap(0x5000, 0x1000), 0x1000);
        ASSERT_EQ(bench.word(0x5000), 0);
    }
    done = true;
}

}  // namespace
}  // namespace pinfold::test
