// A process, and a device that reads and writes frames as the DMA port does.
#pragma once

#include <gtest/gtest.h>

#include <vector>

#include "base/read_section.hpp"
#include "host/guarded_copy.hpp"
#include "host/lock_source.hpp"
#include "host/memory.hpp"
#include "host/own_process.hpp"
#include "host/support.hpp"

namespace pinfold::host {

class MemoryBench : public testing::Test {
protected:
    MemoryBench() { install_recovery(); }

    std::vector<Paddr> pin(Memory& memory, Vaddr vaddr, std::size_t pages,
                           Intent intent = Intent::write)
    {
        std::vector<Paddr> paddrs(pages);
        auto const pinned = memory.pin(process_, vaddr, intent, paddrs);
        EXPECT_EQ(pinned, pages);
        paddrs.resize(pages);
        return paddrs;
    }

    static constexpr int kGone = -1;

    // The byte at `paddr`, or kGone.
    static int device_reads(Memory const& memory, Paddr paddr)
    {
        ReadSection const section;
        std::byte const* const from = memory.at(paddr);
        unsigned char byte = 0;
        if (from == nullptr || guarded_copy(&byte, from, 1) != 0) return kGone;
        return byte;
    }
    static bool device_writes(Memory const& memory, Paddr paddr, unsigned char byte)
    {
        ReadSection const section;
        std::byte* const to = memory.at(paddr);
        return to != nullptr && guarded_copy(to, &byte, 1) == 0;
    }
    static int process_reads(std::byte const* from)
    {
        return std::to_integer<int>(*static_cast<std::byte const volatile*>(from));
    }

    // What a process does that lets go of memory, with the call that precedes it.
    static void withdraw_and_unmap(Memory& memory, TestMapping& mapping, std::size_t first,
                                   std::size_t pages)
    {
        ASSERT_TRUE(memory.withdraw(mapping.vaddr(first), pages * kPage, Memory::Leaving::unmap));
        mapping.unmap(first, pages);
    }
    static void withdraw_and_replace(Memory& memory, TestMapping const& mapping, std::size_t first,
                                     std::size_t pages)
    {
        ASSERT_TRUE(memory.withdraw(mapping.vaddr(first), pages * kPage, Memory::Leaving::unmap));
        ASSERT_EQ(::mmap(mapping.page(first), pages * kPage, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
                  mapping.page(first));
    }
    static void withdraw_and_discard(Memory& memory, TestMapping const& mapping,
                                     int advice = MADV_DONTNEED)
    {
        auto const leaving =
            advice == MADV_REMOVE ? Memory::Leaving::punch : Memory::Leaving::discard;
        ASSERT_TRUE(memory.withdraw(mapping.vaddr(), mapping.size(), leaving));
        ASSERT_EQ(::madvise(mapping.page(0), mapping.size(), advice), 0);
    }

    FixedLockSource source_{~std::uint64_t{0}};
    OwnProcess process_{source_, k4K};
};

}  // namespace pinfold::host
