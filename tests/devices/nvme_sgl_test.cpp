#include "devices/nvme/sgl.hpp"

#include "devices/nvme_fixture.hpp"

namespace pinfold::devices::nvme {
namespace {

struct Descriptor {
    std::uint64_t address;
    std::uint32_t length;
    std::uint8_t type;  // type << 4 | subtype
};
constexpr std::uint8_t kBlock = 0x00, kBitBucket = 0x10, kSegment = 0x20, kLast = 0x30;

// Reads of 4 KiB whose every 8 bytes are their own offset on the disk.
class NvmeSgl : public NvmeTest {
protected:
    NvmeSgl()
    {
        std::vector<std::uint64_t> contents(kDiskSize / 8);
        for (std::size_t i = 0; i < contents.size(); ++i) contents[i] = i * 8;
        disk_.write(0, std::as_bytes(std::span{contents}));
        queue_ = driver_.make_queues(1, 8);
        list_ = rig_.allocate(4);
        data_ = rig_.allocate(4);
    }
    Status read(Descriptor const& first, unsigned psdt = 1, std::uint32_t blocks = 8)
    {
        auto command = rw(IoOpcode::read, 0, blocks);
        command.flags = static_cast<std::uint8_t>(psdt << 6);
        command.prp1 = first.address;
        command.prp2 = first.length | std::uint64_t{first.type} << 56;
        return status_of(driver_.run(queue_, command));
    }
    void put(std::uint64_t iova, std::vector<Descriptor> const& list)
    {
        for (auto const& one : list) {
            std::array const words{one.address, one.length | std::uint64_t{one.type} << 56};
            std::ranges::copy(std::as_bytes(std::span{words}), rig_.memory(iova, 16).begin());
            iova += 16;
        }
    }
    Status read_list(std::vector<Descriptor> const& list, std::uint8_t type = kLast)
    {
        put(list_, list);
        return read({list_, static_cast<std::uint32_t>(16 * list.size()), type});
    }
    bool holds(std::uint64_t iova, std::uint64_t offset, std::uint64_t size)
    {
        auto const expected = disk_.read(offset, size);
        return std::ranges::equal(rig_.memory(iova, size), expected);
    }

    NvmeDriver::Pair queue_;
    std::uint64_t list_, data_;
};

TEST_F(NvmeSgl, one_data_block_is_the_whole_list)
{
    EXPECT_EQ(read({data_ + 3, 4096, kBlock}), Status::success);
    EXPECT_TRUE(holds(data_ + 3, 0, 4096)) << "at any alignment";
    EXPECT_EQ(read({data_, 4096, kBlock}, 2), Status::success) << "PSDT 2 differs in metadata only";
    EXPECT_TRUE(holds(data_, 0, 4096));
}

TEST_F(NvmeSgl, a_last_segment_scatters_over_blocks_of_any_length)
{
    EXPECT_EQ(read_list({{data_ + 1, 100, kBlock},
                         {0xdead000, 0, kBlock},
                         {data_ + 5000, 3900, kBlock},
                         {data_ + 200, 96, kBlock}}),
              Status::success);
    EXPECT_TRUE(holds(data_ + 1, 0, 100));
    EXPECT_TRUE(holds(data_ + 5000, 100, 3900));
    EXPECT_TRUE(holds(data_ + 200, 4000, 96));
}

TEST_F(NvmeSgl, segments_lead_from_one_to_the_next)
{
    put(list_ + kPage, {{data_ + 4096, 2000, kBlock}, {list_ + 2 * kPage, 16, kLast}});
    put(list_ + 2 * kPage, {{data_ + 2 * kPage, 1096, kBlock}});
    EXPECT_EQ(read_list({{data_, 1000, kBlock}, {list_ + kPage, 32, kSegment}}, kSegment),
              Status::success);
    EXPECT_TRUE(holds(data_, 0, 1000));
    EXPECT_TRUE(holds(data_ + 4096, 1000, 2000));
    EXPECT_TRUE(holds(data_ + 2 * kPage, 3000, 1096));
}

TEST_F(NvmeSgl, writes_compares_and_dataset_management_take_them_too)
{
    std::ranges::fill(rig_.memory(data_, kPage), std::byte{0x5a});
    for (auto const opcode : {IoOpcode::write, IoOpcode::compare}) {
        auto command = rw(opcode, 64, 8);
        command.flags = 0x40;
        command.prp1 = data_;
        command.prp2 = 4096;
        EXPECT_EQ(status_of(driver_.run(queue_, command)), Status::success);
    }
    EXPECT_EQ(disk_.read(64 * 512, 1)[0], std::byte{0x5a});
    std::ranges::fill(rig_.memory(data_, kPage), std::byte{0});
    auto command = rw(IoOpcode::dataset_management, 0, 1);
    command.flags = 0x40;
    command.prp1 = data_;
    command.prp2 = 16;
    command.cdw10 = command.cdw11 = command.cdw12 = 0;
    EXPECT_EQ(status_of(driver_.run(queue_, command)), Status::success);
}

TEST_F(NvmeSgl, a_length_that_is_not_the_datas_is_refused)
{
    EXPECT_EQ(read({data_, 4095, kBlock}), Status::sgl_length_invalid);
    EXPECT_EQ(read({data_, 4097, kBlock}), Status::sgl_length_invalid);
    EXPECT_EQ(read({data_, 0, kBlock}), Status::sgl_length_invalid);
    EXPECT_EQ(read_list({{data_, 4000, kBlock}}), Status::sgl_length_invalid);
    EXPECT_EQ(read_list({{data_, 4096, kBlock}, {data_, 1, kBlock}}), Status::sgl_length_invalid);
    EXPECT_EQ(read_list({{data_, 4095, kBlock}, {data_, 0xffffffff, kBlock}}),
              Status::sgl_length_invalid);
}

TEST_F(NvmeSgl, descriptors_that_there_are_not_are_refused)
{
    for (std::uint8_t const type : {kBitBucket, std::uint8_t{0x40}, std::uint8_t{0x50},
                                    std::uint8_t{0xf0}, std::uint8_t{0x01}, std::uint8_t{0x2a}}) {
        EXPECT_EQ(read({data_, 4096, type}), Status::sgl_type_invalid) << unsigned{type};
    }
    EXPECT_EQ(read_list({{data_, 4096, kBitBucket}}), Status::sgl_type_invalid);
    EXPECT_EQ(read_list({{data_, 4096, 0x01}}), Status::sgl_type_invalid);
}

TEST_F(NvmeSgl, segments_in_the_wrong_place_or_of_no_size_are_refused)
{
    EXPECT_EQ(read({list_, 0, kLast}), Status::sgl_segment_invalid);
    EXPECT_EQ(read({list_, 24, kLast}), Status::sgl_segment_invalid);
    EXPECT_EQ(read_list({{list_ + kPage, 16, kLast}}), Status::sgl_segment_invalid)
        << "a last segment goes on";
    EXPECT_EQ(read_list({{list_ + kPage, 16, kLast}, {data_, 4096, kBlock}}, kSegment),
              Status::sgl_segment_invalid)
        << "not at the segment's end";
    EXPECT_EQ(read({data_, 4096, kBlock}, 3), Status::invalid_field) << "PSDT 3";
}

TEST_F(NvmeSgl, a_list_without_an_end_is_given_up)
{
    EXPECT_EQ(read_list({{0, 0, kBlock}, {list_, 32, kSegment}}, kSegment),
              Status::sgl_number_invalid);
    EXPECT_EQ(read({data_, 0xfffffff0, kLast}), Status::sgl_number_invalid) << "of empty blocks";
    EXPECT_TRUE(healthy());
}

TEST_F(NvmeSgl, lists_and_data_out_of_reach_are_transfer_errors)
{
    EXPECT_EQ(read({0xdead000, 64, kLast}), Status::data_transfer_error);
    EXPECT_EQ(read({0xdead000, 4096, kBlock}), Status::data_transfer_error);
    EXPECT_EQ(read({~std::uint64_t{0} - 15, 64, kLast}), Status::data_transfer_error);
    EXPECT_TRUE(rig_.guards_untouched());
}

}  // namespace
}  // namespace pinfold::devices::nvme
