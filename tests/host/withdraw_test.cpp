// Memory::withdraw() and follow(): a pin holds its page whatever the process does.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <cstdio>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "host/memory_bench.hpp"
#include "host/pinned_copy.hpp"

namespace pinfold::host {
namespace {

class WithdrawTest : public MemoryBench {};

TEST_F(WithdrawTest, an_unmapped_page_stays_reachable_as_the_old_page)
{
    Memory memory{{}};
    TestMapping mapping{4};
    mapping.fill(7);
    auto const paddrs = pin(memory, mapping.vaddr(), 4);
    withdraw_and_unmap(memory, mapping, 0, 4);
    EXPECT_EQ(device_reads(memory, paddrs[3]), 7);
    EXPECT_TRUE(device_writes(memory, paddrs[3] + 1, 8));
    EXPECT_EQ(device_reads(memory, paddrs[3] + 1), 8);
    EXPECT_EQ(memory.moved_pages(), 4U);
    EXPECT_EQ(memory.pinned_pages(), 4U);
    memory.unpin(paddrs[0], 4);
    EXPECT_EQ(device_reads(memory, paddrs[0]), kGone);
    EXPECT_EQ(memory.pinned_pages(), 0U);
}

TEST_F(WithdrawTest, a_new_mapping_at_the_same_address_is_another_frame)
{
    for (auto const numbering : {FrameNumbering::contiguous, FrameNumbering::scattered}) {
        Memory memory{{.numbering = numbering}};
        TestMapping const mapping{4};
        mapping.fill(7);
        auto const old = pin(memory, mapping.vaddr(), 4);
        withdraw_and_replace(memory, mapping, 0, 4);
        mapping.fill(8);
        EXPECT_EQ(device_reads(memory, old[2]), 7);
        auto const fresh = pin(memory, mapping.vaddr(), 4);
        EXPECT_NE(fresh[2], old[2]);
        EXPECT_EQ(device_reads(memory, fresh[2]), 8);
        EXPECT_TRUE(device_writes(memory, old[2], 1));
        EXPECT_EQ(process_reads(mapping.page(2)), 8);
        if (numbering == FrameNumbering::contiguous) {
            EXPECT_EQ(fresh[3], fresh[0] + 3 * kPage);
        }
        for (std::size_t i = 0; i < 4; ++i) {
            memory.unpin(old[i], 1);
            EXPECT_EQ(device_reads(memory, fresh[i]), 8);
            memory.unpin(fresh[i], 1);
        }
        EXPECT_EQ(memory.pinned_pages(), 0U);
    }
}

TEST_F(WithdrawTest, a_hundred_pages_can_have_lived_at_one_address)
{
    Memory memory{{}};
    TestMapping const mapping{1};
    std::vector<Paddr> paddrs;
    std::set<std::uint64_t> different;
    for (int i = 0; i < 100; ++i) {
        mapping.fill(i);
        paddrs.push_back(pin(memory, mapping.vaddr(), 1)[0]);
        different.insert(paddrs.back().raw());
        withdraw_and_replace(memory, mapping, 0, 1);
    }
    EXPECT_EQ(different.size(), 100U);
    for (int i = 0; i < 100; ++i) {
        EXPECT_EQ(device_reads(memory, paddrs[static_cast<std::size_t>(i)]), i);
    }
    for (auto const paddr : paddrs) memory.unpin(paddr, 1);
    EXPECT_EQ(memory.pinned_pages(), 0U);
}

TEST_F(WithdrawTest, moved_pages_keep_all_their_pins)
{
    Memory memory{{}};
    TestMapping const mapping{1};
    mapping.fill(5);
    auto const paddrs = pin(memory, mapping.vaddr(), 1);
    pin(memory, mapping.vaddr(), 1);
    withdraw_and_replace(memory, mapping, 0, 1);
    memory.unpin(paddrs[0], 1);
    EXPECT_EQ(device_reads(memory, paddrs[0]), 5);
    memory.unpin(paddrs[0], 1);
    EXPECT_EQ(device_reads(memory, paddrs[0]), kGone);
}

TEST_F(WithdrawTest, only_the_pages_in_the_range_move)
{
    Memory memory{{}};
    TestMapping const mapping{8};
    mapping.fill(5);
    auto const paddrs = pin(memory, mapping.vaddr(), 8);
    withdraw_and_replace(memory, mapping, 3, 2);
    EXPECT_EQ(memory.moved_pages(), 2U);
    mapping.fill(6);
    for (std::size_t i = 0; i < 8; ++i) {
        EXPECT_EQ(device_reads(memory, paddrs[i]), i == 3 || i == 4 ? 5 : 6) << i;
    }
    memory.unpin(paddrs[0], 8);
}

TEST_F(WithdrawTest, until_the_process_unmaps_the_range_stays_its_own)
{
    Memory memory{{}};
    TestMapping const mapping{2};
    auto const paddrs = pin(memory, mapping.vaddr(), 2);
    ASSERT_TRUE(memory.withdraw(mapping.vaddr(), 2 * kPage, Memory::Leaving::unmap));
    void* const other = ::mmap(mapping.page(0), 2 * kPage, PROT_READ,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    EXPECT_EQ(other, MAP_FAILED) << "another thread's mmap() must not land in it";
    memory.unpin(paddrs[0], 2);
}

TEST_F(WithdrawTest, the_size_counts_as_rounded_up_to_a_page)
{
    Memory memory{{}};
    TestMapping mapping{2};
    mapping.fill(5);
    auto const paddrs = pin(memory, mapping.vaddr(), 2);
    ASSERT_TRUE(memory.withdraw(mapping.vaddr(), kPage + 1, Memory::Leaving::unmap));
    mapping.unmap(0, 2);
    EXPECT_EQ(device_reads(memory, paddrs[1]), 5);
    memory.unpin(paddrs[0], 2);
}

TEST_F(WithdrawTest, absurd_ranges_touch_nothing_that_is_not_there)
{
    Memory memory{{}};
    TestMapping const mapping{1};
    mapping.fill(5);
    auto const paddrs = pin(memory, mapping.vaddr(), 1);
    constexpr auto kUnmap = Memory::Leaving::unmap;
    EXPECT_TRUE(memory.withdraw(Vaddr{~std::uint64_t{0}}, ~std::uint64_t{0}, kUnmap));
    EXPECT_TRUE(memory.withdraw(mapping.vaddr(), 0, kUnmap));
    EXPECT_TRUE(memory.withdraw(mapping.vaddr(1), ~std::uint64_t{0}, kUnmap));
    EXPECT_EQ(memory.moved_pages(), 0U);
    EXPECT_TRUE(memory.withdraw(Vaddr{0}, ~std::uint64_t{0}, kUnmap));
    EXPECT_EQ(memory.moved_pages(), 1U);
    EXPECT_EQ(device_reads(memory, paddrs[0]), 5);
    memory.unpin(paddrs[0], 1);
}

TEST_F(WithdrawTest, a_run_may_span_mappings_of_different_rights)
{
    Memory memory{{}};
    auto const file = memory_file(2);
    TestMapping mapping{10};
    ASSERT_NE(::mmap(mapping.page(4), 2 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
                     file.get(), 0),
              MAP_FAILED);
    mapping.fill(5);
    auto const paddrs = pin(memory, mapping.vaddr(), 10);
    ::mprotect(mapping.page(1), kPage, PROT_READ);
    ::mprotect(mapping.page(2), kPage, PROT_NONE);
    withdraw_and_unmap(memory, mapping, 0, 10);
    for (auto const paddr : paddrs) {
        EXPECT_EQ(device_reads(memory, paddr), 5);
        EXPECT_TRUE(device_writes(memory, paddr, 6));
        EXPECT_EQ(device_reads(memory, paddr), 6);
    }
    memory.unpin(paddrs[0], 10);
}

TEST_F(WithdrawTest, of_a_read_only_file_keeps_what_can_be_read)
{
    Memory memory{{}};
    auto const file = memory_file(1);
    ASSERT_EQ(::pwrite(file.get(), "x", 1, 0), 1);
    UniqueFd const read_only{
        ::open(("/proc/self/fd/" + std::to_string(file.get())).c_str(), O_RDONLY)};
    TestMapping mapping{1, PROT_READ, MAP_SHARED, read_only.get()};
    auto const paddrs = pin(memory, mapping.vaddr(), 1, Intent::read);
    withdraw_and_unmap(memory, mapping, 0, 1);
    EXPECT_EQ(device_reads(memory, paddrs[0]), 'x');
    EXPECT_FALSE(device_writes(memory, paddrs[0], 'y'));
    memory.unpin(paddrs[0], 1);
}

// -------------------------------------------------------------------------------- shared,
// discarded

TEST_F(WithdrawTest, a_shared_page_stays_shared_after_it_is_unmapped)
{
    Memory memory{{}};
    auto const file = memory_file(1);
    TestMapping mapping{1, PROT_READ | PROT_WRITE, MAP_SHARED, file.get()};
    TestMapping const other{1, PROT_READ | PROT_WRITE, MAP_SHARED, file.get()};
    auto const paddrs = pin(memory, mapping.vaddr(), 1);
    withdraw_and_unmap(memory, mapping, 0, 1);
    EXPECT_TRUE(device_writes(memory, paddrs[0], 9));
    EXPECT_EQ(process_reads(other.page(0)), 9);
    other.fill(10);
    EXPECT_EQ(device_reads(memory, paddrs[0]), 10);
    memory.unpin(paddrs[0], 1);
}

TEST_F(WithdrawTest, a_discarded_private_page_stays_with_the_device_and_is_fresh_to_the_process)
{
    Memory memory{{}};
    TestMapping const mapping{3};
    mapping.fill(5);
    auto const paddrs = pin(memory, mapping.vaddr(), 3);
    withdraw_and_discard(memory, mapping);
    EXPECT_EQ(process_reads(mapping.page(1)), 0);
    EXPECT_EQ(device_reads(memory, paddrs[1]), 5);
    mapping.fill(6);
    EXPECT_EQ(device_reads(memory, paddrs[1]), 5);
    memory.unpin(paddrs[0], 3);
}

TEST_F(WithdrawTest, a_discarded_shared_page_is_still_the_same_page_to_both)
{
    Memory memory{{}};
    TestMapping const mapping{2, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS};
    mapping.fill(5);
    auto const paddrs = pin(memory, mapping.vaddr(), 2);
    withdraw_and_discard(memory, mapping);
    EXPECT_EQ(process_reads(mapping.page(1)), 5);
    EXPECT_TRUE(device_writes(memory, paddrs[1], 6));
    EXPECT_EQ(process_reads(mapping.page(1)), 6);
    memory.unpin(paddrs[0], 2);
}

TEST_F(WithdrawTest, a_punched_page_stays_with_the_device)
{
    Memory memory{{}};
    auto const file = memory_file(3);
    TestMapping const mapping{3, PROT_READ | PROT_WRITE, MAP_SHARED, file.get()};
    mapping.fill(5);
    auto const paddrs = pin(memory, mapping.vaddr(), 3);
    withdraw_and_discard(memory, mapping, MADV_REMOVE);
    EXPECT_EQ(process_reads(mapping.page(2)), 0);
    EXPECT_EQ(device_reads(memory, paddrs[2]), 5);
    memory.unpin(paddrs[0], 3);
}

TEST_F(WithdrawTest, a_discard_that_the_kernel_will_refuse_takes_nothing_from_the_process)
{
    Memory memory{{}};
    TestMapping const mapping{4};
    mapping.fill(5);
    ASSERT_TRUE(lock_pages(mapping.page(1), 1));
    auto const paddrs = pin(memory, mapping.vaddr(), 4);
    ASSERT_TRUE(memory.withdraw(mapping.vaddr(1), kPage, Memory::Leaving::discard));
    EXPECT_EQ(::madvise(mapping.page(1), kPage, MADV_DONTNEED), -1);
    EXPECT_EQ(process_reads(mapping.page(1)), 5);
    EXPECT_EQ(device_reads(memory, paddrs[1]), 5);
    ASSERT_TRUE(memory.withdraw(mapping.vaddr(), 4 * kPage, Memory::Leaving::discard));
    EXPECT_EQ(memory.moved_pages(), 1U) << "what lies before the locked one";
    EXPECT_EQ(::madvise(mapping.page(0), 4 * kPage, MADV_DONTNEED), -1);
    EXPECT_EQ(process_reads(mapping.page(0)), 0);
    for (std::size_t page = 1; page < 4; ++page)
        EXPECT_EQ(process_reads(mapping.page(page)), 5) << page;
    for (std::size_t page = 0; page < 4; ++page)
        EXPECT_EQ(device_reads(memory, paddrs[page]), 5) << page;
    memory.unpin(paddrs[0], 4);
}

TEST_F(WithdrawTest, what_was_mlocked_is_not_any_more_once_it_is_unmapped)
{
    Memory memory{{}};
    OwnLockSource source{LockCap::no};
    std::uint64_t const before = source.mlocked_bytes();
    TestMapping mapping{2};
    ASSERT_TRUE(lock_pages(mapping.page(0), 2));
    auto const paddrs = pin(memory, mapping.vaddr(), 2);
    withdraw_and_unmap(memory, mapping, 0, 2);
    EXPECT_EQ(source.mlocked_bytes(), before);
    memory.unpin(paddrs[0], 2);
}

TEST_F(WithdrawTest, knows_whether_anything_is_pinned_in_a_range)
{
    Memory memory{{}};
    TestMapping const mapping{4};
    EXPECT_FALSE(memory.pins_any(Vaddr{0}, ~std::uint64_t{0}));
    auto const paddrs = pin(memory, mapping.vaddr(2), 1);
    EXPECT_TRUE(memory.pins_any(mapping.vaddr(), 4 * kPage));
    EXPECT_TRUE(memory.pins_any(mapping.vaddr(2), 1));
    EXPECT_FALSE(memory.pins_any(mapping.vaddr(), 2 * kPage));
    EXPECT_FALSE(memory.pins_any(mapping.vaddr(3), kPage));
    memory.unpin(paddrs[0], 1);
    EXPECT_FALSE(memory.pins_any(mapping.vaddr(), 4 * kPage));
}

// -----------------------------------------------------------------------------------------
// mremap()

TEST_F(WithdrawTest, frames_follow_pages_that_the_process_moves)
{
    Memory memory{{}};
    TestMapping mapping{3};
    TestMapping target{3};
    mapping.fill(5);
    auto const paddrs = pin(memory, mapping.vaddr(), 3);
    memory.follow(mapping.vaddr(), 3 * kPage, [&]() -> std::optional<Vaddr> {
        void* const moved = ::mremap(mapping.page(0), 3 * kPage, 3 * kPage,
                                     MREMAP_MAYMOVE | MREMAP_FIXED, target.page(0));
        EXPECT_EQ(moved, target.page(0));
        mapping.forget(0, 3);
        return target.vaddr();
    });
    target.fill(6);
    EXPECT_EQ(device_reads(memory, paddrs[2]), 6);
    EXPECT_EQ(pin(memory, target.vaddr(2), 1)[0], paddrs[2]) << "still one frame";
    memory.unpin(paddrs[2], 1);
    withdraw_and_unmap(memory, target, 0, 3);
    EXPECT_EQ(device_reads(memory, paddrs[2]), 6);
    memory.unpin(paddrs[0], 3);
    EXPECT_EQ(memory.pinned_pages(), 0U);
}

TEST_F(WithdrawTest, frames_stay_when_the_process_fails_to_move_its_pages)
{
    Memory memory{{}};
    TestMapping const mapping{2};
    mapping.fill(5);
    auto const paddrs = pin(memory, mapping.vaddr(), 2);
    memory.follow(mapping.vaddr(), 2 * kPage, [] { return std::optional<Vaddr>{}; });
    EXPECT_EQ(device_reads(memory, paddrs[1]), 5);
    EXPECT_EQ(pin(memory, mapping.vaddr(), 1)[0], paddrs[0]);
    memory.unpin(paddrs[0], 2);
    memory.unpin(paddrs[0], 1);
    EXPECT_EQ(memory.pinned_pages(), 0U);
}

TEST_F(WithdrawTest, a_page_moved_away_leaves_its_address_to_another_frame)
{
    Memory memory{{}};
    TestMapping const mapping{1};
    TestMapping const target{1};
    mapping.fill(5);
    auto const old = pin(memory, mapping.vaddr(), 1);
    memory.follow(mapping.vaddr(), kPage, [&]() -> std::optional<Vaddr> {
        ::mremap(mapping.page(0), kPage, kPage, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP,
                 target.page(0));
        return target.vaddr();
    });
    mapping.fill(6);
    auto const fresh = pin(memory, mapping.vaddr(), 1);
    EXPECT_NE(fresh, old);
    EXPECT_EQ(device_reads(memory, old[0]), 5);
    EXPECT_EQ(device_reads(memory, fresh[0]), 6);
    memory.unpin(old[0], 1);
    memory.unpin(fresh[0], 1);
}

// ---------------------------------------------------------------------------------- want of memory

std::uint64_t address_space_bytes()
{
    FILE* const statm = std::fopen("/proc/self/statm", "r");
    std::uint64_t pages = 0;
    if (std::fscanf(statm, "%lu", &pages) != 1) pages = 0;
    std::fclose(statm);
    return pages * kPage;
}

// Two runs, of 1 and 64 pages, and room to move `room` pages: too little for both, enough for a
// part.
TEST_F(WithdrawTest, without_room_nothing_moves_and_nothing_is_lost)
{
#ifdef __SANITIZE_ADDRESS__
    GTEST_SKIP() << "the sanitizer needs address space of its own";
#endif
    for (std::size_t const room : {0U, 1U, 2U, 40U, 64U}) {
        EXPECT_TRUE(in_child([&] {
            Memory memory{{}};
            TestMapping const mapping{70};
            mapping.fill(5);
            auto const one = pin(memory, mapping.vaddr(1), 1);
            auto const many = pin(memory, mapping.vaddr(4), 64);
            wait_for_readers();  // has its memory by now
            rlimit const limit{address_space_bytes() + room * kPage, RLIM_INFINITY};
            if (::setrlimit(RLIMIT_AS, &limit) != 0) return false;
            auto const done = memory.withdraw(mapping.vaddr(), 70 * kPage, Memory::Leaving::unmap);
            if (done || done.error() != Errno::nomem || memory.moved_pages() != 0) return false;
            for (std::size_t i = 0; i < 70; ++i) {
                if (process_reads(mapping.page(i)) != 5) return false;
            }
            mapping.fill(6);
            if (device_reads(memory, one[0]) != 6) return false;
            for (auto const paddr : many) {
                if (device_reads(memory, paddr) != 6) return false;
            }
            memory.unpin(one[0], 1);
            memory.unpin(many[0], 64);
            return memory.pinned_pages() == 0;
        })) << room;
    }
}

// ------------------------------------------------------------------------------------- concurrency

// A device reads and writes one page all the time, while the process replaces the page under it
// again and again: it must see its own last write each time, never the new mapping's bytes, never
// nothing.
TEST_F(WithdrawTest, a_device_at_work_notices_no_move)
{
    Memory memory{{}};
    TestMapping const mapping{8};
    for (int round = 0; round < 60; ++round) {
        mapping.fill(0x11);
        auto const paddrs = pin(memory, mapping.vaddr(), 8);
        std::atomic<bool> stop{false};
        std::atomic<unsigned> accesses{0};
        std::atomic<int> wrong{0};
        std::jthread const device{[&] {
            std::byte const expected{0x11};
            std::uint64_t last = 0;
            while (!stop || accesses < 100) {
                bool moving = false;
                {
                    ReadSection const section;
                    std::byte* const page = memory.at(paddrs[5]);
                    moving = page == nullptr;
                    std::byte seen{};
                    std::uint64_t kept = 0;
                    if (!moving) {
                        if (guarded_copy(&seen, page + 8, 1) != 0 || seen != expected) wrong = 1;
                        if (last != 0 && (guarded_copy(&kept, page + 16, 8) != 0 || kept != last)) {
                            wrong = 2;
                        }
                        ++last;
                        if (guarded_copy(page + 16, &last, 8) != 0) wrong = 3;
                        ++accesses;
                    }
                }
                if (moving) memory.settle();
            }
        }};
        while (accesses < 50) std::this_thread::yield();
        withdraw_and_replace(memory, mapping, 0, 8);
        mapping.fill(0x22);
        stop = true;
        while (accesses < 100) std::this_thread::yield();
        ASSERT_EQ(wrong, 0);
        ASSERT_EQ(process_reads(mapping.page(5) + 16), 0x22);
        memory.unpin(paddrs[0], 8);
    }
}

TEST_F(WithdrawTest, threads_that_pin_unpin_and_unmap_at_once_leave_nothing_behind)
{
    Memory memory{{}};
    std::atomic<int> wrong{0};
    {
        std::vector<std::jthread> threads;
        for (int t = 0; t < 4; ++t) {
            threads.emplace_back([&, t] {
                for (int i = 0; i < 150; ++i) {
                    TestMapping const mapping{16};
                    int const mark = (t * 50 + i) % 250 + 1;
                    mapping.fill(mark);
                    std::vector<Paddr> paddrs(16);
                    if (memory.pin(process_, mapping.vaddr(), Intent::write, paddrs) != 16U) {
                        wrong = 1;
                    }
                    if (i % 2 == 0 &&
                        !memory.withdraw(mapping.vaddr(), 16 * kPage, Memory::Leaving::unmap)) {
                        wrong = 2;
                    }
                    for (auto const paddr : paddrs) {
                        if (device_reads(memory, paddr) != mark) wrong = 3;
                    }
                    for (auto const paddr : paddrs) memory.unpin(paddr, 1);
                }
            });
        }
    }
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(memory.pinned_pages(), 0U);
    EXPECT_EQ(memory.moved_pages(), 4U * 75U * 16U);
}

// ------------------------------------------------------------------------------------------- model

// Everything a process can do to its pages, at random, against a model of what each pin must see.
TEST_F(WithdrawTest, every_pin_sees_its_own_page_whatever_the_order_of_things)
{
    auto const seed = std::random_device{}();
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random{seed};
    constexpr std::size_t kPages = 24;
    struct Pin {
        Paddr paddr;
        std::size_t page;  // where it was pinned
        bool on_page;      // still there: sees what the process writes
        int value;         // what it last held
    };
    for (auto const numbering : {FrameNumbering::contiguous, FrameNumbering::scattered}) {
        Memory memory{{.numbering = numbering, .seed = seed}};
        TestMapping const mapping{kPages};
        std::vector<int> value(kPages, 0);
        std::vector<Pin> pins;
        auto const leave = [&](std::size_t first, std::size_t pages) {
            for (auto& pin : pins) {
                if (pin.on_page && pin.page >= first && pin.page < first + pages) {
                    pin.on_page = false;
                    pin.value = value[pin.page];
                }
            }
            std::fill_n(value.begin() + static_cast<std::ptrdiff_t>(first), pages, 0);
        };
        for (int step = 0; step < 800; ++step) {
            std::size_t const first = random() % kPages;
            std::size_t const pages = 1 + random() % (kPages - first);
            switch (random() % 6) {
                case 0:
                case 1: {
                    auto const intent = random() % 2 == 0 ? Intent::read : Intent::write;
                    auto const paddrs = pin(memory, mapping.vaddr(first), pages, intent);
                    for (std::size_t i = 0; i < pages; ++i) {
                        pins.push_back({paddrs[i], first + i, true, 0});
                    }
                    break;
                }
                case 2: {
                    for (std::size_t i = 0; i < pages && !pins.empty(); ++i) {
                        std::size_t const which = random() % pins.size();
                        memory.unpin(pins[which].paddr, 1);
                        std::swap(pins[which], pins.back());
                        pins.pop_back();
                    }
                    break;
                }
                case 3:
                    withdraw_and_replace(memory, mapping, first, pages);
                    leave(first, pages);
                    break;
                case 4:
                    ASSERT_TRUE(memory.withdraw(mapping.vaddr(first), pages * kPage,
                                                Memory::Leaving::discard));
                    ASSERT_EQ(::madvise(mapping.page(first), pages * kPage, MADV_DONTNEED), 0);
                    leave(first, pages);
                    break;
                default:
                    value[first] = static_cast<int>(random() % 256);
                    *mapping.page(first) = static_cast<std::byte>(value[first]);
            }
            std::set<std::uint64_t> frames;
            for (auto const& pin : pins) {
                frames.insert(pin.paddr.raw());
                ASSERT_EQ(device_reads(memory, pin.paddr),
                          pin.on_page ? value[pin.page] : pin.value);
            }
            ASSERT_EQ(memory.pinned_pages(), frames.size());
        }
        for (auto const& pin : pins) memory.unpin(pin.paddr, 1);
        EXPECT_EQ(memory.pinned_pages(), 0U);
    }
}

}  // namespace
}  // namespace pinfold::host
