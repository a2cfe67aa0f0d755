// The index beside the slow model: all states of a tiny one, then random ones of any.
#include <gtest/gtest.h>

#include <random>

#include "native/model.hpp"
#include "support/seed.hpp"

namespace pinfold::native {
namespace {

constexpr std::uint64_t kTinyPages = 16;

// Both, and what was done to them.
template <class S>
class Pair {
public:
    explicit Pair(unsigned width = pinfold::native::width<S>())
        : index{BasicIndex<S>::create(width).value()}
    {
    }

    bool map(IovaRange range)
    {
        Entry const entry = leaf_of(range, ++number_);
        bool const expected = model.map(range, entry);
        if (expected) tags_[entry.raw()] = {};
        if (other_way()) {
            typename BasicIndex<S>::Tag const tag{number_ % 3 == 0 ? number_ : 0, number_};
            bool const done = index->map_pages(range, entry, tag) ||
                              (index->vacant(range) && index->insert(range, entry, tag));
            EXPECT_EQ(done, expected);
            if (done) tags_[entry.raw()] = tag;
            return expected;
        }
        auto const got = index->map(range, entry);
        EXPECT_EQ(got.has_value(), expected);
        EXPECT_TRUE(got || got.error() == Errno::addrinuse);
        return expected;
    }
    void unmap(IovaRange range)
    {
        auto const expected = model.unmap(range);
        if (other_way() && index->remove_pages(range)) {
            EXPECT_TRUE(expected.size() == 1 && expected[0].iova == range);
            return;
        }
        std::size_t shown = 0;
        std::uint64_t sum = 0;
        std::uint64_t const bytes = index->unmap(range, [&](Mapping const& gone) {
            EXPECT_TRUE(shown < expected.size() && same(gone, expected[shown]));
            sum += gone.iova.size();
            ++shown;
        });
        EXPECT_EQ(shown, expected.size());
        EXPECT_EQ(bytes, sum);
    }
    void cut(Iova at)
    {
        model.cut(at);
        EXPECT_TRUE(index->cut(at));
    }
    void clear()
    {
        while (!model.ranges().empty()) {
            auto const first = model.ranges().begin()->second;
            unmap(first.iova);
        }
        index->release();
    }
    void check(std::uint64_t count)
    {
        for (std::uint64_t page = 0; page < count; ++page) {
            Iova const at{page * kPageBytes + 5};
            if (!agree_at(*index, model, at)) FAIL() << "page " << page;
            auto const held = index->held_at(at);
            if (held && index->tag(*held) != tags_[held->mapping.entry.raw()])
                FAIL() << "the tag of page " << page;
        }
        EXPECT_EQ(index->mappings(), model.ranges().size());
        EXPECT_TRUE(agree_on_a_visit(*index, model, pages(calls_ % count, count - 1)));
    }

    std::unique_ptr<BasicIndex<S>> index;
    Model model;

private:
    // Every other time: that of mappings of few pages.
    bool other_way() { return ++calls_ % 2 == 0; }

    std::uint64_t calls_ = 0;
    std::uint64_t number_ = 0;
    std::map<std::uint64_t, typename BasicIndex<S>::Tag> tags_;  // by entry: no two are alike
};

template <class Visit>
void each_range(std::uint64_t count, Visit visit)
{
    for (std::uint64_t first = 0; first < count; ++first)
        for (std::uint64_t last = first; last < count; ++last) visit(pages(first, last));
}

TEST(IndexModel, any_two_mappings_of_a_tiny_index_cut_anywhere_and_unmapped_anywhere)
{
    Pair<TinyShape> pair;
    std::uint64_t const empty = pair.index->bytes_in_use();
    each_range(kTinyPages, [&](IovaRange one) {
        each_range(kTinyPages, [&](IovaRange other) {
            if (testing::Test::HasFailure()) return;
            for (std::uint64_t page = 1; page < kTinyPages; ++page) {
                ASSERT_TRUE(pair.map(one));
                if (!pair.map(other)) page = kTinyPages;  // once is enough
                pair.cut(Iova{(page % kTinyPages) * kPageBytes});
                pair.check(kTinyPages);
                pair.unmap(pages(page % kTinyPages, kTinyPages - 1));
                pair.check(kTinyPages);
                pair.clear();
            }
            EXPECT_EQ(pair.index->bytes_in_use(), empty) << "an emptied node stays";
        });
    });
}

TEST(IndexModel, any_three_mappings_of_a_tiny_index)
{
    Pair<TinyShape> pair;
    std::uint64_t states = 0;
    each_range(kTinyPages, [&](IovaRange one) {
        each_range(kTinyPages, [&](IovaRange other) {
            if (one.overlaps(other) || testing::Test::HasFailure()) return;
            ASSERT_TRUE(pair.map(one) && pair.map(other));
            each_range(kTinyPages, [&](IovaRange third) {
                if (pair.map(third)) {
                    ++states;
                    pair.check(kTinyPages);
                    pair.unmap(third);
                    pair.index->release();
                }
                if (!agree_on_the_first(*pair.index, pair.model, third) ||
                    !agree_on_a_visit(*pair.index, pair.model, third))
                    FAIL();
            });
            pair.check(kTinyPages);
            pair.clear();
        });
    });
    EXPECT_GT(states, 100'000U);
}

// Ranges reach beyond it.
TEST(IndexModel, any_two_mappings_of_a_tiny_index_of_one_window)
{
    constexpr std::uint64_t kWindowPages = kTinyPages / 2;
    Pair<TinyShape> pair{slot_lg2<TinyShape, 3>()};
    each_range(kWindowPages, [&](IovaRange one) {
        each_range(kWindowPages, [&](IovaRange other) {
            if (testing::Test::HasFailure()) return;
            ASSERT_TRUE(pair.map(one));
            pair.map(other);
            each_range(kTinyPages, [&](IovaRange asked) {
                EXPECT_TRUE(agree_on_a_visit(*pair.index, pair.model, asked));
            });
            pair.clear();
        });
    });
}

TEST(IndexModel, random_calls_on_a_small_index)
{
    std::uint64_t const seed = test::seed();
    SCOPED_TRACE("PINFOLD_SEED=" + std::to_string(seed));
    std::mt19937_64 random{seed};
    constexpr std::uint64_t kPages = 256;
    Pair<SmallShape> pair;
    for (unsigned call = 0; call < 200'000 && !testing::Test::HasFailure(); ++call) {
        std::uint64_t const first = random() % kPages;
        std::uint64_t const length = std::uint64_t{1} << (random() % 8);
        IovaRange const asked = pages(first, std::min(kPages - 1, first + random() % length));
        switch (random() % 8) {
            case 0:
            case 1:
            case 2: pair.map(asked); break;
            case 3: pair.unmap(asked); break;
            case 4: pair.cut(asked.start); break;
            case 5: pair.index->release(); break;
            default:
                if (auto const found = pair.model.first_in(asked)) pair.unmap(found->iova);
        }
        ASSERT_TRUE(agree_on_the_first(*pair.index, pair.model, asked));
        ASSERT_TRUE(agree_on_a_visit(*pair.index, pair.model, asked));
        if (call % 16 == 0) pair.check(kPages);
    }
    pair.check(kPages);
}

// Ends where tables and windows end, of the whole 64 bits.
class Edges {
public:
    explicit Edges(std::uint64_t seed) : random_{seed} {}

    std::uint64_t number(std::uint64_t below) { return random_() % below; }
    Iova page()
    {
        constexpr unsigned kBorders[] = {12, 21, 30, 39, 47, 48, 63};
        std::uint64_t const border = std::uint64_t{1} << kBorders[number(std::size(kBorders))];
        std::uint64_t const at = border * number(3) + number(5) * kPageBytes;
        return Iova{(number(2) == 0 ? at - 3 * kPageBytes : at) & ~(kPageBytes - 1)};
    }
    IovaRange range()
    {
        Iova const one = page();
        Iova const other = number(3) == 0 ? page() : Iova{one.raw() + number(600) * kPageBytes};
        return {std::min(one, other), Iova{std::max(one, other).raw() | (kPageBytes - 1)}};
    }

private:
    std::mt19937_64 random_;
};

// Of `width` bits; what is asked reaches beyond.
void make_random_calls(unsigned width)
{
    std::uint64_t const seed = test::seed();
    SCOPED_TRACE("PINFOLD_SEED=" + std::to_string(seed));
    Edges random{seed};
    Pair<FullShape> pair{width};
    IovaRange const space{Iova{0}, Iova{~std::uint64_t{0} >> (64 - width)}};
    auto const check = [&](IovaRange asked) {
        for (Iova const at : {asked.start, asked.last, Iova{asked.start.raw() - 1},
                              Iova{asked.last.raw() + 1}, random.page()})
            ASSERT_TRUE(agree_at(*pair.index, pair.model, at)) << std::hex << at.raw();
    };
    for (unsigned call = 0; call < 5'000 && !testing::Test::HasFailure(); ++call) {
        IovaRange const asked = random.range();
        auto const inside = asked.intersection(space);
        switch (random.number(8)) {
            case 0:
            case 1:
            case 2:
            case 3:
                if (inside) pair.map(*inside);
                break;
            case 4:
                if (inside) pair.cut(asked.start);
                break;
            case 5: pair.index->release(); break;
            default:
                if (auto const found = pair.model.first_in(asked)) pair.unmap(found->iova);
        }
        check(asked);
        if (inside) {
            ASSERT_TRUE(agree_on_the_first(*pair.index, pair.model, *inside));
        }
        ASSERT_TRUE(agree_on_a_visit(*pair.index, pair.model, asked));
    }
}

TEST(IndexModel, random_calls_at_the_edges_of_the_whole_address_space) { make_random_calls(64); }

TEST(IndexModel, random_calls_at_the_edges_of_one_window) { make_random_calls(48); }

// Every request for memory fails in its turn, and the same script runs over what was there.
TEST(IndexModel, a_call_that_finds_no_memory_changes_nothing)
{
    bool refused = true;
    for (std::uint64_t allowed = 0; refused; ++allowed) {
        FailingMemory memory{allowed};
        {
            auto made = Index::create(64, memory);
            ASSERT_EQ(made.has_value(), allowed >= 2);
            refused = memory.has_refused();
            if (!made) continue;
            Index& index = **made;
            Model model;
            Edges random{7};  // the same script each time
            for (unsigned call = 0; call < 3'000; ++call) {
                IovaRange const asked = random.range();
                Entry const entry = leaf_of(asked, call + 1);
                if (random.number(4) == 0) {
                    auto const cut = index.cut(asked.start);
                    ASSERT_TRUE(cut || cut.error() == Errno::nomem);
                    if (cut) model.cut(asked.start);
                } else if (auto const done = index.map(asked, entry)) {
                    ASSERT_TRUE(model.map(asked, entry));
                } else if (done.error() != Errno::nomem) {
                    ASSERT_EQ(done.error(), Errno::addrinuse);
                    ASSERT_FALSE(model.map(asked, entry));
                }
                ASSERT_TRUE(agree_at(index, model, asked.start));
                ASSERT_TRUE(agree_at(index, model, asked.last));
            }
            refused = memory.has_refused();
            EXPECT_EQ(index.mappings(), model.ranges().size());
            memory.allow(0);  // what goes away needs none
            while (!model.ranges().empty()) {
                auto const gone = model.ranges().begin()->second;
                model.unmap(gone.iova);
                index.remove(*index.held_at(gone.iova.start));
            }
            index.release();
            EXPECT_EQ(index.mappings(), 0U);
            EXPECT_EQ(index.bytes_in_use(), sizeof(std::uint64_t) * 512 + sizeof(Id) * 512);
        }
        EXPECT_EQ(memory.taken(), 0U);
    }
}

}  // namespace
}  // namespace pinfold::native
