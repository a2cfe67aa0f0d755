#include "devices/nvme/prp.hpp"
#include "devices/nvme_fixture.hpp"

namespace pinfold::devices::nvme {
namespace {

// Reads of blocks whose every 8 bytes are their own offset on the disk.
class NvmePrp : public NvmeTest {
protected:
    NvmePrp()
    {
        std::vector<std::uint64_t> contents(kDiskSize / 8);
        for (std::size_t i = 0; i < contents.size(); ++i) contents[i] = i * 8;
        disk_.write(0, std::as_bytes(std::span{contents}));
        queue_ = driver_.make_queues(1, 8);
    }

    Status read(std::uint32_t blocks, std::uint64_t prp1, std::uint64_t prp2)
    {
        auto command = rw(IoOpcode::read, 0, blocks);
        command.prp1 = prp1;
        command.prp2 = prp2;
        return status_of(driver_.run(queue_, command));
    }
    void put(std::uint64_t iova, std::vector<std::uint64_t> const& entries)
    {
        auto const bytes = std::as_bytes(std::span{entries});
        std::ranges::copy(bytes, rig_.memory(iova, bytes.size()).begin());
    }
    // The data at `iova` is the disk's from `offset` on.
    bool holds(std::uint64_t iova, std::uint64_t offset, std::uint64_t size)
    {
        auto const expected = disk_.read(offset, size);
        return std::ranges::equal(rig_.memory(iova, size), expected);
    }

    NvmeDriver::Pair queue_;
};

TEST_F(NvmePrp, one_entry_reaches_to_the_end_of_its_page)
{
    auto const data = rig_.allocate(2);
    EXPECT_EQ(read(8, data, 0xdead), Status::success) << "PRP2 is not used";
    EXPECT_TRUE(holds(data, 0, kPage));
    EXPECT_EQ(read(1, data + kPage - 512, 0xdead), Status::success);
    EXPECT_TRUE(holds(data + kPage - 512, 0, 512));
    EXPECT_EQ(rig_.memory(data + kPage, 1)[0], std::byte{0}) << "nothing beyond";
}

TEST_F(NvmePrp, an_offset_splits_the_data_over_two_pages)
{
    auto const data = rig_.allocate(4);
    EXPECT_EQ(read(8, data + 1236, data + 3 * kPage), Status::success);
    EXPECT_TRUE(holds(data + 1236, 0, kPage - 1236));
    EXPECT_TRUE(holds(data + 3 * kPage, kPage - 1236, 1236));
    EXPECT_EQ(rig_.memory(data + 3 * kPage + 1236, 1)[0], std::byte{0});
}

TEST_F(NvmePrp, offsets_that_the_rules_forbid_are_refused)
{
    auto const data = rig_.allocate(4), list = rig_.allocate(1);
    EXPECT_EQ(read(1, data + 1, 0), Status::prp_offset_invalid);
    EXPECT_EQ(read(1, data + 2, 0), Status::prp_offset_invalid);
    EXPECT_EQ(read(16, data, data + kPage + 4), Status::prp_offset_invalid) << "a second entry";
    put(list, {data + kPage, data + 2 * kPage + 8});
    EXPECT_EQ(read(24, data, list), Status::prp_offset_invalid) << "an entry of a list";
    EXPECT_EQ(read(24, data, list + 4), Status::prp_offset_invalid) << "a list";
}

TEST_F(NvmePrp, a_list_may_begin_inside_its_page)
{
    auto const data = rig_.allocate(8), list = rig_.allocate(1);
    for (std::uint64_t const slot : {0U, 1U, 100U, 508U}) {
        put(list + slot * 8, {data + 5 * kPage, data + 3 * kPage, data + 7 * kPage});
        EXPECT_EQ(read(32, data, list + slot * 8), Status::success);
        EXPECT_TRUE(holds(data, 0, kPage));
        EXPECT_TRUE(holds(data + 5 * kPage, kPage, kPage));
        EXPECT_TRUE(holds(data + 3 * kPage, 2 * kPage, kPage));
        EXPECT_TRUE(holds(data + 7 * kPage, 3 * kPage, kPage));
    }
}

TEST_F(NvmePrp, the_last_slot_of_a_list_leads_to_the_next_one)
{
    auto const data = rig_.allocate(8), lists = rig_.allocate(3);
    // The last slot holds a pointer, because more than a page is still to come.
    put(lists + 511 * 8, {lists + kPage});
    put(lists + kPage, {data + kPage, data + 2 * kPage});
    EXPECT_EQ(read(24, data, lists + 511 * 8), Status::success);
    EXPECT_TRUE(holds(data, 0, 3 * kPage));

    // The last slot holds data, because a page is all that is to come.
    put(lists + 510 * 8, {data + 4 * kPage, data + 6 * kPage});
    EXPECT_EQ(read(24, data, lists + 510 * 8), Status::success);
    EXPECT_TRUE(holds(data + 6 * kPage, 2 * kPage, kPage));

    // A next list must begin at a page.
    put(lists + 511 * 8, {lists + kPage + 8});
    EXPECT_EQ(read(24, data, lists + 511 * 8), Status::prp_offset_invalid);
}

TEST_F(NvmePrp, the_largest_transfer_needs_two_chained_lists_and_one_block_more_is_refused)
{
    auto const data = rig_.allocate(kMaxTransfer / kPage + 1);
    auto command = rw(IoOpcode::read, 0, kMaxTransfer / 512);
    driver_.point(command, data + 512, kMaxTransfer);
    EXPECT_EQ(status_of(driver_.run(queue_, command)), Status::success);
    EXPECT_TRUE(holds(data + 512, 0, kMaxTransfer));
    command.cdw12 += 1;
    EXPECT_EQ(status_of(driver_.run(queue_, command)), Status::invalid_field) << "MDTS";
}

TEST_F(NvmePrp, a_list_that_leads_to_itself_ends)
{
    auto const data = rig_.allocate(1), list = rig_.allocate(1);
    std::vector<std::uint64_t> entries(512, data);
    entries.back() = list;
    put(list, entries);
    EXPECT_EQ(read(kMaxTransfer / 512, data, list), Status::success) << "the same page each time";
    entries.assign(512, list);
    put(list, entries);
    EXPECT_EQ(read(kMaxTransfer / 512, data, list), Status::success)
        << "data over the list while it is read";
    EXPECT_TRUE(healthy());
}

TEST_F(NvmePrp, unreachable_memory_anywhere_in_it_is_a_transfer_error)
{
    auto const data = rig_.allocate(4), list = rig_.allocate(1);
    constexpr std::uint64_t kWild = 0x7f'0000'0000;
    EXPECT_EQ(read(1, kWild, 0), Status::data_transfer_error);
    EXPECT_EQ(read(16, data, kWild), Status::data_transfer_error);
    EXPECT_EQ(read(24, data, kWild), Status::data_transfer_error) << "the list";
    put(list, {data + kPage, kWild});
    EXPECT_EQ(read(24, data, list), Status::data_transfer_error);
    put(list, {data + kPage, ~std::uint64_t{0xfff}});
    EXPECT_EQ(read(24, data, list), Status::data_transfer_error) << "the last page there is";
    EXPECT_EQ(rig_.memory(data, 1)[0], std::byte{0}) << "a list that fails moves nothing";
    EXPECT_TRUE(healthy());
}

TEST_F(NvmePrp, random_scatterings_put_every_byte_where_the_list_says)
{
    auto const seed = std::random_device{}();
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937_64 random{seed};
    auto const data = rig_.allocate(600), lists = rig_.allocate(4);
    for (int round = 0; round < 200; ++round) {
        auto const blocks = 1 + random() % (kMaxTransfer / 512);
        auto const lba = random() % (kDiskSize / 512 - blocks + 1);
        auto const offset = random() % kPage & ~std::uint64_t{3};
        auto const size = blocks * 512;

        std::vector<std::uint64_t> pages(600);
        for (std::size_t i = 0; i < pages.size(); ++i) pages[i] = data + i * kPage;
        std::ranges::shuffle(pages, random);
        pages.resize((offset + size + kPage - 1) / kPage);

        auto command = rw(IoOpcode::read, lba, static_cast<std::uint32_t>(blocks));
        command.prp1 = pages[0] + offset;
        if (pages.size() == 2) {
            command.prp2 = pages[1];
        } else if (pages.size() > 2) {
            auto slot = random() % 512;
            std::uint64_t list = lists;
            command.prp2 = list + slot * 8;
            for (std::size_t i = 1; i < pages.size(); ++i) {
                if (slot == 511 && i + 1 < pages.size()) {
                    put(list + slot * 8, {list + kPage});
                    list += kPage;
                    slot = 0;
                }
                put(list + slot * 8, {pages[i]});
                ++slot;
            }
        }
        ASSERT_EQ(status_of(driver_.run(queue_, command)), Status::success);

        for (std::uint64_t done = 0, page = 0; done < size; ++page) {
            auto const start = page == 0 ? offset : 0;
            auto const part = std::min(size - done, kPage - start);
            ASSERT_TRUE(holds(pages[page] + start, lba * 512 + done, part))
                << "round " << round << " page " << page;
            done += part;
        }
    }
}

}  // namespace
}  // namespace pinfold::devices::nvme
