#include "host/memory.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "base/read_section.hpp"
#include "host/guarded_copy.hpp"
#include "host/lock_source.hpp"
#include "host/own_process.hpp"
#include "host/support.hpp"

namespace pinfold::host {
namespace {

constexpr std::uint64_t kUnlimited = ~std::uint64_t{0};

class MemoryTest : public testing::Test {
protected:
    MemoryTest() { install_recovery(); }

    std::vector<Paddr> pin(Memory& memory, Vaddr vaddr, std::size_t pages,
                           Intent intent = Intent::write)
    {
        std::vector<Paddr> paddrs(pages);
        auto const pinned = memory.pin(process_, vaddr, intent, paddrs);
        EXPECT_TRUE(pinned);
        paddrs.resize(pinned.value_or(0));
        return paddrs;
    }
    // What a device reads of a page's first byte; -1: it is not reachable.
    static int device_reads(Memory const& memory, Paddr paddr)
    {
        ReadSection const section;
        std::byte const* const from = memory.at(paddr);
        unsigned char byte = 0;
        if (from == nullptr || guarded_copy(&byte, from, 1) != 0) return -1;
        return byte;
    }
    static bool device_writes(Memory const& memory, Paddr paddr, unsigned char byte)
    {
        ReadSection const section;
        std::byte* const to = memory.at(paddr);
        return to != nullptr && guarded_copy(to, &byte, 1) == 0;
    }
    static int process_reads(std::byte const* from) { return std::to_integer<int>(*from); }

    FixedLockSource source_{kUnlimited};
    OwnProcess process_{source_, k4K};
};

TEST_F(MemoryTest, a_pinned_page_is_reached_through_its_paddr)
{
    Memory memory{{}};
    TestMapping const mapping{2};
    mapping.fill(7);
    auto const paddrs = pin(memory, mapping.vaddr(), 2);
    EXPECT_EQ(device_reads(memory, paddrs[1]), 7);
    EXPECT_TRUE(device_writes(memory, paddrs[1] + 5, 9));
    EXPECT_EQ(process_reads(mapping.page(1) + 5), 9);
    memory.unpin(paddrs[0], 2);
    EXPECT_EQ(device_reads(memory, paddrs[0]), -1);
    EXPECT_EQ(memory.pinned_pages(), 0U);
}

TEST_F(MemoryTest, an_unmapped_page_stays_reachable_as_the_old_page)
{
    Memory memory{{}};
    TestMapping const mapping{4};
    mapping.fill(7);
    auto const paddrs = pin(memory, mapping.vaddr(), 4);
    ASSERT_TRUE(memory.withdraw(mapping.vaddr(), mapping.size(), Memory::Leaving::unmap));
    ASSERT_EQ(::mmap(mapping.page(0), mapping.size(), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
              mapping.page(0));
    mapping.fill(8);
    EXPECT_EQ(device_reads(memory, paddrs[3]), 7);
    auto const fresh = pin(memory, mapping.vaddr(), 4);
    EXPECT_NE(fresh[0], paddrs[0]);
    EXPECT_EQ(device_reads(memory, fresh[3]), 8);
    EXPECT_EQ(memory.moved_pages(), 4U);
    memory.unpin(paddrs[0], 4);
    EXPECT_EQ(device_reads(memory, paddrs[0]), -1);
    memory.unpin(fresh[0], 4);
}

}  // namespace
}  // namespace pinfold::host
