// Mapping where something is mapped, the three ways that drivers of Linux have.
#include "pagetable/cases.hpp"

namespace pinfold::test {
namespace {

constexpr std::uint64_t kPage = 0x1000;
constexpr std::uint64_t k2MBytes = 0x20'0000;
using Vtd = Case<Vtdss, 3, 39>;
using Amd = Case<Amdv1, 3, 48, 0xffff'ff7f'ffff'f000>;

template <class C>
OneTable<C> with(Overmap overmap)
{
    auto shape = C::shape();
    shape.overmap = overmap;
    return OneTable<C>{shape};
}

TEST(Overmap, keeps_what_is_there_and_succeeds_as_VT_d_did_until_6_12)
{
    auto bench = with<Vtd>(Overmap::keeps);
    ASSERT_TRUE(bench.map(2 * kPage, 0x9000, kPage, Prot::read));
    ASSERT_TRUE(bench.map(kPage, 0x20000, 4 * kPage));
    EXPECT_EQ(bench.mapped, 4 * kPage);
    EXPECT_EQ(bench.table->walk(Iova{2 * kPage})->paddr, Paddr{0x9000});
    EXPECT_EQ(bench.table->walk(Iova{2 * kPage})->prot, Prot::read);
    EXPECT_EQ(bench.table->walk(Iova{3 * kPage})->paddr, Paddr{0x22000});
    EXPECT_EQ(bench.table->leaves()[12], 4);
    EXPECT_TRUE(bench.removed.flush.empty());

    // Tables of small leaves make way for a large one.
    ASSERT_TRUE(bench.map(0, k2MBytes, k2MBytes));
    EXPECT_EQ(bench.table->leaves()[12], 0);
    EXPECT_EQ(bench.table->leaves()[21], 1);
    EXPECT_EQ(bench.removed.flush.range, (IovaRange{Iova{0}, Iova{k2MBytes - 1}}));
    EXPECT_EQ(bench.removed.flush.leaf_levels, 1);
    EXPECT_EQ(bench.removed.flush.table_levels, 1);
    // Under a large leaf nothing can be kept.
    EXPECT_EQ(bench.map(kPage, 0, kPage), fail(Errno::addrinuse));
}

TEST(Overmap, replaces_whole_leaves_and_tables_as_AMD_did_until_6_12)
{
    auto bench = with<Amd>(Overmap::replaces);
    ASSERT_TRUE(bench.map(0, 0x10'0000, 0x1'0000));  // one leaf of 64K
    ASSERT_TRUE(bench.map(3 * kPage, 0x5000, kPage));
    EXPECT_EQ(bench.table->walk(Iova{3 * kPage})->paddr, Paddr{0x5000});
    EXPECT_FALSE(bench.table->walk(Iova{0}));
    EXPECT_FALSE(bench.table->walk(Iova{0xf000}));
    EXPECT_EQ(bench.table->leaves()[16], 0);
    EXPECT_EQ(bench.removed.flush.range, (IovaRange{Iova{0}, Iova{0xffff}}));
    EXPECT_EQ(bench.removed.flush.leaves, PageSizes{0x1'0000});

    bench.removed.flush = {};
    ASSERT_TRUE(bench.map(0, 2 * k2MBytes, 2 * k2MBytes));  // a leaf of 4M over the table
    EXPECT_EQ(bench.table->leaves()[22], 1);
    EXPECT_EQ(bench.table->leaves()[12], 0);
    EXPECT_EQ(bench.removed.flush.table_levels, 1);
    EXPECT_EQ(bench.removed.flush.leaves, PageSizes{kPage});

    ASSERT_TRUE(bench.map(k2MBytes, 0x7000, kPage));  // and a page under it
    EXPECT_EQ(bench.table->leaves()[22], 0);
    EXPECT_FALSE(bench.table->walk(Iova{0}));
    EXPECT_EQ(bench.table->walk(Iova{k2MBytes})->paddr, Paddr{0x7000});
    EXPECT_EQ(bench.unmap(k2MBytes, kPage), kPage);
    bench.table->release(bench.removed);
    bench.table.reset();
    EXPECT_EQ(bench.memory->pages_in_use(), 0);
}

TEST(Overmap, is_refused_otherwise_and_what_was_done_before_is_told)
{
    auto bench = with<Amd>(Overmap::refuses);
    ASSERT_TRUE(bench.map(4 * kPage, 0x5000, kPage));
    EXPECT_EQ(bench.map(kPage, 0x2000, 8 * kPage), fail(Errno::addrinuse));
    EXPECT_EQ(bench.mapped, 3 * kPage);
    EXPECT_EQ(bench.table->walk(Iova{4 * kPage})->paddr, Paddr{0x5000});
}

}  // namespace
}  // namespace pinfold::test
