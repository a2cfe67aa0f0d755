// What holds for every format, at every level and with every size of leaf.
#include "pagetable/cases.hpp"

namespace pinfold::test {
namespace {

template <class C>
class EveryFormat : public testing::Test {
public:
    using Bench = OneTable<C>;
};
TYPED_TEST_SUITE(EveryFormat, Cases);

std::uint64_t last_of(unsigned bits) { return ~std::uint64_t{0} >> (64 - bits); }

TYPED_TEST(EveryFormat, a_leaf_of_every_size_leads_where_it_should_from_end_to_end)
{
    using F = typename TypeParam::Format;
    for_each_size(TypeParam::shape(), [](unsigned level, PageSize size) {
        for (auto const prot : {Prot::read, Prot::write, Prot::read_write}) {
            typename TestFixture::Bench bench;
            std::uint64_t const reach = last_of(bench.shape.width);
            std::uint64_t const paddr = last_of(bench.shape.paddr_bits) - size.mask();
            // The largest sizes of some formats are larger than what they can map.
            if (size.mask() > reach || size.lg2() >= bench.shape.paddr_bits) return;
            for (std::uint64_t const iova : {std::uint64_t{0}, reach - size.mask()}) {
                ASSERT_TRUE(bench.map(iova, paddr, size.bytes(), prot)) << size.lg2();
                auto const& word = bench.word(iova + size.mask());
                EXPECT_EQ(F::leaf_size(word, level), size);
                for (std::uint64_t const offset :
                     {std::uint64_t{0}, size.bytes() / 2, size.mask()}) {
                    auto const leaf = bench.table->walk(Iova{iova + offset});
                    ASSERT_TRUE(leaf) << size.lg2();
                    EXPECT_EQ(leaf->iova, (IovaRange{Iova{iova}, Iova{iova + size.mask()}}));
                    EXPECT_EQ(leaf->paddr, Paddr{paddr});
                    EXPECT_EQ(leaf->prot, bench.kept(prot));
                }
                if (iova != 0) {
                    EXPECT_FALSE(bench.table->walk(Iova{iova - 1}));
                }
                EXPECT_EQ(bench.table->leaves()[size.lg2()], 1);
                EXPECT_EQ(bench.unmap(iova, size.bytes()), size.bytes());
                EXPECT_FALSE(bench.table->walk(Iova{iova}));
                ASSERT_EQ(bench.runs.size(), 1);
                EXPECT_EQ(bench.runs[0].paddr, Paddr{paddr});
                EXPECT_EQ(bench.removed.flush.leaf_levels, 1U << level);
                EXPECT_EQ(bench.removed.flush.leaves, PageSizes{size.bytes()});
                EXPECT_EQ(bench.removed.flush.range,
                          (IovaRange{Iova{iova}, Iova{iova + size.mask()}}));
                EXPECT_EQ(bench.table->leaves()[size.lg2()], 0);
            }
        }
    });
}

TYPED_TEST(EveryFormat, what_is_outside_or_empty_or_wraps_is_refused)
{
    typename TestFixture::Bench bench;
    std::uint64_t const page = bench.smallest().bytes();
    std::uint64_t const last = last_of(bench.shape.width);
    EXPECT_EQ(bench.map(0, 0, 0), fail(Errno::inval));
    EXPECT_EQ(bench.map(0, 0, page, Prot::none), fail(no_rights<typename TypeParam::Format>()));
    EXPECT_EQ(bench.map(0 - page, 0, 2 * page), fail(Errno::overflow));
    EXPECT_EQ(bench.map(0, 0 - page, 2 * page), fail(Errno::overflow));
    EXPECT_EQ(bench.map(0, last_of(bench.shape.paddr_bits) - page + 1, 2 * page),
              fail(Errno::range));
    if (bench.shape.width < 64) {
        EXPECT_EQ(bench.map(last - page + 1, 0, 2 * page), fail(Errno::range));
        EXPECT_FALSE(bench.table->walk(Iova{last + 1}));
        EXPECT_EQ(bench.unmap(last + 1, page), 0);
    }
    EXPECT_EQ(bench.map(page / 2, 0, page), fail(Errno::nxio));
    EXPECT_EQ(bench.mapped, 0);
    EXPECT_EQ(bench.unmap(0, 0), 0);
    EXPECT_TRUE(bench.removed.flush.empty());

    ASSERT_TRUE(bench.map(last - page + 1, 0, page));
    EXPECT_EQ(bench.table->walk(Iova{last})->paddr, Paddr{0});
    EXPECT_EQ(bench.unmap(last - page + 1, page), page);
}

TYPED_TEST(EveryFormat, what_is_mapped_is_in_the_way_of_every_other_size)
{
    for_each_size(TypeParam::shape(), [](unsigned, PageSize first) {
        for_each_size(TypeParam::shape(), [&](unsigned, PageSize second) {
            typename TestFixture::Bench bench;
            if (std::max(first, second).lg2() >=
                std::min(bench.shape.paddr_bits, bench.shape.width))
                return;
            std::uint64_t const at = second < first ? first.bytes() / 2 & ~second.mask() : 0;
            ASSERT_TRUE(bench.map(0, 0, first.bytes()));
            ASSERT_EQ(bench.map(at, 0, second.bytes()), fail(Errno::addrinuse))
                << first.lg2() << " then " << second.lg2();
            EXPECT_EQ(bench.mapped, 0);
            EXPECT_EQ(bench.table->walk(Iova{first.mask()})->iova.size(), first.bytes());
            EXPECT_EQ(bench.unmap(0, first.bytes()), first.bytes());
        });
    });
}

// Pages one by one, then a leaf over the table that they leave.
TYPED_TEST(EveryFormat, an_empty_table_makes_room_for_a_leaf_and_is_named_as_gone)
{
    using F = typename TypeParam::Format;
    for_each_size(TypeParam::shape(), [](unsigned level, PageSize size) {
        typename TestFixture::Bench bench;
        if (level == 0 || size.lg2() >= std::min(bench.shape.paddr_bits, bench.shape.width)) return;
        std::uint64_t const page = bench.smallest().bytes();
        ASSERT_TRUE(bench.map(0, 0, page));
        EXPECT_EQ(bench.unmap(0, page), page);
        EXPECT_EQ(bench.removed.flush.table_levels, 0);
        std::uint64_t const tables = bench.table->tables();
        bench.removed.flush = {};
        ASSERT_TRUE(bench.map(0, 0, size.bytes()));
        EXPECT_EQ(bench.removed.flush.table_levels, (1U << level) - 1);
        EXPECT_EQ(bench.removed.flush.leaf_levels, 0);
        EXPECT_EQ(bench.removed.flush.range->size(), std::uint64_t{1} << slot_lg2<F>(level));
        EXPECT_EQ(bench.table->tables(), tables);
        bench.table->release(bench.removed);
        EXPECT_EQ(bench.table->tables(), tables - level);
        EXPECT_EQ(bench.table->walk(Iova{size.mask()})->iova.size(), size.bytes());
    });
}

// Over every edge between tables, so that each further table lets the map come further.
TYPED_TEST(EveryFormat, an_allocation_that_fails_leaves_only_what_it_says)
{
    auto const shape = TypeParam::shape();
    std::uint64_t const page = shape.page_sizes.smallest().bytes();
    std::uint64_t const edge =
        std::uint64_t{1} << std::min(shape.width - 1, slot_lg2<typename TypeParam::Format>(2));
    for (std::uint64_t budget = 0;; ++budget) {
        typename TestFixture::Bench bench;
        std::uint64_t const root = bench.memory->pages_in_use();
        bench.memory->set_budget(root + budget);
        // Lines up with nothing larger than a page.
        auto const done = bench.map(edge - 3 * page, 2 * page, 700 * page);
        EXPECT_TRUE(done || done.error() == Errno::nomem);
        EXPECT_EQ(bench.unmap(edge - 3 * page, 700 * page), bench.mapped);
        for (auto const leaves : bench.table->leaves()) EXPECT_EQ(leaves, 0);
        bench.table.reset();  // with tables that were retired and not released
        EXPECT_EQ(bench.memory->pages_in_use(), 0);
        if (done) {
            EXPECT_GT(budget, 1);
            break;
        }
        ASSERT_LT(budget, 16);
    }
}

// Much of it goes in whole tables.
TYPED_TEST(EveryFormat, a_large_range_of_small_leaves_comes_back_as_one_run)
{
    using F = typename TypeParam::Format;
    typename TestFixture::Bench bench;
    std::uint64_t const page = bench.smallest().bytes();
    unsigned const reach = std::min(bench.shape.width - 1, slot_lg2<F>(1) + 3);
    std::uint64_t const size = (std::uint64_t{1} << reach) - 5 * page;
    std::uint64_t const paddr = 2 * page;  // lines up with nothing larger
    ASSERT_TRUE(bench.map(3 * page, paddr, size, Prot::read));
    EXPECT_EQ(bench.table->leaves()[bench.smallest().lg2()], size / page);
    EXPECT_EQ(bench.table->walk(Iova{size})->paddr.raw(), paddr + size - 3 * page);

    // A hole in the middle, so that some tables do not go as a whole.
    std::uint64_t const middle = 3 * page + (size / 2 & ~(page - 1));
    EXPECT_EQ(bench.unmap(middle, page), page);
    EXPECT_EQ(bench.unmap(3 * page, size), middle - 3 * page);
    ASSERT_EQ(bench.runs.size(), 1);
    EXPECT_EQ(bench.runs[0].iova, Iova{3 * page});
    EXPECT_EQ(bench.runs[0].paddr, Paddr{paddr});
    EXPECT_EQ(bench.runs[0].size, middle - 3 * page);
    EXPECT_EQ(bench.unmap(middle + page, size), size - (middle - 2 * page));
    EXPECT_EQ(bench.runs[0].paddr.raw(), paddr + middle - 2 * page);
    EXPECT_EQ(bench.removed.flush.leaf_levels, 1);
    for (auto const leaves : bench.table->leaves()) EXPECT_EQ(leaves, 0);
    bench.table->release(bench.removed);
    bench.table.reset();
    EXPECT_EQ(bench.memory->pages_in_use(), 0);
}

TYPED_TEST(EveryFormat, a_changed_word_changes_the_next_walk)
{
    typename TestFixture::Bench bench;
    std::uint64_t const page = bench.smallest().bytes();
    ASSERT_TRUE(bench.map(0, 4 * page, page));
    ASSERT_TRUE(bench.map(2 * page, 9 * page, page));
    std::swap(bench.word(0), bench.word(2 * page));
    EXPECT_EQ(bench.table->walk(Iova{0})->paddr, Paddr{9 * page});
    bench.word(0) = 0;
    EXPECT_FALSE(bench.table->walk(Iova{0}));
}

}  // namespace
}  // namespace pinfold::test
