#include "pagetable/table_memory.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <set>

namespace pinfold::pagetable {
namespace {

TEST(TableMemory, pages_are_zero_apart_and_aligned_also_when_they_come_back)
{
    for (auto const page : {PageSize::lg2_of(5), k4K, k64K}) {
        auto const memory = TableMemory::create(page, TableMemory::kUnlimited).value();
        for (int round = 0; round < 2; ++round) {
            TableList list;
            std::set<Paddr> seen;
            for (int i = 0; i < 100; ++i) {
                Paddr const table = memory->allocate(list).value();
                EXPECT_TRUE(page.aligned(table.raw()));
                EXPECT_TRUE(memory->contains(table));
                EXPECT_TRUE(seen.insert(table).second);
                Word* const words = TableMemory::words(table);
                for (std::uint64_t w = 0; w < page.bytes() / sizeof(Word); ++w) {
                    ASSERT_EQ(words[w], 0);
                    words[w] = ~Word{0};
                }
            }
            EXPECT_EQ(memory->pages_in_use(), 100);
            memory->release(list);
            EXPECT_EQ(memory->pages_in_use(), 0);
        }
    }
}

TEST(TableMemory, the_budget_is_what_all_lists_have_together)
{
    auto const memory = TableMemory::create(k4K, 3).value();
    TableList a;
    TableList b;
    ASSERT_TRUE(memory->allocate(a));
    ASSERT_TRUE(memory->allocate(b));
    ASSERT_TRUE(memory->allocate(a));
    EXPECT_EQ(memory->allocate(b), fail(Errno::nomem));
    memory->release(a);
    EXPECT_TRUE(memory->allocate(b));
    memory->release(b);
}

TEST(TableMemory, a_page_moves_between_lists_once)
{
    auto const memory = TableMemory::create(k4K, TableMemory::kUnlimited).value();
    TableList live;
    TableList retired;
    std::vector<Paddr> pages;
    for (int i = 0; i < 5; ++i) pages.push_back(memory->allocate(live).value());
    for (int const i : {2, 0, 4, 3, 1}) {
        Paddr const page = pages[static_cast<std::size_t>(i)];
        EXPECT_TRUE(memory->move(page, live, retired));
        EXPECT_FALSE(memory->move(page, live, retired));
        EXPECT_TRUE(memory->owns(retired, page));
    }
    EXPECT_TRUE(live.empty());
    EXPECT_EQ(retired.pages(), 5);
    memory->release(retired);
    for (Paddr const page : pages) EXPECT_FALSE(memory->owns(retired, page));
    EXPECT_EQ(memory->pages_in_use(), 0);
}

TEST(TableMemory, an_address_outside_the_arena_or_inside_a_page_is_no_table)
{
    auto const memory = TableMemory::create(k4K, TableMemory::kUnlimited).value();
    TableList list;
    Paddr const page = memory->allocate(list).value();
    EXPECT_FALSE(memory->contains(page + 8));
    EXPECT_FALSE(memory->contains(page - 4096));
    EXPECT_FALSE(memory->contains(Paddr{0}));
    EXPECT_FALSE(memory->contains(Paddr{~std::uint64_t{0xfff}}));
    EXPECT_FALSE(memory->owns(list, Paddr{0}));
    memory->release(list);
}

// In a child, since a limit on address space cannot be taken back in comfort.
TEST(TableMemory, a_limit_on_address_space_makes_the_arena_smaller)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "a sanitizer needs the address space";
#endif
    pid_t const child = ::fork();
    if (child == 0) {
        rlimit const limit{.rlim_cur = 256 << 20, .rlim_max = 256 << 20};
        ::setrlimit(RLIMIT_AS, &limit);
        auto const memory = TableMemory::create(k4K, TableMemory::kUnlimited);
        if (!memory) ::_exit(1);
        TableList list;
        std::uint64_t pages = 0;
        while (pages < 100'000 && (*memory)->allocate(list)) ++pages;
        ::_exit(pages >= 256 && pages < 100'000 ? 0 : 2);  // used up, with ENOMEM
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace pinfold::pagetable
