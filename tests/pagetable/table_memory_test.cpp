#include "pagetable/table_memory.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <set>
#include <thread>
#include <vector>

namespace pinfold::pagetable {
namespace {

void free_one(TableMemory& memory, Paddr table, unsigned lg2) { memory.free(table, table, 1, lg2); }

TEST(TableMemory, blocks_are_apart_and_aligned_and_zero_where_they_say_so)
{
    for (auto const page : {PageSize::lg2_of(5), k4K, k64K}) {
        for (unsigned const order : {0U, 1U, 6U}) {
            auto const memory = TableMemory::create(page, TableMemory::kUnlimited).value();
            unsigned const lg2 = page.lg2() + order;
            std::size_t const bytes = std::size_t{1} << lg2;
            for (int round = 0; round < 2; ++round) {
                std::set<Paddr> seen;
                for (int i = 0; i < 40; ++i) {
                    auto const block = memory->allocate(lg2).value();
                    EXPECT_TRUE(PageSize::lg2_of(lg2).aligned(block.paddr.raw()));
                    EXPECT_TRUE(memory->contains(block.paddr));
                    EXPECT_TRUE(seen.insert(block.paddr).second);
                    EXPECT_EQ(block.zeroed, round == 0);
                    auto* const at = static_cast<std::byte*>(memory->words(block.paddr));
                    if (block.zeroed) {
                        ASSERT_TRUE(std::all_of(
                            at, at + bytes, [](std::byte byte) { return byte == std::byte{}; }));
                    }
                    std::memset(at, 0xff, bytes);
                }
                EXPECT_EQ(memory->pages_in_use(), std::uint64_t{40} << order);
                for (Paddr const table : seen) free_one(*memory, table, lg2);
                EXPECT_EQ(memory->pages_in_use(), 0);
            }
        }
    }
}

TEST(TableMemory, what_alignment_passes_over_is_handed_out_as_pages)
{
    auto const memory = TableMemory::create({.page = k4K, .arena_bytes = 16 << 12}).value();
    std::set<Paddr> seen;
    seen.insert(memory->allocate(12)->paddr);
    EXPECT_TRUE(memory->allocate(15));              // the eight pages from the eighth on
    EXPECT_EQ(memory->allocate(15), std::nullopt);  // no eight are left in a row
    for (int i = 0; i < 7; ++i) {
        auto const block = memory->allocate(12);
        ASSERT_TRUE(block);
        EXPECT_FALSE(block->paddr.raw() - memory->base().raw() >= 8 << 12);
        EXPECT_TRUE(seen.insert(block->paddr).second);
    }
    EXPECT_EQ(memory->allocate(12), std::nullopt);
    EXPECT_EQ(memory->pages_in_use(), 16);
    EXPECT_EQ(memory->allocate(12 + 7), std::nullopt);  // larger than any block
}

TEST(TableMemory, the_budget_is_what_all_have_together)
{
    auto const memory = TableMemory::create(k4K, 3).value();
    ASSERT_TRUE(memory->allocate(12));
    auto const two = memory->allocate(13);
    ASSERT_TRUE(two);
    EXPECT_EQ(memory->allocate(12), std::nullopt);
    free_one(*memory, two->paddr, 13);
    EXPECT_TRUE(memory->allocate(13));
    EXPECT_EQ(memory->allocate(12), std::nullopt);
    EXPECT_EQ(memory->pages_in_use(), 3);
}

TEST(TableMemory, an_address_outside_the_arena_or_inside_a_page_is_no_table)
{
    auto const memory = TableMemory::create(k4K, TableMemory::kUnlimited).value();
    Paddr const page = memory->allocate(12)->paddr;
    for (Paddr const wild : {page + 8, page - 4096, Paddr{0}, Paddr{~std::uint64_t{0xfff}}}) {
        EXPECT_FALSE(memory->contains(wild));
        EXPECT_EQ(memory->info(wild), nullptr);
    }
}

TEST(TableMemory, an_arena_can_be_named_from_another_base)
{
    auto const memory =
        TableMemory::create({.page = k4K, .base = Paddr{0x8000'0000}, .arena_bytes = 1 << 20})
            .value();
    auto const first = memory->allocate(12).value();
    auto const second = memory->allocate(12).value();
    EXPECT_EQ(first.paddr, Paddr{0x8000'0000});
    EXPECT_EQ(second.paddr, Paddr{0x8000'1000});
    static_cast<std::byte*>(memory->words(second.paddr))[0] = std::byte{0x5a};
    ASSERT_GE(memory->used().size(), 0x2000);
    EXPECT_EQ(memory->used()[0x1000], std::byte{0x5a});
    EXPECT_FALSE(memory->contains(Paddr{0x8010'0000}));
    EXPECT_FALSE(memory->contains(Paddr{reinterpret_cast<std::uintptr_t>(memory->used().data())}));
}

TEST(TableMemory, threads_that_allocate_and_free_at_once_never_get_the_same_page)
{
    auto const memory = TableMemory::create(k4K, 64).value();
    auto const work = [&](std::uint64_t mark) {
        std::vector<Paddr> mine;
        for (int round = 0; round < 3000; ++round) {
            if (auto const block = memory->allocate(12)) {
                *static_cast<std::uint64_t*>(memory->words(block->paddr)) = mark;
                mine.push_back(block->paddr);
            }
            if (mine.size() < 8) continue;
            for (Paddr const table : mine) {
                ASSERT_EQ(*static_cast<std::uint64_t*>(memory->words(table)), mark);
                free_one(*memory, table, 12);
            }
            mine.clear();
        }
        for (Paddr const table : mine) free_one(*memory, table, 12);
    };
    {
        std::vector<std::jthread> threads;
        for (std::uint64_t mark = 1; mark <= 4; ++mark) threads.emplace_back(work, mark);
    }
    EXPECT_EQ(memory->pages_in_use(), 0);
}

// In a child, since locked memory cannot be told from other memory afterwards.
TEST(TableMemory, a_program_that_locks_all_its_memory_has_no_more_of_it)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "a sanitizer's own address space must not be filled";
#endif
    pid_t const child = ::fork();
    if (child == 0) {
        auto const before = TableMemory::create(k4K, TableMemory::kUnlimited).value();
        (void)before->allocate(12);
        // Where the user may not lock that much, there is nothing to see.
        if (::mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
            ::_exit(errno == EPERM || errno == ENOMEM ? 77 : 1);
        auto const after = TableMemory::create(k4K, TableMemory::kUnlimited).value();
        for (auto const& memory : {before, after})
            for (int i = 0; i < 2000; ++i)
                *static_cast<std::uint64_t*>(memory->words(memory->allocate(12)->paddr)) = 1;
        long pages = 0;
        long resident = 0;
        std::ifstream{"/proc/self/statm"} >> pages >> resident;
        ::_exit(pages > 2 * (64L << 18) && resident < (256L << 8) ? 0 : 2);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) GTEST_SKIP() << "may not lock memory";
    EXPECT_EQ(status, 0);
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
        std::uint64_t pages = 0;
        while (pages < 100'000 && (*memory)->allocate(12)) ++pages;
        ::_exit(pages >= 256 && pages < 100'000 ? 0 : 2);  // used up, and said so
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace pinfold::pagetable
