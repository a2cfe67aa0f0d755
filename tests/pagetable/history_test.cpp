// Every instant: a memory that looks at the whole table after each store of a word. What is
// translated is what was before a call or what is after it, never a third thing.
#include <gtest/gtest.h>

#include <functional>

#include "pagetable/radix_core.hpp"
#include "pagetable/table_memory.hpp"
#include "pagetable/test_formats.hpp"

namespace pinfold::test {
namespace {

using namespace pagetable;

// The one who looks. Tables that nobody sees yet are stored to as well: that shows as no change.
std::function<void()> after_each_store;

struct WatchedWords : Words {
    template <class W>
    static void store(W& slot, W word)
    {
        Words::store(slot, word);
        if (after_each_store) after_each_store();
    }
    template <class W>
    static bool replace(W& slot, W& expected, W word)
    {
        bool const done = Words::replace(slot, expected, word);
        if (after_each_store) after_each_store();
        return done;
    }
    template <class W>
    static void fill(W* slots, std::uint64_t count, W first, W step)
    {
        for (std::uint64_t i = 0; i < count; ++i) store(slots[i], static_cast<W>(first + i * step));
    }
};
using Watched = Radix<Tiny, TableMemory, WatchedWords>;

constexpr std::uint64_t kPage = 16;
constexpr std::uint64_t kPages = 64;

// Where each page leads, and how: 0 for nowhere.
using View = std::array<std::uint64_t, kPages>;
View view_of(Watched const& table)
{
    View view{};
    for (std::uint64_t page = 0; page < kPages; ++page)
        if (auto const leaf = table.walk(Iova{page * kPage + 7}))
            view[page] = (leaf->paddr.raw() + page * kPage - leaf->iova.start.raw()) << 2 |
                         static_cast<std::uint64_t>(leaf->prot);
    return view;
}

class History : public testing::Test {
public:
    History()
        : memory{TableMemory::create(PageSize::lg2_of(5), TableMemory::kUnlimited).value()},
          table{*memory, shape()}
    {
    }
    ~History() override { after_each_store = nullptr; }
    static Shape<Tiny> shape()
    {
        auto shape = Shape<Tiny>::fixed(3, PageSizes{16 | 32 | 64 | 256});
        shape.overmap = Overmap::replaces;
        shape.partial = Partial::splits;
        return shape;
    }

    // Runs a call that may only turn `before` into what it leaves, page by page.
    template <class Call>
    void watch(Call call)
    {
        View const before = view_of(table);
        std::vector<View> instants;
        after_each_store = [&] { instants.push_back(view_of(table)); };
        call();
        after_each_store = nullptr;
        View const after = view_of(table);
        for (View const& instant : instants)
            for (std::uint64_t page = 0; page < kPages; ++page)
                ASSERT_TRUE(instant[page] == before[page] || instant[page] == after[page])
                    << "page " << page;
        looked += instants.size();
        table.release(removed);
    }

    void map(std::uint64_t page, std::uint64_t pages, std::uint64_t offset = 0)
    {
        std::uint64_t mapped = 0;
        EXPECT_TRUE(table.map(Iova{page * kPage}, Paddr{(page + offset) * kPage}, pages * kPage,
                              {.prot = Prot::read}, mapped, removed));
    }
    void unmap(std::uint64_t page, std::uint64_t pages)
    {
        table.unmap(Iova{page * kPage}, pages * kPage, removed);
    }

    std::shared_ptr<TableMemory> memory;
    Watched table;
    Removed removed;
    std::size_t looked = 0;
};

TEST_F(History, of_maps_unmaps_splits_and_joins_of_every_range_is_old_or_new)
{
    for (std::uint64_t start = 0; start < kPages; start += 1)
        for (std::uint64_t size = 1; start + size <= kPages; size += size < 9 ? 1 : 5) {
            watch([&] { map(start, size); });
            watch([&] { EXPECT_TRUE(table.split(Iova{(start + size / 2) * kPage}, removed)); });
            watch([&] { table.join({Iova{0}, Iova{kPages * kPage - 1}}, removed); });
            watch([&] { unmap(start + size / 3, 1 + size / 2); });
            watch([&] { unmap(0, kPages); });
            watch([&] { unmap(start, size); });
            std::uint64_t const rest = start + size / 3 + 1 + size / 2;
            watch([&] { unmap(rest, rest < kPages ? kPages - rest : 1); });
            ASSERT_EQ(view_of(table), View{});
        }
    EXPECT_GT(looked, 10'000);
}

// A leaf goes where an empty table is, and a table where a leaf of several slots was.
TEST_F(History, of_tables_that_make_room_is_old_or_new)
{
    for (std::uint64_t page = 0; page < 16; ++page) map(page, 1, 64);
    for (std::uint64_t page = 0; page < 16; ++page) unmap(page, 1);
    watch([&] { map(0, 16); });
    EXPECT_EQ(table.leaves()[8], 1);
    watch([&] { EXPECT_TRUE(table.split(Iova{5 * kPage}, removed)); });
    EXPECT_EQ(table.leaves()[8], 0);
    EXPECT_GT(looked, 3);
}

// That this can fail: a table that is seen before it is filled is a third thing.
TEST_F(History, of_a_leaf_that_goes_before_its_pieces_come_would_be_noticed)
{
    map(0, 16);
    View const before = view_of(table);
    bool third = false;
    after_each_store = [&] {
        View const now = view_of(table);
        third = third || now[0] != before[0];
    };
    unmap(0, 16);
    map(0, 4);
    map(4, 12);
    after_each_store = nullptr;
    EXPECT_EQ(view_of(table), before);
    EXPECT_TRUE(third);
}

}  // namespace
}  // namespace pinfold::test
