// Making leaves smaller and larger in place: what is translated stays as it was.
#include "pagetable/cases.hpp"
#include "pagetable/test_formats.hpp"

namespace pinfold::test {
namespace {

template <class C>
class EverySplit : public testing::Test {};
TYPED_TEST_SUITE(EverySplit, Cases);

std::vector<std::uint64_t> places(std::uint64_t size, std::uint64_t page)
{
    std::vector<std::uint64_t> all{0,          page, size / 2 - page, size / 2, size / 2 + page,
                                   size - page};
    std::erase_if(all, [&](std::uint64_t at) { return at >= size; });
    return all;
}

// Whether [0, size) leads to itself, with the rights given.
testing::AssertionResult identity(auto const& table, std::uint64_t size, std::uint64_t page,
                                  Prot prot)
{
    for (std::uint64_t const at : places(size, page)) {
        auto const leaf = table.walk(Iova{at + 1});
        if (!leaf || leaf->prot != prot || leaf->paddr.raw() != leaf->iova.start.raw())
            return testing::AssertionFailure() << "differs at " << at;
    }
    return testing::AssertionSuccess();
}

TYPED_TEST(EverySplit, a_leaf_begins_where_it_was_asked_for_and_all_joins_again)
{
    for_each_size(TypeParam::shape(), [](unsigned, PageSize size) {
        std::uint64_t const page = TypeParam::shape().page_sizes.smallest().bytes();
        for (std::uint64_t const at : places(size.bytes(), page)) {
            OneTable<TypeParam> bench;
            auto& table = *bench.table;
            if (size.bytes() == page ||
                size.lg2() >= std::min(bench.shape.paddr_bits, bench.shape.width))
                return;
            ASSERT_TRUE(bench.map(0, 0, size.bytes(), Prot::read));
            Prot const prot = bench.kept(Prot::read);
            bench.removed.flush = {};
            auto const done = table.split(Iova{at}, bench.removed);
            // Some level of 512G of AMD, for one, has no leaf of one slot.
            if (!done) {
                ASSERT_EQ(done, fail(Errno::nxio)) << size.lg2();
                EXPECT_EQ(table.walk(Iova{at})->iova.size(), size.bytes());
                continue;
            }
            EXPECT_EQ(table.walk(Iova{at})->iova.start, Iova{at}) << size.lg2();
            EXPECT_TRUE(identity(table, size.bytes(), page, prot)) << size.lg2() << " at " << at;
            if (at != 0) {
                EXPECT_EQ(bench.removed.flush.range, (IovaRange{Iova{0}, Iova{size.mask()}}));
                EXPECT_EQ(bench.removed.flush.leaves, PageSizes{size.bytes()});
                EXPECT_EQ(table.leaves()[size.lg2()], 0);
            }
            std::uint64_t bytes = 0;
            for (unsigned lg2 = 0; lg2 < 64; ++lg2) bytes += table.leaves()[lg2] << lg2;
            EXPECT_EQ(bytes, size.bytes());

            table.join({Iova{0}, Iova{size.mask()}}, bench.removed);
            EXPECT_TRUE(identity(table, size.bytes(), page, prot));
            EXPECT_EQ(bench.unmap(0, size.bytes()), size.bytes());
            EXPECT_EQ(bench.runs.size(), 1);
            for (auto const leaves : table.leaves()) EXPECT_EQ(leaves, 0);
            bench.table.reset();
            EXPECT_EQ(bench.memory->pages_in_use(), 0);
        }
    });
}

TYPED_TEST(EverySplit, without_all_of_its_tables_nothing_changes)
{
    for_each_size(TypeParam::shape(), [](unsigned level, PageSize size) {
        OneTable<TypeParam> bench;
        std::uint64_t const page = bench.smallest().bytes();
        if (level == 0 || size.lg2() >= std::min(bench.shape.paddr_bits, bench.shape.width)) return;
        ASSERT_TRUE(bench.map(0, 0, size.bytes()));
        std::uint64_t const before = bench.memory->pages_in_use();
        auto const word = bench.word(page);
        auto const leaves = bench.table->leaves();
        for (std::uint64_t spare = 0; spare < level; ++spare) {
            bench.memory->set_budget(before + spare);
            bench.removed.flush = {};
            auto const done = bench.table->split(Iova{page}, bench.removed);
            ASSERT_FALSE(done);
            EXPECT_TRUE(done == fail(Errno::nomem) || done == fail(Errno::nxio));
            EXPECT_EQ(bench.word(page), word);
            EXPECT_EQ(bench.table->leaves(), leaves);
            EXPECT_TRUE(bench.removed.flush.empty());
            EXPECT_EQ(bench.memory->pages_in_use(), before);
        }
        bench.memory->set_budget(before + level);
        if (bench.table->split(Iova{page}, bench.removed)) {
            EXPECT_EQ(bench.memory->pages_in_use(), before + level);
        }
    });
}

using Vtd = Case<Vtdss, 3, 39>;
constexpr std::uint64_t kPage = 0x1000;
constexpr std::uint64_t k2MBytes = 0x20'0000;
constexpr std::uint64_t k1GBytes = 0x4000'0000;

TEST(Split, a_gigabyte_cut_into_pages_joins_into_one_leaf_again)
{
    OneTable<Vtd> bench;
    ASSERT_TRUE(bench.map(k1GBytes, 3 * k1GBytes, k1GBytes));
    auto const word = bench.word(k1GBytes);
    ASSERT_TRUE(bench.table->split(Iova{k1GBytes + k2MBytes + kPage}, bench.removed));
    EXPECT_EQ(bench.table->leaves()[21], 511);
    EXPECT_EQ(bench.table->leaves()[12], 512);
    EXPECT_EQ(bench.table->join({Iova{k1GBytes}, Iova{2 * k1GBytes - 1}}, bench.removed), 2);
    EXPECT_EQ(bench.word(k1GBytes), word);
    EXPECT_EQ(bench.removed.flush.table_levels, 3);
    bench.table->release(bench.removed);
    EXPECT_EQ(bench.table->tables(), 1);
}

TEST(Split, only_what_is_whole_alike_and_in_a_row_is_joined)
{
    struct Spoiler {
        char const* what;
        void (*apply)(OneTable<Vtd>&);
    };
    IovaRange const all{Iova{0}, Iova{k2MBytes - 1}};
    for (auto const& [what, apply] : {
             Spoiler{"a hole", [](auto& bench) { bench.unmap(5 * kPage, kPage); }},
             Spoiler{"another paddr", [](auto& bench) { bench.word(5 * kPage) += kPage; }},
             Spoiler{"other rights", [](auto& bench) { bench.word(5 * kPage) &= ~2ULL; }},
             Spoiler{"nothing", [](auto&) {}},
         }) {
        OneTable<Vtd> bench;
        for (std::uint64_t at = 0; at < k2MBytes; at += 16 * kPage)
            ASSERT_TRUE(bench.map(at, k2MBytes + at, 16 * kPage));
        apply(bench);
        // Not if only a part of it is asked for.
        EXPECT_EQ(bench.table->join({Iova{0}, Iova{k2MBytes - kPage - 1}}, bench.removed), 0);
        EXPECT_EQ(bench.table->join(all, bench.removed),
                  std::string_view{what} == "nothing" ? 1 : 0)
            << what;
    }
    OneTable<Vtd> misaligned;
    ASSERT_TRUE(misaligned.map(0, kPage, k2MBytes));
    EXPECT_EQ(misaligned.table->join(all, misaligned.removed), 0);
}

TEST(Split, a_mark_is_in_all_pieces_and_in_what_is_joined)
{
    using C = Case<ArmLpae<12>, 4, 48>;
    auto shape = C::shape();
    shape.tracking = Tracking::on;
    for (std::uint64_t const size : {std::uint64_t{0x10000}, k2MBytes, 16 * k2MBytes}) {
        OneTable<C> bench{shape};
        ASSERT_TRUE(bench.map(0, 0, size));
        auto const nothing = [](IovaRange) {};
        IovaRange const all{Iova{0}, Iova{size - 1}};
        EXPECT_EQ(bench.table->read_and_clear_dirty(all, nothing, bench.removed), 1);
        EXPECT_TRUE(bench.table->access(Iova{size - kPage}, Access::write));
        ASSERT_TRUE(bench.table->split(Iova{kPage}, bench.removed));
        std::uint64_t bytes = 0;
        bench.table->read_dirty(all, [&](IovaRange leaf) { bytes += leaf.size(); });
        EXPECT_EQ(bytes, size);
        EXPECT_TRUE(bench.table->read_and_clear_dirty(all, nothing, bench.removed));
        if (bench.table->join(all, bench.removed) != 0) {
            EXPECT_GT(bench.table->read_dirty(all, nothing), 0);
        }
    }
}

// Every leaf of the tiny format, cut at every place, and joined.
TEST(Split, of_every_tiny_range_at_every_place_translates_the_same)
{
    auto const memory = TableMemory::create(PageSize::lg2_of(5), TableMemory::kUnlimited).value();
    auto const shape = Shape<Tiny>::fixed(3, PageSizes{16 | 32 | 64 | 256});
    for (std::uint64_t start = 0; start < 64; ++start)
        for (std::uint64_t size = 1; start + size <= 64; ++size)
            for (std::uint64_t at = start; at < start + size; ++at) {
                auto const table = RadixTable<Tiny>::create(memory, shape).value();
                Removed removed;
                std::uint64_t mapped = 0;
                ASSERT_TRUE(table->map(Iova{start * 16}, Paddr{start * 16}, size * 16,
                                       {.prot = Prot::write}, mapped, removed));
                ASSERT_TRUE(table->split(Iova{at * 16}, removed));
                ASSERT_EQ(table->walk(Iova{at * 16})->iova.start, Iova{at * 16});
                for (int round = 0; round < 2; ++round) {
                    for (std::uint64_t page = 0; page < 64; ++page) {
                        auto const leaf = table->walk(Iova{page * 16 + 3});
                        bool const inside = page >= start && page < start + size;
                        ASSERT_EQ(leaf.has_value(), inside);
                        ASSERT_TRUE(!leaf || (leaf->paddr.raw() == leaf->iova.start.raw() &&
                                              leaf->prot == Prot::write));
                    }
                    table->join({Iova{0}, Iova{1023}}, removed);
                }
                ASSERT_EQ(table->unmap(Iova{start * 16}, size * 16, removed), size * 16);
                table->release(removed);
            }
    EXPECT_EQ(memory->pages_in_use(), 0);
}

}  // namespace
}  // namespace pinfold::test
