// A port remembers where pages are; nobody may notice but by the clock. Each test reaches pages
// first, so that there is something to remember, and then has the world change.
#include "pci/reached_pages.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <map>
#include <random>
#include <vector>

#include "pci/dma_port.hpp"
#include "pci/support.hpp"

namespace pinfold::pci {
namespace {

using iommu::FaultReason;

class ReachedPagesTest : public testing::Test {
protected:
    ReachedPagesTest() { port_.set_bus_master(true); }

    // -1: the access failed.
    int load(std::uint64_t iova)
    {
        std::byte byte{};
        return port_.read(Iova{iova}, {&byte, 1}) ? std::to_integer<int>(byte) : -1;
    }
    bool store(std::uint64_t iova, int value)
    {
        auto const byte = static_cast<std::byte>(value);
        return port_.write(Iova{iova}, {&byte, 1}).has_value();
    }
    // Twice, so that the second one is by memory.
    void reach(std::uint64_t iova)
    {
        for (int i = 0; i < 2; ++i) (void)load(iova);
        for (int i = 0; i < 2; ++i) (void)store(iova, load(iova));
    }

    Surroundings around_;
    DmaPort port_{around_.endpoint(), around_.memory()};
};

TEST_F(ReachedPagesTest, an_unmapped_page_is_a_fault_at_once)
{
    TestMapping const mapping{2};
    around_.map(0x10000, mapping);
    reach(0x10000);
    reach(0x11000);
    around_.unmap(0x10000);
    EXPECT_EQ(load(0x10000), -1);
    EXPECT_FALSE(store(0x10000, 1));
    EXPECT_EQ(around_.faults().back().reason, FaultReason::not_mapped);
    EXPECT_TRUE(store(0x11000, 1));
}

TEST_F(ReachedPagesTest, several_are_one_transfer_until_one_of_them_is_unmapped)
{
    TestMapping const mapping{3};
    around_.map(0x10000, mapping);
    for (std::uint64_t const iova : {0x10000UL, 0x11000UL, 0x12000UL}) reach(iova);
    std::vector<std::byte> bytes(0x2800, std::byte{0x5a});
    ASSERT_TRUE(port_.write(Iova{0x10400}, bytes));
    std::vector<std::byte> back(bytes.size());
    ASSERT_TRUE(port_.read(Iova{0x10400}, back));
    EXPECT_EQ(back, bytes);
    EXPECT_EQ(mapping.page(0)[0x3ff], std::byte{0});
    EXPECT_EQ(mapping.page(2)[0xbff], std::byte{0x5a});
    EXPECT_EQ(mapping.page(2)[0xc00], std::byte{0});

    around_.unmap(0x11000);
    EXPECT_FALSE(port_.read(Iova{0x10400}, back));
    EXPECT_EQ(around_.faults().back().iova, Iova{0x11000});
    for (std::size_t i = 0; i < back.size(); ++i)
        ASSERT_EQ(back[i], i < 0xc00 ? std::byte{0x5a} : std::byte{0xff}) << i;
}

TEST_F(ReachedPagesTest, a_page_that_is_mapped_again_is_the_new_one)
{
    TestMapping const before{1}, after{1};
    around_.map(0x10000, before);
    before.fill(1);
    after.fill(2);
    reach(0x10000);
    around_.unmap(0x10000);
    around_.map(0x10000, after);
    EXPECT_EQ(load(0x10000), 2);
    ASSERT_TRUE(store(0x10000, 3));
    EXPECT_EQ(before.page(0)[0], std::byte{1});
    EXPECT_EQ(after.page(0)[0], std::byte{3});
}

TEST_F(ReachedPagesTest, the_bus_master_bit_counts_for_known_pages_too)
{
    TestMapping const mapping{1};
    around_.map(0x10000, mapping);
    reach(0x10000);
    port_.set_bus_master(false);
    EXPECT_EQ(load(0x10000), -1);
    EXPECT_EQ(around_.faults().back().reason, FaultReason::bus_master);
}

TEST_F(ReachedPagesTest, a_page_that_may_only_be_read_is_not_written_for_being_known)
{
    TestMapping const mapping{2};
    mapping.fill(7);
    around_.map(0x10000, mapping.page(0), Prot::read);
    around_.map(0x11000, mapping.page(1), Prot::write);
    reach(0x10000);
    EXPECT_FALSE(store(0x10000, 1));
    EXPECT_EQ(around_.faults().back().reason, FaultReason::no_permission);
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(store(0x11000, 1));
    EXPECT_EQ(load(0x11000), -1);
    EXPECT_EQ(load(0x10000), 7);
}

TEST_F(ReachedPagesTest, another_domain_is_another_memory)
{
    TestMapping const mapping{1};
    around_.map(0x10000, mapping);
    reach(0x10000);
    around_.endpoint().block();
    EXPECT_EQ(load(0x10000), -1);
    EXPECT_EQ(around_.faults().back().reason, FaultReason::blocked);
    ASSERT_TRUE(around_.endpoint().attach(around_.domain()));
    EXPECT_EQ(load(0x10000), 0);
}

TEST_F(ReachedPagesTest, a_page_that_is_moved_aside_is_followed)
{
    TestMapping const mapping{1};
    mapping.fill(5);
    around_.map(0x10000, mapping);
    reach(0x10000);
    ASSERT_TRUE(around_.memory().withdraw(mapping.vaddr(0), kPage, host::Memory::Leaving::discard));
    ASSERT_EQ(::madvise(mapping.page(0), kPage, MADV_DONTNEED), 0);
    EXPECT_EQ(load(0x10000), 5);
    ASSERT_TRUE(store(0x10000, 6));
    EXPECT_EQ(mapping.page(0)[0], std::byte{0}) << "the new page is the process's alone";
    EXPECT_EQ(load(0x10000), 6);
}

// Whoever unmaps invalidates the IOTLB as well. Here nobody does: the last pin alone must be
// enough.
TEST_F(ReachedPagesTest, a_page_that_nobody_pins_any_more_is_not_reached)
{
    TestMapping const mapping{1};
    around_.map(0x10000, mapping);
    Paddr const paddr = around_.domain().iova_to_phys(Iova{0x10000}).value();
    Paddr again;
    around_.memory()
        .pin(around_.process(), mapping.vaddr(0), host::Intent::write, {&again, 1})
        .value();
    ASSERT_EQ(again, paddr);
    reach(0x10000);
    around_.memory().unpin(paddr, 1);
    EXPECT_TRUE(store(0x10000, 1)) << "one of two pins is left";
    reach(0x10000);
    around_.memory().unpin(paddr, 1);
    EXPECT_EQ(load(0x10000), -1);
    EXPECT_FALSE(store(0x10000, 2));
    EXPECT_EQ(around_.faults().back().reason, FaultReason::no_memory);
    EXPECT_EQ(mapping.page(0)[0], std::byte{1});
}

TEST_F(ReachedPagesTest, each_write_after_a_harvest_is_noted_again)
{
    TestMapping const mapping{1};
    around_.map(0x10000, mapping);
    reach(0x10000);
    ASSERT_TRUE(around_.domain().start_write_log(64));
    for (int round = 0; round < 3; ++round) {
        (void)load(0x10000);
        std::uint64_t written = 0;
        IovaRange const page{Iova{0x10000}, Iova{0x10fff}};
        around_.domain().take_written(page, {&written, 1});
        EXPECT_EQ(written, 0U) << "nothing was written yet";
        for (std::uint64_t i = 0; i < 3; ++i) ASSERT_TRUE(store(0x10000 + 64 * i, round));
        around_.domain().take_written(page, {&written, 1});
        EXPECT_NE(written, 0U);
    }
    around_.domain().stop_write_log();
}

// Many more pages than there is room for, neighbours whose bytes lie apart among them, against a
// table of what is mapped.
TEST_F(ReachedPagesTest, whatever_is_mapped_and_unmapped_an_access_finds_what_is_there)
{
    constexpr std::size_t kPages = 64;
    auto const seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random{seed};
    TestMapping const mapping{kPages};
    for (std::size_t i = 0; i < kPages; ++i) mapping.page(i)[0] = static_cast<std::byte>(i);
    std::map<std::uint64_t, std::size_t> mapped;  // IOVA to page
    auto const anywhere = [&] {
        std::uint64_t const block = random() % 2 == 0 ? random() % 4 : random() % 1024;
        return (block << 18) + (random() % 8 << 12);
    };
    for (int step = 0; step < 20'000; ++step) {
        auto const iova = anywhere();
        auto const at = mapped.find(iova);
        if (random() % 4 != 0) {
            EXPECT_EQ(load(iova), at == mapped.end() ? -1 : static_cast<int>(at->second));
        } else if (at != mapped.end()) {
            around_.unmap(iova);
            mapped.erase(at);
        } else {
            auto const page = random() % kPages;
            around_.map(iova, mapping.page(page));
            mapped[iova] = page;
        }
    }
    for (auto const& [iova, page] : mapped) around_.unmap(iova);
}

// ---- the table itself

constexpr std::uint64_t kNow = 7;

std::byte* bytes_at(std::uint64_t address) { return std::bit_cast<std::byte*>(address); }

TEST(ReachedPages, only_what_was_added_is_known_and_only_in_its_generation)
{
    ReachedPages pages;
    Iova const iova{0x12000};
    EXPECT_EQ(pages.find(iova, Access::read, 0).at, nullptr);
    EXPECT_EQ(pages.find(Iova{~std::uint64_t{0}}, Access::read, 0).at, nullptr);
    pages.add(iova, bytes_at(0x7000'5000), Prot::read, kNow);
    EXPECT_EQ(pages.find(iova + 0xfff, Access::read, kNow).at, bytes_at(0x7000'5fff));
    EXPECT_EQ(pages.find(iova, Access::write, kNow).at, nullptr);
    EXPECT_EQ(pages.find(iova + 0x1000, Access::read, kNow).at, nullptr);
    EXPECT_EQ(pages.find(iova, Access::read, kNow + 1).at, nullptr);
    pages.add(iova, bytes_at(0x7000'5000), Prot::read_write, kNow);
    EXPECT_EQ(pages.find(iova, Access::write, kNow).at, bytes_at(0x7000'5000));
    pages.add(iova, bytes_at(0x8000'0000), Prot::write, kNow + 1);
    EXPECT_EQ(pages.find(iova, Access::write, kNow + 1).at, bytes_at(0x8000'0000));
    EXPECT_EQ(pages.find(iova, Access::read, kNow + 1).at, nullptr);
}

TEST(ReachedPages, that_follow_each_other_are_found_as_one)
{
    ReachedPages pages;
    Iova const start{0x40000};  // of a block
    for (std::uint64_t const page : {0UL, 1UL, 2UL, 4UL, 63UL})
        pages.add(start + (page << 12), bytes_at(0x7000'0000 + (page << 12)),
                  page == 2 ? Prot::read : Prot::read_write, kNow);
    pages.add(start + 0x40000, bytes_at(0x7004'0000), Prot::read, kNow);
    pages.add(start + 0x3000, bytes_at(0x9000'0000), Prot::read, kNow);  // lies elsewhere
    EXPECT_EQ(pages.find(start + 0x10, Access::read, kNow).size, 0x3000 - 0x10);
    EXPECT_EQ(pages.find(start + 0x10, Access::write, kNow).size, 0x2000 - 0x10);
    EXPECT_EQ(pages.find(start + 0x2fff, Access::read, kNow).size, 1);
    EXPECT_EQ(pages.find(start + 0x3000, Access::read, kNow).size, 0x1000);
    EXPECT_EQ(pages.find(start + 0x4000, Access::read, kNow).size, 0x1000);
    EXPECT_EQ(pages.find(start + 0x3f000, Access::read, kNow).size, 0x1000) << "a block ends";
    for (std::uint64_t page = 0; page < 64; ++page)
        pages.add(start + (page << 12), bytes_at(0x7000'0000 + (page << 12)), Prot::read, kNow + 1);
    EXPECT_EQ(pages.find(start, Access::read, kNow + 1).size, 0x40000);
    EXPECT_EQ(pages.find(start, Access::read, kNow).size, 0);
}

TEST(ReachedPages, four_places_of_one_block_are_known_and_a_fifth_does_not_drive_them_out)
{
    ReachedPages pages;
    auto const bytes = [](std::uint64_t page) { return bytes_at(0x1000'0000 * (5 - page)); };
    for (std::uint64_t i = 0; i < 5; ++i) pages.add(Iova{i << 12}, bytes(i), Prot::read, kNow);
    for (std::uint64_t i = 0; i < 4; ++i)
        EXPECT_EQ(pages.find(Iova{i << 12}, Access::read, kNow).at, bytes(i)) << i;
    EXPECT_EQ(pages.find(Iova{4 << 12}, Access::read, kNow).at, nullptr);
}

TEST(ReachedPages, a_new_block_finds_room_among_full_sets)
{
    ReachedPages pages;
    for (std::uint64_t block = 0; block < 4096; ++block) {
        Iova const iova{block << 18};
        pages.add(iova, bytes_at(0x1000'0000 + iova.raw()), Prot::read, kNow);
        EXPECT_EQ(pages.find(iova, Access::read, kNow).at, bytes_at(0x1000'0000 + iova.raw()));
    }
}

}  // namespace
}  // namespace pinfold::pci
