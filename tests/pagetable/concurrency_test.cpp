// Several threads on one table, each with IOVAs of its own, and walkers beside them.
#include <atomic>
#include <thread>

#include "pagetable/cases.hpp"

namespace pinfold::test {
namespace {

constexpr std::uint64_t kPage = 0x1000;
constexpr std::uint64_t kAway = 0x1000'1000;  // lines up with no leaf but a page
constexpr unsigned kThreads = 4;
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int kRounds = 150;
#else
constexpr int kRounds = 1500;
#endif

template <class C>
class Several : public testing::Test {};
using Shared = testing::Types<Case<Vtdss, 4, 48>, Case<Amdv1, 3, 64, 0xffff'ff7f'ffff'f000>,
                              Case<ArmLpae<12>, 4, 48>, Case<ArmV7s<>, 2, 32>>;
TYPED_TEST_SUITE(Several, Shared);

// Pages of all threads lie side by side in the same tables, which come and go under them; each
// thread also fills and empties whole tables. A walker may find a page mapped or not, and nothing
// else. Retired tables are kept to the end, since walkers do not say when they are done.
TYPED_TEST(Several, threads_map_and_unmap_their_own_pages_of_shared_tables)
{
    auto shape = TypeParam::shape();
    shape.writers = Writers::many;
    OneTable<TypeParam> bench{shape};
    auto& table = *bench.table;
    std::atomic<bool> done{false};
    constexpr std::uint64_t kFixed = 500 * kPage;  // in a table of everybody's, and never touched
    ASSERT_TRUE(bench.map(kFixed, kFixed + kAway, kPage));
    constexpr std::uint64_t kOwn = 0x40'0000;  // a block of its own for each thread, from here on
    {
        std::vector<std::jthread> walkers;
        for (int i = 0; i < 2; ++i)
            walkers.emplace_back([&] {
                for (std::uint64_t at = 0; !done.load(std::memory_order_relaxed);
                     at = (at + 37 * kPage) % (kOwn * (kThreads + 1))) {
                    ASSERT_TRUE(table.walk(Iova{kFixed}));
                    auto const leaf = table.walk(Iova{at});
                    if (!leaf) continue;
                    ASSERT_EQ(leaf->paddr.raw(), leaf->iova.start.raw() + kAway);
                }
            });
        {
            std::vector<std::jthread> writers;
            for (unsigned me = 0; me < kThreads; ++me)
                writers.emplace_back([&, me] {
                    Removed removed;
                    for (int round = 0; round < kRounds; ++round) {
                        std::uint64_t mapped = 0;
                        std::uint64_t const page =
                            (static_cast<std::uint64_t>(round) % 96 * kThreads + me) * kPage;
                        std::uint64_t const block = kOwn * (me + 1);
                        for (auto const& [at, size] : {std::pair{page, kPage}, {block, kOwn / 2}}) {
                            ASSERT_TRUE(table.map(Iova{at}, Paddr{at + kAway}, size,
                                                  {.prot = Prot::read}, mapped, removed));
                            std::uint64_t bytes = 0;
                            ASSERT_EQ(table.unmap(Iova{at}, size, removed,
                                                  [&](Run const& run) {
                                                      ASSERT_EQ(run.paddr.raw(),
                                                                run.iova.raw() + kAway);
                                                      bytes += run.size;
                                                  }),
                                      size);
                            ASSERT_EQ(bytes, size);
                        }
                    }
                });
        }
        done = true;
    }
    EXPECT_EQ(bench.unmap(kFixed, kPage), kPage);
    for (auto const leaves : table.leaves()) EXPECT_EQ(leaves, 0);
    bench.table.reset();
    EXPECT_EQ(bench.memory->pages_in_use(), 0);
}

// All begin at once, so that all want the same tables, and the same new roots.
TYPED_TEST(Several, threads_that_need_the_same_new_tables_end_with_one_of_each)
{
    for (int round = 0; round < kRounds / 10; ++round) {
        auto shape = TypeParam::shape();
        shape.writers = Writers::many;
        OneTable<TypeParam> bench{shape};
        std::uint64_t const top = std::min(shape.width, 60U) - 1;
        std::uint64_t const far = (std::uint64_t{1} << top);
        std::atomic<unsigned> ready{0};
        {
            std::vector<std::jthread> threads;
            for (unsigned me = 0; me < kThreads; ++me)
                threads.emplace_back([&, me] {
                    Removed removed;
                    std::uint64_t mapped = 0;
                    ++ready;
                    while (ready.load() < kThreads) std::this_thread::yield();
                    ASSERT_TRUE(bench.table->map(Iova{far + me * kPage}, Paddr{me * kPage}, kPage,
                                                 {.prot = Prot::read}, mapped, removed));
                });
        }
        for (unsigned me = 0; me < kThreads; ++me)
            ASSERT_EQ(bench.table->walk(Iova{far + me * kPage})->paddr, Paddr{me * kPage});
        // One table for each level, and for AMD the old roots.
        EXPECT_LE(bench.table->tables(), 2 * bench.table->levels());
        EXPECT_EQ(bench.memory->pages_in_use() > 0, true);
        bench.table.reset();
        EXPECT_EQ(bench.memory->pages_in_use(), 0);
    }
}

}  // namespace
}  // namespace pinfold::test
