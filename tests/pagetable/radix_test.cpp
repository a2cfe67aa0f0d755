#include "pagetable/radix.hpp"

#include <gtest/gtest.h>

#include "pagetable/amdv1.hpp"
#include "pagetable/test_formats.hpp"
#include "pagetable/vtdss.hpp"
#include "support/raw_walk.hpp"

namespace pinfold::pagetable {
namespace {

constexpr std::uint64_t kPage = 0x1000;
constexpr std::uint64_t k2MBytes = 0x200000;
constexpr std::uint64_t k1GBytes = 0x40000000;
constexpr PageSizes kAllSizes{kPage | k2MBytes | k1GBytes};

template <PageTableFormat F>
struct Bench {
    explicit Bench(unsigned levels, PageSizes sizes = kAllSizes)
        : Bench{Shape<F>::fixed(levels, sizes)}
    {
    }
    explicit Bench(Shape<F> const& shape)
        : memory{TableMemory::create(PageSize::lg2_of(F::kSlotsLg2 + 3), TableMemory::kUnlimited)
                     .value()},
          table{RadixTable<F>::create(memory, shape).value()}
    {
    }

    Result<> map(std::uint64_t iova, std::uint64_t paddr, std::uint64_t size,
                 Prot prot = Prot::read_write)
    {
        return table->map(Iova{iova}, Paddr{paddr}, size, prot, Snoop::as_asked, mapped);
    }
    std::uint64_t unmap(std::uint64_t iova, std::uint64_t size)
    {
        return table->unmap(Iova{iova}, size);
    }
    test::RawTree raw() const { return test::raw_walk(table->root().raw(), table->levels()); }
    std::uint64_t& word(std::uint64_t iova)
    {
        return test::raw_word(table->root().raw(), table->levels(), iova);
    }

    std::shared_ptr<TableMemory> memory;
    std::unique_ptr<RadixTable<F>> table;
    std::uint64_t mapped = 0;
};
using Vtd = Bench<Vtdss>;

TEST(Radix, a_mapping_is_cut_into_the_largest_leaves_that_fit)
{
    Vtd bench{3};
    ASSERT_TRUE(bench.map(0x1ff000, 0x401ff000, 0x402000));
    auto const leaves = bench.raw().leaves;
    ASSERT_EQ(leaves.size(), 4);
    EXPECT_EQ(leaves[0], (test::RawLeaf{0x1ff000, kPage, 0x401ff000, 3}));
    EXPECT_EQ(leaves[1], (test::RawLeaf{0x200000, k2MBytes, 0x40200000, 3}));
    EXPECT_EQ(leaves[2], (test::RawLeaf{0x400000, k2MBytes, 0x40400000, 3}));
    EXPECT_EQ(leaves[3], (test::RawLeaf{0x600000, kPage, 0x40600000, 3}));
    EXPECT_EQ(bench.table->leaves()[12], 2);
    EXPECT_EQ(bench.table->leaves()[21], 2);
}

// The table that it was in has gone, with the table above it.
TEST(Radix, a_page_goes_where_its_table_is_now)
{
    Vtd bench{4};
    ASSERT_TRUE(bench.map(0, 0x7000, kPage));
    EXPECT_EQ(bench.unmap(0, kPage), kPage);
    ASSERT_TRUE(bench.map(0, k1GBytes, k1GBytes));
    EXPECT_EQ(bench.unmap(0, k1GBytes), k1GBytes);
    ASSERT_TRUE(bench.map(0, 0x8000, kPage));
    EXPECT_EQ(bench.raw().leaves, (std::vector{test::RawLeaf{0, kPage, 0x8000, 3}}));
    EXPECT_EQ(bench.unmap(0, kPage), kPage);
    EXPECT_TRUE(bench.raw().leaves.empty());
}

// Of two trees on one memory, one has the table now that the other had for the same place.
TEST(Radix, a_page_does_not_go_into_a_table_of_another_tree)
{
    Vtd bench{3};
    auto other = RadixTable<Vtdss>::create(bench.memory, Shape<Vtdss>::fixed(3, kAllSizes)).value();
    auto const map_in_other = [&](std::uint64_t iova) {
        std::uint64_t mapped = 0;
        ASSERT_TRUE(
            other->map(Iova{iova}, Paddr{0x9000}, kPage, Prot::read, Snoop::as_asked, mapped));
    };
    map_in_other(k2MBytes);
    ASSERT_TRUE(bench.map(0, 0x7000, k2MBytes - kPage));
    ASSERT_TRUE(bench.map(k2MBytes - kPage, 0x7000, kPage));
    EXPECT_EQ(bench.unmap(0, k2MBytes), k2MBytes);
    bench.table->release_tables();
    std::uint64_t const pages = bench.memory->used().size();
    map_in_other(0);
    EXPECT_EQ(bench.memory->used().size(), pages) << "it has taken the free one";
    ASSERT_TRUE(bench.map(kPage, 0x8000, kPage));
    EXPECT_FALSE(other->walk(Iova{kPage}));
    EXPECT_EQ(bench.raw().leaves, (std::vector{test::RawLeaf{kPage, kPage, 0x8000, 3}}));
}

// By its number's low bits a place is the same for both.
TEST(TableMarks, a_table_is_at_a_place_of_its_owner_only_and_once_it_has_settled)
{
    TableMarks<21> const one{5};
    for (std::uint64_t const number : {6ULL, 5ULL + (1ULL << 17), 5ULL + (1ULL << 40)}) {
        TableMarks<21> const other{number};
        TableInfo info;
        one.mark(info, 0);
        EXPECT_FALSE(one.is_at(info, k2MBytes)) << "it is not in the tree yet";
        one.settle(info, k2MBytes);
        EXPECT_TRUE(one.is_at(info, k2MBytes) && one.is_at(info, 2 * k2MBytes - 1));
        EXPECT_FALSE(one.is_at(info, 0) || one.is_at(info, 2 * k2MBytes));
        EXPECT_FALSE(other.is_at(info, k2MBytes)) << number;
        TableMarks<21>::set_uniform(info, 12, Paddr{0x7000});
        EXPECT_FALSE(one.is_at(info, k2MBytes));
        one.changes(info, k2MBytes + kPage);
        EXPECT_TRUE(one.is_at(info, k2MBytes));
        TableMarks<21>::retire(info);
        EXPECT_FALSE(one.is_at(info, k2MBytes));
        other.mark(info, 0);
        other.settle(info, k2MBytes);
        EXPECT_FALSE(one.is_at(info, k2MBytes)) << number;
        EXPECT_TRUE(other.is_at(info, k2MBytes));
    }
}

// The words above are not looked at again: one that was changed behind the engine's back is no
// hindrance.
TEST(Radix, a_page_goes_where_the_page_before_it_went)
{
    Vtd bench{2};
    ASSERT_TRUE(bench.map(0, 0x7000, kPage));
    ASSERT_TRUE(bench.map(kPage, 0x9000, kPage));
    std::uint64_t& above = *static_cast<std::uint64_t*>(bench.memory->words(bench.table->root()));
    std::uint64_t const table = std::exchange(above, 0);
    ASSERT_TRUE(bench.map(2 * kPage, 0x5000, kPage));
    EXPECT_EQ(above, 0) << "no second table";
    EXPECT_EQ(bench.unmap(kPage, kPage), kPage);
    above = table;
    EXPECT_EQ(bench.raw().leaves, (std::vector{test::RawLeaf{0, kPage, 0x7000, 3},
                                               test::RawLeaf{2 * kPage, kPage, 0x5000, 3}}));
}

// The smallest leaf has two slots; nothing is as long as one.
TEST(Radix, a_map_of_no_bytes_is_EINVAL_where_no_leaf_fills_one_slot)
{
    Bench<Tiny> bench{3, PageSizes{32 | 64 | 256}};
    ASSERT_TRUE(bench.map(32, 32, 32));
    EXPECT_EQ(bench.map(0, 0, 0).error(), Errno::inval);
    EXPECT_FALSE(bench.table->walk(Iova{0}));
    EXPECT_EQ(bench.unmap(0, 0), 0);
    EXPECT_EQ(bench.unmap(32, 32), 32);
}

TEST(Radix, a_visit_shows_leaves_in_a_row_until_a_hole_or_until_it_is_enough)
{
    Vtd bench{3};
    ASSERT_TRUE(bench.map(0x1ff000, 0x401ff000, 0x402000));
    std::vector<std::uint64_t> starts;
    auto const all = [&](auto const& leaf) {
        starts.push_back(leaf.iova.start.raw());
        return true;
    };
    bench.table->visit({Iova{0x1ff000}, Iova{~std::uint64_t{0}}}, all);
    EXPECT_EQ(starts, (std::vector<std::uint64_t>{0x1ff000, 0x200000, 0x400000, 0x600000}));
    starts.clear();
    bench.table->visit({Iova{0x201000}, Iova{0x400000}}, all);
    EXPECT_EQ(starts, (std::vector<std::uint64_t>{0x200000, 0x400000}));
    starts.clear();
    bench.table->visit({Iova{0x1fe000}, Iova{0x400000}}, all);
    EXPECT_TRUE(starts.empty());
    bench.table->visit({Iova{0x1ff000}, Iova{0x400000}},
                       [&](auto const& leaf) { return all(leaf) && starts.size() < 2; });
    EXPECT_EQ(starts.size(), 2);
}

// The vectors of the kernel's own unit tests for its generic page tables.
TEST(Radix, the_cuts_of_the_kernels_unit_tests_come_out)
{
    Vtd bench{4};
    ASSERT_TRUE(bench.map(0x3fe400000, 0x3fe400000, 0x4c0600000 - 0x3fe400000));
    EXPECT_EQ(bench.table->leaves()[21], 17);
    EXPECT_EQ(bench.table->leaves()[30], 3);
    EXPECT_EQ(bench.table->leaves()[12], 0);
    ASSERT_TRUE(bench.map(0xfef80000, 0x208b95d000, 0x20000));
    EXPECT_EQ(bench.table->leaves()[12], 32);
}

TEST(Radix, sizes_that_the_domain_does_not_have_are_not_used)
{
    for (auto const bitmap : {kPage, kPage | k2MBytes, kPage | k1GBytes}) {
        Vtd bench{4, PageSizes{bitmap}};
        ASSERT_TRUE(bench.map(k1GBytes, 0, k1GBytes + k2MBytes + kPage));
        for (auto const& leaf : bench.raw().leaves) EXPECT_NE(leaf.bytes & bitmap, 0);
        std::uint64_t const whole = (bitmap & k1GBytes) != 0   ? 513
                                    : (bitmap & k2MBytes) != 0 ? 1
                                                               : 262144 + 513;
        EXPECT_EQ(bench.table->leaves()[12], whole);
        EXPECT_EQ(bench.unmap(k1GBytes, k1GBytes + k2MBytes + kPage), k1GBytes + k2MBytes + kPage);
        EXPECT_TRUE(bench.raw().leaves.empty());
    }
}

TEST(Radix, mappings_straddle_every_level)
{
    for (unsigned const levels : {3U, 4U, 5U}) {
        Vtd bench{levels, PageSizes{kPage}};
        for (unsigned level = 1; level < levels; ++level) {
            std::uint64_t const edge = std::uint64_t{1} << (12 + 9 * level);
            ASSERT_TRUE(bench.map(edge - 3 * kPage, 0x5000, 6 * kPage, Prot::write));
            EXPECT_EQ(bench.map(edge - kPage, 0, kPage), fail(Errno::addrinuse));
            EXPECT_EQ(bench.table->walk(Iova{edge - 1})->paddr, Paddr{0x7000});
            EXPECT_EQ(bench.table->walk(Iova{edge})->paddr, Paddr{0x8000});
            EXPECT_EQ(bench.table->walk(Iova{edge})->prot, Prot::write);
            EXPECT_EQ(bench.unmap(edge - 3 * kPage, 6 * kPage), 6 * kPage);
            EXPECT_EQ(bench.table->walk(Iova{edge}), std::nullopt);
        }
    }
}

TEST(Radix, the_top_of_the_address_space_can_be_mapped_and_no_more)
{
    for (unsigned const levels : {3U, 4U, 5U}) {
        Vtd bench{levels};
        std::uint64_t const end = std::uint64_t{1} << (12 + 9 * levels);
        ASSERT_TRUE(bench.map(end - k2MBytes - kPage, k1GBytes - kPage, k2MBytes + kPage));
        EXPECT_EQ(bench.table->walk(Iova{end - 1})->iova.last, Iova{end - 1});
        EXPECT_EQ(bench.table->walk(Iova{end}), std::nullopt);
        EXPECT_EQ(bench.map(end, 0, kPage), fail(Errno::range));
        EXPECT_EQ(bench.map(end - kPage, 0, 2 * kPage), fail(Errno::range));
        EXPECT_EQ(bench.unmap(end - k2MBytes - kPage, k2MBytes + 2 * kPage), 0);
        EXPECT_EQ(bench.unmap(end - k2MBytes - kPage, k2MBytes + kPage), k2MBytes + kPage);
    }
}

TEST(Radix, a_table_of_64_bits_is_used_to_its_last_byte)
{
    Bench<Wide> bench{4, PageSizes{~std::uint64_t{0}}};
    std::uint64_t const top = ~std::uint64_t{0};
    ASSERT_TRUE(bench.map(top - 3 * kPage + 1, 0x10000, 3 * kPage));
    EXPECT_EQ(bench.map(top - kPage + 1, 0, 2 * kPage), fail(Errno::overflow));
    EXPECT_EQ(bench.table->walk(Iova{top})->iova.last, Iova{top});
    EXPECT_EQ(bench.table->walk(Iova{top})->paddr, Paddr{0x12000});
    EXPECT_EQ(bench.map(top - kPage + 1, 0, kPage), fail(Errno::addrinuse));
    EXPECT_EQ(bench.unmap(top - kPage + 1, 2 * kPage), 0);
    EXPECT_EQ(bench.unmap(top - 3 * kPage + 1, 3 * kPage), 3 * kPage);

    // All of it but the last page, in leaves of 2^38 and smaller, and as a whole again.
    std::uint64_t const most = top - kPage + 1;
    ASSERT_TRUE(bench.map(0, 0, most));
    EXPECT_EQ(bench.table->walk(Iova{most - 1})->iova.last, Iova{most - 1});
    EXPECT_EQ(bench.table->walk(Iova{top}), std::nullopt);
    EXPECT_EQ(bench.unmap(0, most), most);
    EXPECT_EQ(bench.table->walk(Iova{0}), std::nullopt);
}

TEST(Radix, unmapping_a_hole_or_the_inside_of_a_leaf_takes_nothing)
{
    Vtd bench{3};
    ASSERT_TRUE(bench.map(k2MBytes, 0, k2MBytes));
    EXPECT_EQ(bench.unmap(0, 2 * k2MBytes), 0);
    EXPECT_EQ(bench.unmap(k2MBytes + kPage, kPage), 0);
    EXPECT_EQ(bench.raw().leaves.size(), 1);
}

TEST(Radix, unmapping_part_of_a_leaf_takes_all_of_it_and_says_so)
{
    Vtd bench{3};
    ASSERT_TRUE(bench.map(0x1ff000, 0x1ff000, kPage + 2 * k2MBytes));
    EXPECT_EQ(bench.unmap(0x1ff000, 2 * kPage), kPage + k2MBytes);
    ASSERT_EQ(bench.raw().leaves.size(), 1);
    EXPECT_EQ(bench.raw().leaves[0].iova, 2 * k2MBytes);
    EXPECT_EQ(bench.table->leaves()[21], 1);
}

TEST(Radix, an_unmap_stops_at_the_first_hole)
{
    Vtd bench{3};
    ASSERT_TRUE(bench.map(0, 0x5000, 3 * kPage));
    ASSERT_TRUE(bench.map(4 * kPage, 0x5000, kPage));
    EXPECT_EQ(bench.unmap(0, 5 * kPage), 3 * kPage);
    EXPECT_EQ(bench.raw().leaves.size(), 1);
}

TEST(Radix, rights_are_those_of_every_word_on_the_way)
{
    Vtd bench{3};
    ASSERT_TRUE(bench.map(0, 0x5000, kPage));
    auto& top = reinterpret_cast<std::uint64_t*>(bench.table->root().raw())[0];
    top &= ~Vtdss::kWrite;
    EXPECT_EQ(bench.table->walk(Iova{0})->prot, Prot::read);
    bench.word(0) &= ~Vtdss::kRead;
    EXPECT_EQ(bench.table->walk(Iova{0})->prot, Prot::none);
}

TEST(Radix, a_failed_map_reports_how_far_it_came)
{
    Vtd bench{3};
    ASSERT_TRUE(bench.map(4 * kPage, 0, kPage));
    EXPECT_EQ(bench.map(0, 0x1000, 8 * kPage), fail(Errno::addrinuse));
    EXPECT_EQ(bench.mapped, 4 * kPage);
    EXPECT_EQ(bench.map(0, 1ULL << 51, 1ULL << 52), fail(Errno::range));
    EXPECT_EQ(bench.mapped, 0);
}

// Straddles the edge of every table, so each further page of budget lets it come further.
TEST(Radix, an_allocation_that_fails_at_any_point_is_ENOMEM_and_leaks_nothing)
{
    for (unsigned const levels : {3U, 4U, 5U}) {
        std::uint64_t const needed = 1 + 2 * (levels - 1);
        std::uint64_t const edge = std::uint64_t{1} << (12 + 9 * (levels - 1));
        auto const memory = TableMemory::create(k4K, 0).value();
        EXPECT_EQ(RadixTable<Vtdss>::create(memory, Shape<Vtdss>::fixed(levels, kAllSizes)),
                  fail(Errno::nomem));
        for (std::uint64_t budget = 1; budget <= needed; ++budget) {
            memory->set_budget(budget);
            auto table =
                RadixTable<Vtdss>::create(memory, Shape<Vtdss>::fixed(levels, kAllSizes)).value();
            std::uint64_t mapped = 0;
            auto const done = table->map(Iova{edge - kPage}, Paddr{0}, 2 * kPage, Prot::read,
                                         Snoop::as_asked, mapped);
            EXPECT_EQ(done.has_value(), budget == needed) << budget;
            EXPECT_TRUE(done || done.error() == Errno::nomem);
            EXPECT_EQ(mapped, budget == needed ? 2 * kPage : budget >= levels ? kPage : 0);
            EXPECT_EQ(memory->pages_in_use(), budget);
            EXPECT_EQ(table->unmap(Iova{edge - kPage}, 2 * kPage), mapped);
            table.reset();
            EXPECT_EQ(memory->pages_in_use(), 0);
        }
    }
}

TEST(Radix, a_pointer_out_of_the_arena_is_a_fault_for_a_walk_and_occupied_for_a_map)
{
    for (std::uint64_t const wild : {0x0ULL, 0x7000ULL, 0xfffffffff000ULL, 0xffffffffff000ULL}) {
        Vtd bench{3};
        ASSERT_TRUE(bench.map(0, 0x5000, kPage));
        auto& top = reinterpret_cast<std::uint64_t*>(bench.table->root().raw())[0];
        top = wild | 3;
        EXPECT_EQ(bench.table->walk(Iova{0}), std::nullopt);
        EXPECT_EQ(bench.map(kPage, 0, kPage), fail(Errno::addrinuse));
        EXPECT_EQ(bench.map(0, 0, k1GBytes), fail(Errno::addrinuse));
        EXPECT_EQ(bench.unmap(0, kPage), 0);
        bench.table.reset();
        EXPECT_EQ(bench.memory->pages_in_use(), 0);
    }
}

TEST(Radix, tables_that_lead_in_a_circle_do_no_harm)
{
    Vtd bench{4};
    ASSERT_TRUE(bench.map(0, 0x5000, kPage));
    std::uint64_t const root = bench.table->root().raw();
    auto* const top = reinterpret_cast<std::uint64_t*>(root);
    auto* const middle = reinterpret_cast<std::uint64_t*>(top[0] & ~std::uint64_t{3});
    middle[0] = root | 3;
    middle[1] = top[0];
    EXPECT_EQ(bench.table->walk(Iova{0})->paddr, Paddr{root});  // by way of the root, twice
    EXPECT_EQ(bench.unmap(0, kPage), 0);
    EXPECT_EQ(bench.unmap(k1GBytes, 512 * k1GBytes), 0);
    EXPECT_FALSE(bench.map(0, 0, 512 * k1GBytes));
    bench.table.reset();
    EXPECT_EQ(bench.memory->pages_in_use(), 0);
}

TEST(Radix, a_table_of_another_tree_is_read_and_not_written)
{
    Vtd bench{3};
    auto other = RadixTable<Vtdss>::create(bench.memory, Shape<Vtdss>::fixed(3, kAllSizes)).value();
    std::uint64_t mapped = 0;
    ASSERT_TRUE(other->map(Iova{0}, Paddr{0x9000}, kPage, Prot::read, Snoop::as_asked, mapped));
    auto& top = reinterpret_cast<std::uint64_t*>(bench.table->root().raw())[0];
    top = reinterpret_cast<std::uint64_t*>(other->root().raw())[0];
    EXPECT_EQ(bench.table->walk(Iova{0})->paddr, Paddr{0x9000});
    EXPECT_EQ(bench.map(kPage, 0, kPage), fail(Errno::addrinuse));
    EXPECT_EQ(bench.unmap(0, kPage), 0);
    EXPECT_EQ(other->walk(Iova{0})->paddr, Paddr{0x9000});
}

constexpr PageSizes kAmdSizes{0xffff'ff7f'ffff'f000};

TEST(Radix, a_table_grows_at_the_top_and_keeps_what_it_has)
{
    Bench<Amdv1> bench{{.levels = 3, .width = 64, .page_sizes = kAmdSizes}};
    ASSERT_TRUE(bench.map(0x5000, 0x9000, kPage));
    EXPECT_EQ(bench.table->levels(), 3);
    std::uint64_t pages = bench.table->tables();
    for (unsigned levels = 4; levels <= 6; ++levels) {
        std::uint64_t const beyond = std::uint64_t{1} << (12 + 9 * (levels - 1));
        EXPECT_EQ(bench.table->walk(Iova{beyond + 0x5000}), std::nullopt);
        EXPECT_EQ(bench.unmap(beyond + 0x5000, kPage), 0);
        EXPECT_EQ(bench.table->levels(), levels - 1);

        ASSERT_TRUE(bench.map(beyond - kPage, 0x10000, 2 * kPage));  // over the old end
        EXPECT_EQ(bench.table->levels(), levels);
        EXPECT_EQ(bench.table->walk(Iova{0x5000})->paddr, Paddr{0x9000});
        EXPECT_EQ(bench.table->walk(Iova{beyond})->paddr, Paddr{0x11000});
        EXPECT_GT(bench.table->tables(), pages);
        pages = bench.table->tables();
    }
    std::uint64_t const top = ~std::uint64_t{0};
    ASSERT_TRUE(bench.map(top - kPage + 1, 0x3000, kPage));
    EXPECT_EQ(bench.table->walk(Iova{top})->iova.last, Iova{top});
    EXPECT_EQ(bench.unmap(0x5000, kPage), kPage);
    bench.table.reset();
    EXPECT_EQ(bench.memory->pages_in_use(), 0);
}

TEST(Radix, a_table_that_finds_no_page_to_grow_is_ENOMEM_and_goes_on)
{
    Bench<Amdv1> bench{{.levels = 3, .width = 64, .page_sizes = kAmdSizes}};
    ASSERT_TRUE(bench.map(0, 0x9000, kPage));
    std::uint64_t const far = std::uint64_t{1} << 60;
    for (std::uint64_t spare = 0; spare < 8; ++spare) {  // three roots and five tables are needed
        bench.memory->set_budget(3 + spare);
        EXPECT_EQ(bench.map(far, 0xa000, kPage), fail(Errno::nomem));
        EXPECT_EQ(bench.mapped, 0);
        EXPECT_EQ(bench.table->walk(Iova{0})->paddr, Paddr{0x9000});
    }
    bench.memory->set_budget(3 + 8);
    EXPECT_TRUE(bench.map(far, 0xa000, kPage));
}

TEST(Radix, a_leaf_of_several_slots_is_one_leaf)
{
    Bench<Amdv1> bench{{.levels = 3, .width = 64, .page_sizes = kAmdSizes}};
    ASSERT_TRUE(bench.map(0x30000, 0x30000, 0x50000));
    EXPECT_EQ(bench.table->leaves()[16], 1);
    EXPECT_EQ(bench.table->leaves()[18], 1);
    auto const leaf = bench.table->walk(Iova{0x5abcd});
    EXPECT_EQ(leaf->iova, (IovaRange{Iova{0x40000}, Iova{0x7ffff}}));
    EXPECT_EQ(leaf->paddr, Paddr{0x40000});
    EXPECT_EQ(bench.map(0x58000, 0, kPage), fail(Errno::addrinuse));
    EXPECT_EQ(bench.unmap(0x58000, kPage), 0);
    EXPECT_EQ(bench.unmap(0x30000, 0x10000 + kPage), 0x50000);
    EXPECT_EQ(bench.table->walk(Iova{0x7f000}), std::nullopt);

    // Over the table that is empty now, and larger than a slot of the level above.
    ASSERT_TRUE(bench.map(0, 0x4000'0000, 2 * k2MBytes));
    EXPECT_EQ(bench.table->leaves()[22], 1);
    EXPECT_TRUE(bench.table->tables_retired());
}

TEST(Radix, a_leaf_that_cannot_be_split_ends_the_unmap)
{
    for (auto const partial : {Partial::splits, Partial::refuses}) {
        auto shape = Shape<Vtdss>::fixed(3, kAllSizes);
        shape.partial = partial;
        Vtd bench{shape};
        ASSERT_TRUE(bench.map(k2MBytes - kPage, k2MBytes - kPage, kPage + 2 * k2MBytes));
        bench.memory->set_budget(0);  // no page for the smaller leaves
        EXPECT_EQ(bench.unmap(k2MBytes - kPage, 2 * kPage), kPage);
        EXPECT_EQ(bench.unmap(k2MBytes, k2MBytes + kPage), k2MBytes);
        EXPECT_EQ(bench.unmap(2 * k2MBytes + kPage, kPage), 0);
        EXPECT_EQ(bench.table->leaves()[21], 1);
        EXPECT_EQ(bench.unmap(2 * k2MBytes, k2MBytes), k2MBytes);
    }
}

TEST(Radix, splitting_keeps_every_attribute_of_the_leaf)
{
    auto shape = Shape<Vtdss>::fixed(3, kAllSizes);
    shape.partial = Partial::splits;
    Vtd bench{shape};
    std::uint64_t mapped = 0;
    ASSERT_TRUE(
        bench.table->map(Iova{0}, Paddr{k1GBytes}, k1GBytes, Prot::write, Snoop::always, mapped));
    EXPECT_EQ(bench.unmap(k2MBytes + kPage, kPage), kPage);
    EXPECT_EQ(bench.word(0), k1GBytes | 0x882);
    EXPECT_EQ(bench.word(k2MBytes + 2 * kPage), (k1GBytes + k2MBytes + 2 * kPage) | 0x802);
    EXPECT_EQ(bench.table->walk(Iova{k2MBytes + kPage}), std::nullopt);
    EXPECT_EQ(bench.table->leaves()[30], 0);
    EXPECT_EQ(bench.table->leaves()[21], 511);
    EXPECT_EQ(bench.table->leaves()[12], 511);
}

}  // namespace
}  // namespace pinfold::pagetable
