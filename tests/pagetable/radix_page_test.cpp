// Two threads at chosen instants of calls about one page.
#include <gtest/gtest.h>

#include <functional>
#include <semaphore>
#include <thread>
#include <utility>

#include "pagetable/radix_core.hpp"
#include "pagetable/table_memory.hpp"
#include "pagetable/vtdss.hpp"

namespace pinfold::test {
namespace {

using namespace pagetable;

// What this thread does once before its next look at a TableInfo, or its next run of words.
thread_local std::function<void()> before_info;
thread_local std::function<void()> before_fill;

void do_once(std::function<void()>& what)
{
    if (what) std::exchange(what, nullptr)();
}

class StoppedSource {
public:
    explicit StoppedSource(TableMemory& memory) : memory_{memory} {}

    TableInfo* info(Paddr table) const
    {
        do_once(before_info);
        return memory_.info(table);
    }
    auto allocate(unsigned lg2) { return memory_.allocate(lg2); }
    void free(Paddr first, Paddr last, std::uint64_t count, unsigned lg2)
    {
        memory_.free(first, last, count, lg2);
    }
    template <class Visit>
    void each(Visit&& visit)
    {
        memory_.each(visit);
    }
    void* words(Paddr table) const { return memory_.words(table); }
    void* words_of_table(Paddr table) const { return memory_.words_of_table(table); }
    std::uint64_t new_owner() { return memory_.new_owner(); }
    unsigned block_lg2() const { return memory_.block_lg2(); }

private:
    TableMemory& memory_;
};

struct StoppedWords : Words {
    template <class W>
    static void fill(W* slots, std::uint64_t count, W first, W step)
    {
        do_once(before_fill);
        Words::fill(slots, count, first, step);
    }
};

constexpr std::uint64_t kPage = 0x1000;
constexpr std::uint64_t k2MBytes = 0x20'0000;

// A thread has looked which table is the near one. Until it looks what that is, the table goes, and
// is about to become the one that the thread needs; but another will be there first.
TEST(RadixPage, does_not_go_into_a_table_that_is_not_in_the_tree_yet)
{
    auto const memory = TableMemory::create(PageSize::lg2_of(12), TableMemory::kUnlimited).value();
    StoppedSource source{*memory};
    auto shape = Shape<Vtdss>::fixed(3, PageSizes{kPage | k2MBytes});
    shape.writers = Writers::many;
    Radix<Vtdss, StoppedSource, StoppedWords> table{source, shape};
    auto const map = [&](std::uint64_t iova, std::uint64_t size = kPage) {
        std::uint64_t mapped = 0;
        Removed none;
        EXPECT_TRUE(table.map(Iova{iova}, Paddr{iova + 0x1'0000'0000}, size, {.prot = Prot::read},
                              mapped, none));
    };
    Removed removed;
    map(0, k2MBytes - kPage);
    map(k2MBytes - kPage);

    std::binary_semaphore has_looked{0};
    std::binary_semaphore goes_on{0};
    std::thread other{[&] {
        before_info = [&] {
            has_looked.release();
            goes_on.acquire();
        };
        map(k2MBytes);
    }};
    has_looked.acquire();
    EXPECT_EQ(table.unmap(Iova{0}, k2MBytes, removed), k2MBytes);
    std::uint64_t const tables = table.tables();
    table.release(removed);
    EXPECT_EQ(table.tables(), tables - 1) << "it is free";
    before_fill = [&] {
        goes_on.release();
        other.join();
    };
    map(k2MBytes + kPage);
    if (other.joinable()) {
        goes_on.release();
        other.join();
        FAIL() << "the new table was not the one that was freed";
    }

    for (std::uint64_t const iova : {k2MBytes, k2MBytes + kPage}) {
        auto const leaf = table.walk(Iova{iova});
        ASSERT_TRUE(leaf) << std::hex << iova;
        EXPECT_EQ(leaf->paddr.raw(), iova + 0x1'0000'0000);
    }
    EXPECT_EQ(table.unmap(Iova{k2MBytes}, 2 * kPage, removed), 2 * kPage);
}

}  // namespace
}  // namespace pinfold::test
