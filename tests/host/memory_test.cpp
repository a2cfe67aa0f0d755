#include "host/memory.hpp"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <vector>

#include "host/memory_bench.hpp"

namespace pinfold::host {
namespace {

class MemoryTest : public MemoryBench {};

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
    EXPECT_EQ(device_reads(memory, paddrs[0]), kGone);
}

TEST_F(MemoryTest, contiguous_pages_have_contiguous_paddrs_aligned_as_they_are)
{
    Memory memory{{}};
    TestMapping const mapping{2000};
    auto const paddrs = pin(memory, mapping.vaddr(), 2000);
    for (std::size_t i = 0; i < paddrs.size(); ++i) {
        ASSERT_EQ(paddrs[i], paddrs[0] + i * kPage);
    }
    EXPECT_EQ(paddrs[0].raw() % k1G.bytes(), mapping.vaddr().raw() % k1G.bytes());
    memory.unpin(paddrs[0], 2000);
}

TEST_F(MemoryTest, scattered_pages_have_no_neighbours_and_work_all_the_same)
{
    Memory memory{{.numbering = FrameNumbering::scattered, .seed = 11}};
    TestMapping const mapping{500};
    auto const paddrs = pin(memory, mapping.vaddr(), 500);
    unsigned neighbours = 0;
    for (std::size_t i = 0; i < paddrs.size(); ++i) {
        if (i != 0 && paddrs[i] == paddrs[i - 1] + kPage) ++neighbours;
        *mapping.page(i) = static_cast<std::byte>(i % 251);
        ASSERT_EQ(device_reads(memory, paddrs[i]), static_cast<int>(i % 251));
    }
    EXPECT_LT(neighbours, 2U);
    for (auto const paddr : paddrs) memory.unpin(paddr, 1);
    EXPECT_EQ(memory.pinned_pages(), 0U);
}

TEST_F(MemoryTest, a_page_pinned_twice_is_one_frame_until_the_last_unpin)
{
    Memory memory{{}};
    TestMapping const mapping{1};
    mapping.fill(3);
    auto const first = pin(memory, mapping.vaddr(), 1);
    auto const second = pin(memory, mapping.vaddr(), 1, Intent::read);
    EXPECT_EQ(first, second);
    EXPECT_EQ(memory.pinned_pages(), 1U);
    memory.unpin(first[0], 1);
    EXPECT_EQ(device_reads(memory, first[0]), 3);
    memory.unpin(first[0], 1);
    EXPECT_EQ(device_reads(memory, first[0]), kGone);
    EXPECT_EQ(memory.pinned_pages(), 0U);
    EXPECT_EQ(memory.peak_pinned_pages(), 1U);
}

TEST_F(MemoryTest, a_wild_paddr_leads_nowhere)
{
    Memory memory{{}};
    TestMapping const mapping{1};
    auto const paddrs = pin(memory, mapping.vaddr(), 1);
    EXPECT_EQ(device_reads(memory, paddrs[0] + kPage), kGone);
    EXPECT_EQ(device_reads(memory, Paddr{0}), kGone);
    EXPECT_EQ(device_reads(memory, Paddr{~std::uint64_t{0}}), kGone);
    std::mt19937_64 random{std::random_device{}()};
    for (int i = 0; i < 100000; ++i) {
        Paddr const paddr{random() >> (i % 64)};
        if (paddr.raw() >> 12 != paddrs[0].raw() >> 12) {
            ASSERT_EQ(device_reads(memory, paddr), kGone) << std::hex << paddr.raw();
        }
    }
    memory.unpin(paddrs[0], 1);
}

// ------------------------------------------------------------------------------------ where it
// ends

TEST_F(MemoryTest, a_run_ends_before_the_first_page_that_cannot_be_pinned)
{
    for (std::size_t good = 0; good < 12; ++good) {
        Memory memory{{}};
        TestMapping const mapping{12};
        ::mprotect(mapping.page(good), kPage, PROT_NONE);
        std::vector<Paddr> paddrs(12);
        auto const pinned = memory.pin(process_, mapping.vaddr(), Intent::write, paddrs);
        if (good == 0) {
            ASSERT_EQ(pinned.error(), Errno::fault);
        } else {
            ASSERT_EQ(pinned, good);
            memory.unpin(paddrs[0], good);
        }
        ASSERT_EQ(memory.pinned_pages(), 0U);
    }
}

TEST_F(MemoryTest, the_end_of_the_address_space_is_efault)
{
    Memory memory{{}};
    std::vector<Paddr> paddrs(4);
    for (auto const raw : {(std::uint64_t{1} << 47) - 4096, std::uint64_t{1} << 47,
                           ~std::uint64_t{0} - 4095, ~std::uint64_t{0} - 8191}) {
        auto const pinned = memory.pin(process_, Vaddr{raw}, Intent::read, paddrs);
        ASSERT_FALSE(pinned);
        EXPECT_EQ(pinned.error(), Errno::fault);
    }
}

TEST_F(MemoryTest, a_table_that_cannot_grow_is_enomem_or_a_shorter_run_and_leaves_nothing)
{
    constexpr std::size_t kPages = 2048;  // five chunks at most
    TestMapping const mapping{kPages};
    bool whole = false;
    unsigned refused = 0;
    for (std::uint64_t limit = 0; !whole; limit += kPage) {
        ASSERT_LT(limit, 16U << 20);
        Memory memory{{.table_limit_bytes = limit}};
        std::vector<Paddr> paddrs(kPages);
        auto const pinned = memory.pin(process_, mapping.vaddr(), Intent::write, paddrs);
        if (!pinned) {
            ASSERT_EQ(pinned.error(), Errno::nomem);
            ++refused;
        } else {
            whole = pinned == kPages;
            ASSERT_EQ(memory.pinned_pages(), *pinned);
            memory.unpin(paddrs[0], *pinned);
        }
        ASSERT_EQ(memory.pinned_pages(), 0U);
    }
    EXPECT_GT(refused, 0U);
}

// ------------------------------------------------------------------------------------ the zero
// page

TEST_F(MemoryTest, the_zero_page_is_one_paddr_that_is_no_frame)
{
    for (unsigned const bits : {48U, 52U}) {
        Memory memory{{.paddr_bits = bits}};
        OwnProcess old{source_, k4K, Kernel::v6_1};
        TestMapping const mapping{3};
        *mapping.page(1) = std::byte{7};
        std::vector<Paddr> paddrs(3);
        ASSERT_EQ(memory.pin(old, mapping.vaddr(), Intent::read, paddrs), 3U);
        EXPECT_EQ(paddrs[0], paddrs[2]);
        EXPECT_TRUE(memory.reserved(paddrs[0]));
        EXPECT_FALSE(memory.reserved(paddrs[1]));
        EXPECT_EQ(paddrs[0].raw() >> bits, 0U);
        EXPECT_EQ(memory.pinned_pages(), 1U);
        EXPECT_EQ(device_reads(memory, paddrs[0] + 4095), 0);
        EXPECT_EQ(device_reads(memory, paddrs[1]), 7);
        // What the process writes later is a page of its own.
        *mapping.page(0) = std::byte{8};
        EXPECT_EQ(device_reads(memory, paddrs[0]), 0);
        EXPECT_FALSE(device_writes(memory, paddrs[0], 9)) << "nobody writes the zero page";
        auto const own = pin(memory, mapping.vaddr(), 1);
        EXPECT_EQ(device_reads(memory, own[0]), 8);
        memory.unpin(paddrs[0], 1);
        memory.unpin(paddrs[2], 1);
        EXPECT_EQ(device_reads(memory, paddrs[0]), 0);
        memory.unpin(paddrs[1], 1);
        memory.unpin(own[0], 1);
        EXPECT_EQ(memory.pinned_pages(), 0U);
    }
}

TEST_F(MemoryTest, paddrs_keep_to_their_bits_and_frames_to_what_is_theirs)
{
    for (auto const numbering : {FrameNumbering::contiguous, FrameNumbering::scattered}) {
        Memory memory{{.numbering = numbering, .paddr_bits = 48}};
        TestMapping const mapping{64};
        std::vector<Paddr> all;
        for (int round = 0; round < 20; ++round) {
            for (auto const paddr : pin(memory, mapping.vaddr(), 64)) {
                EXPECT_EQ(paddr.raw() >> 48, 0U);
                EXPECT_FALSE(memory.reserved(paddr));
                all.push_back(paddr);
            }
            withdraw_and_replace(memory, mapping, 0, 64);
        }
        std::set<std::uint64_t> different;
        for (auto const paddr : all) different.insert(paddr.raw());
        EXPECT_EQ(different.size(), all.size());
        for (auto const paddr : all) memory.unpin(paddr, 1);
    }
}

// --------------------------------------------------------------------------- larger emulated pages

TEST_F(MemoryTest, frames_of_a_64K_host_are_64K_of_process_memory)
{
    for (auto const page_size : {k16K, k64K}) {
        Memory memory{{.page_size = page_size}};
        std::size_t const small = page_size.bytes() / kPage;
        TestMapping mapping{4 * small};
        std::size_t const skip =
            (page_size.align_up(mapping.vaddr().raw()) - mapping.vaddr().raw()) / kPage;
        for (std::size_t i = 0; i < 3 * small; ++i) {
            *mapping.page(skip + i) = static_cast<std::byte>(i);
        }
        auto const paddrs = pin(memory, mapping.vaddr(skip), 3);
        ASSERT_EQ(paddrs.size(), 3U);
        EXPECT_EQ(memory.pinned_pages(), 3U);
        EXPECT_EQ(paddrs[1], paddrs[0] + page_size.bytes());
        for (std::size_t i = 0; i < 3 * small; ++i) {
            ASSERT_EQ(device_reads(memory, paddrs[i / small] + (i % small) * kPage),
                      static_cast<int>(i));
        }
        ASSERT_TRUE(memory.withdraw(mapping.vaddr(skip + small), page_size.bytes(),
                                    Memory::Leaving::unmap));
        mapping.unmap(skip + small, small);
        for (std::size_t i = 0; i < 3 * small; ++i) {
            ASSERT_EQ(device_reads(memory, paddrs[i / small] + (i % small) * kPage),
                      static_cast<int>(i));
        }
        memory.unpin(paddrs[0], 3);
    }
}

TEST_F(MemoryTest, a_64K_frame_with_a_hole_in_it_cannot_be_pinned)
{
    Memory memory{{.page_size = k64K}};
    TestMapping mapping{32};
    std::size_t const skip = (k64K.align_up(mapping.vaddr().raw()) - mapping.vaddr().raw()) / kPage;
    mapping.unmap(skip + 9, 1);
    std::vector<Paddr> paddrs(1);
    auto const pinned = memory.pin(process_, mapping.vaddr(skip), Intent::read, paddrs);
    EXPECT_EQ(pinned.error(), Errno::fault);
}

TEST_F(MemoryTest, a_frame_of_which_a_part_is_unmapped_stays_where_it_is)
{
    Memory memory{{.page_size = k64K}};
    TestMapping mapping{32};
    std::size_t const skip = (k64K.align_up(mapping.vaddr().raw()) - mapping.vaddr().raw()) / kPage;
    mapping.fill(4);
    auto const paddrs = pin(memory, mapping.vaddr(skip), 1);
    ASSERT_TRUE(memory.withdraw(mapping.vaddr(skip), kPage, Memory::Leaving::unmap));
    mapping.unmap(skip, 1);
    EXPECT_EQ(memory.moved_pages(), 0U);
    EXPECT_EQ(device_reads(memory, paddrs[0]), kGone) << "a fault that shows, not stale bytes";
    EXPECT_EQ(device_reads(memory, paddrs[0] + kPage), 4);
    memory.unpin(paddrs[0], 1);
}

TEST_F(MemoryTest, a_frame_of_several_mappings_moves_aside_part_by_part)
{
    for (auto const page_size : {k16K, k64K}) {
        Memory memory{{.page_size = page_size}};
        std::size_t const small = page_size.bytes() / kPage;
        TestMapping mapping{2 * small};
        auto const start = page_size.align_up(mapping.vaddr().raw());
        std::size_t const skip = (start - mapping.vaddr().raw()) / kPage;
        mapping.fill(4);
        // The second small page is a file's, the third may only be read, the fourth is a hole soon.
        auto const file = memory_file(1);
        auto* const shared = static_cast<std::byte*>(
            ::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0));
        ASSERT_EQ(::mmap(mapping.page(skip + 1), kPage, PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_FIXED, file.get(), 0),
                  mapping.page(skip + 1));
        shared[0] = std::byte{5};
        auto const paddrs = pin(memory, mapping.vaddr(skip), 1);
        ASSERT_EQ(::mprotect(mapping.page(skip + 2), kPage, PROT_READ), 0);
        mapping.unmap(skip + 3, 1);

        ASSERT_TRUE(
            memory.withdraw(mapping.vaddr(skip), page_size.bytes(), Memory::Leaving::unmap));
        mapping.unmap(skip, 3);
        mapping.unmap(skip + 4, small - 4);
        EXPECT_EQ(memory.moved_pages(), 1U);
        EXPECT_EQ(device_reads(memory, paddrs[0]), 4);
        EXPECT_EQ(device_reads(memory, paddrs[0] + kPage), 5);
        EXPECT_TRUE(device_writes(memory, paddrs[0] + kPage, 6));
        EXPECT_EQ(process_reads(shared), 6) << "it is the file's page still";
        EXPECT_TRUE(device_writes(memory, paddrs[0] + 2 * kPage, 7)) << "as it was when pinned";
        EXPECT_EQ(device_reads(memory, paddrs[0] + 3 * kPage), kGone);
        memory.unpin(paddrs[0], 1);
        EXPECT_EQ(device_reads(memory, paddrs[0]), kGone);
        ::munmap(shared, kPage);
    }
}

TEST_F(MemoryTest, a_frame_of_several_mappings_is_pinned_as_one)
{
    Memory memory{{.page_size = k64K}};
    TestMapping mapping{32};
    std::size_t const skip = (k64K.align_up(mapping.vaddr().raw()) - mapping.vaddr().raw()) / kPage;
    mapping.fill(4);
    ::mprotect(mapping.page(skip + 15), kPage, PROT_READ);
    std::vector<Paddr> paddrs(1);
    EXPECT_EQ(memory.pin(process_, mapping.vaddr(skip), Intent::write, paddrs).error(),
              Errno::fault);
    EXPECT_TRUE(memory.pin(process_, mapping.vaddr(skip), Intent::read, paddrs));
    EXPECT_EQ(memory.pinned_pages(), 1U);
    EXPECT_EQ(device_reads(memory, paddrs[0] + 15 * kPage), 4);
    memory.unpin(paddrs[0], 1);
}

// ---------------------------------------------------------------------------------- other
// processes

TEST_F(MemoryTest, what_the_process_writes_after_a_fork_is_what_the_device_sees)
{
    Memory memory{{}};
    TestMapping const mapping{1};
    mapping.fill(1);
    auto const paddrs = pin(memory, mapping.vaddr(), 1);
    EXPECT_TRUE(in_child([&] {
        mapping.fill(9);
        return true;
    }));
    EXPECT_EQ(device_reads(memory, paddrs[0]), 1);
    EXPECT_TRUE(in_child([&] { return process_reads(mapping.page(0)) == 1; }));
    mapping.fill(2);
    EXPECT_EQ(device_reads(memory, paddrs[0]), 2);
    EXPECT_TRUE(device_writes(memory, paddrs[0], 3));
    EXPECT_EQ(process_reads(mapping.page(0)), 3);
    memory.unpin(paddrs[0], 1);
}

// ------------------------------------------------------------------------------------------- model

// Random pins and unpins against counts per page.
TEST_F(MemoryTest, pins_are_counted_per_page_whatever_the_order)
{
    auto const seed = std::random_device{}();
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random{seed};
    constexpr std::size_t kPages = 40;
    for (auto const numbering : {FrameNumbering::contiguous, FrameNumbering::scattered}) {
        Memory memory{{.numbering = numbering, .seed = seed}};
        TestMapping const mapping{kPages};
        for (std::size_t i = 0; i < kPages; ++i) *mapping.page(i) = static_cast<std::byte>(i);
        std::vector<unsigned> pins(kPages);
        std::vector<Paddr> paddr_of(kPages);
        for (int step = 0; step < 4000; ++step) {
            std::size_t const start = random() % kPages;
            std::size_t const pages = 1 + random() % (kPages - start);
            if (random() % 2 == 0) {
                auto const paddrs = pin(memory, mapping.vaddr(start), pages);
                for (std::size_t i = 0; i < pages; ++i) {
                    if (pins[start + i]++ == 0) paddr_of[start + i] = paddrs[i];
                    ASSERT_EQ(paddrs[i], paddr_of[start + i]);
                }
            } else if (pins[start] != 0) {
                memory.unpin(paddr_of[start], 1);
                --pins[start];
            }
            std::set<std::uint64_t> live;
            for (std::size_t i = 0; i < kPages; ++i) {
                if (pins[i] == 0) continue;
                live.insert(paddr_of[i].raw());
                ASSERT_EQ(device_reads(memory, paddr_of[i]), static_cast<int>(i));
            }
            ASSERT_EQ(memory.pinned_pages(), live.size());
        }
        for (std::size_t i = 0; i < kPages; ++i) {
            while (pins[i]-- != 0) memory.unpin(paddr_of[i], 1);
        }
        EXPECT_EQ(memory.pinned_pages(), 0U);
    }
}

}  // namespace
}  // namespace pinfold::host
