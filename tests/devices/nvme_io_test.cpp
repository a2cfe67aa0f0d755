#include "devices/nvme_fixture.hpp"

namespace pinfold::devices::nvme {
namespace {

class NvmeIo : public NvmeTest {
protected:
    static constexpr std::uint64_t kBlocks = kDiskSize / 512;
    static constexpr std::uint32_t kForce = 1U << 30, kDeallocate = 1U << 25;

    NvmeIo() : queue_{driver_.make_queues(1, 16)}, data_{rig_.allocate(512)} {}

    Status run(Command const& command) { return status_of(driver_.run(queue_, command)); }
    Status run(IoOpcode opcode, std::uint64_t lba, std::uint32_t blocks, std::uint32_t cdw12 = 0,
               std::uint32_t nsid = 1)
    {
        auto command = rw(opcode, lba, blocks, nsid);
        driver_.point(command, data_, std::uint64_t{blocks} * 512);
        command.cdw12 |= cdw12;
        return run(command);
    }
    void fill(std::uint64_t size, std::byte value)
    {
        std::ranges::fill(rig_.memory(data_, size), value);
    }
    struct Range {
        std::uint32_t attributes, count;
        std::uint64_t first;
    };
    Status manage(std::vector<Range> const& ranges, std::uint32_t attributes = 4)
    {
        auto const bytes = std::as_bytes(std::span{ranges});
        std::ranges::copy(bytes, rig_.memory(data_, bytes.size()).begin());
        Command command{};
        command.opcode = static_cast<std::uint8_t>(IoOpcode::dataset_management);
        command.nsid = 1;
        command.cdw10 = static_cast<std::uint32_t>(ranges.size() - 1);
        command.cdw11 = attributes;
        driver_.point(command, data_, bytes.size());
        return run(command);
    }

    NvmeDriver::Pair queue_;
    std::uint64_t data_;
};

TEST_F(NvmeIo, what_is_written_is_in_the_file_and_reads_back)
{
    fill(kPage, std::byte{0x11});
    EXPECT_EQ(run(IoOpcode::write, 100, 8), Status::success);
    EXPECT_EQ(disk_.read(100 * 512, kPage), std::vector<std::byte>(kPage, std::byte{0x11}));
    EXPECT_EQ(disk_.read(99 * 512, 512), std::vector<std::byte>(512));
    fill(kPage, std::byte{0});
    EXPECT_EQ(run(IoOpcode::read, 100, 8), Status::success);
    EXPECT_EQ(rig_.memory(data_, kPage).back(), std::byte{0x11});
    EXPECT_EQ(disk_.size(), kDiskSize);
}

TEST_F(NvmeIo, blocks_beyond_the_end_are_out_of_range_however_large_the_number)
{
    for (auto const opcode :
         {IoOpcode::read, IoOpcode::write, IoOpcode::compare, IoOpcode::write_zeroes}) {
        EXPECT_EQ(run(opcode, kBlocks, 1), Status::lba_out_of_range);
        EXPECT_EQ(run(opcode, kBlocks - 1, 2), Status::lba_out_of_range);
        EXPECT_EQ(run(opcode, ~std::uint64_t{0}, 1), Status::lba_out_of_range);
        EXPECT_EQ(run(opcode, ~std::uint64_t{0} - 6, 8), Status::lba_out_of_range);
        EXPECT_EQ(run(opcode, std::uint64_t{1} << 55, 8), Status::lba_out_of_range)
            << "in bytes it wraps to 0";
    }
    EXPECT_EQ(run(IoOpcode::read, kBlocks - 1, 1), Status::success);
    EXPECT_EQ(disk_.size(), kDiskSize);
}

TEST_F(NvmeIo, namespaces_that_do_not_exist_are_invalid)
{
    for (auto const opcode :
         {IoOpcode::read, IoOpcode::write, IoOpcode::compare, IoOpcode::write_zeroes,
          IoOpcode::flush, IoOpcode::dataset_management}) {
        for (auto const nsid : {0U, 2U, 0xffff'fffeU}) {
            EXPECT_EQ(run(opcode, 0, 1, 0, nsid), Status::invalid_namespace) << nsid;
        }
    }
    EXPECT_EQ(run(IoOpcode::read, 0, 1, 0, kBroadcastNsid), Status::invalid_namespace);
    EXPECT_EQ(run(IoOpcode::flush, 0, 1, 0, kBroadcastNsid), Status::success);
}

TEST_F(NvmeIo, opcodes_that_do_not_exist_are_invalid)
{
    for (unsigned opcode = 0; opcode < 256; ++opcode) {
        if (opcode <= 2 || opcode == 5 || opcode == 8 || opcode == 9) continue;
        EXPECT_EQ(run(IoOpcode{static_cast<std::uint8_t>(opcode)}, 0, 1), Status::invalid_opcode)
            << opcode;
    }
}

TEST_F(NvmeIo, fused_commands_directives_and_reserved_transfers_are_refused)
{
    for (unsigned const flags : {0x01U, 0x02U, 0x41U, 0xc0U}) {
        auto command = rw(IoOpcode::read, 0, 1);
        command.prp1 = data_;
        command.flags = static_cast<std::uint8_t>(flags);
        EXPECT_EQ(run(command), Status::invalid_field) << flags;
    }
    EXPECT_EQ(run(IoOpcode::write, 0, 1, 1U << 20), Status::invalid_field);
}

TEST_F(NvmeIo, forced_writes_and_flushes_succeed_with_and_without_the_cache)
{
    for (unsigned const cache : {1U, 0U}) {
        ASSERT_EQ(admin(admin_command(AdminOpcode::set_features, 6, cache)), Status::success);
        fill(1024, std::byte{static_cast<unsigned char>(0x20 + cache)});
        EXPECT_EQ(run(IoOpcode::write, 0, 1), Status::success);
        EXPECT_EQ(run(IoOpcode::write, 1, 1, kForce), Status::success);
        EXPECT_EQ(run(IoOpcode::read, 0, 2, kForce), Status::success);
        EXPECT_EQ(run(IoOpcode::write_zeroes, 2, 1, kForce), Status::success);
        EXPECT_EQ(run(IoOpcode::flush, 0, 1), Status::success);
        EXPECT_EQ(
            disk_.read(0, 1024),
            std::vector<std::byte>(1024, std::byte{static_cast<unsigned char>(0x20 + cache)}));
    }
    EXPECT_THAT(rig_.function().summary(), testing::EndsWith(" (5 forced), 2 flushes"));
}

TEST_F(NvmeIo, compare_tells_same_from_different)
{
    fill(1024, std::byte{0x33});
    ASSERT_EQ(run(IoOpcode::write, 7, 2), Status::success);
    EXPECT_EQ(run(IoOpcode::compare, 7, 2), Status::success);
    rig_.memory(data_, 1024)[1023] = std::byte{0x34};
    EXPECT_EQ(run(IoOpcode::compare, 7, 2), Status::compare_failure);
    EXPECT_EQ(run(IoOpcode::compare, 7, 1), Status::success) << "the first block is the same";
}

TEST_F(NvmeIo, write_zeroes_makes_zeros_of_exactly_its_blocks)
{
    for (std::uint32_t const deallocate : {0U, kDeallocate}) {
        fill(64 * 512, std::byte{0x44});
        ASSERT_EQ(run(IoOpcode::write, 0, 64), Status::success);
        EXPECT_EQ(run(IoOpcode::write_zeroes, 3, 50, deallocate), Status::success);
        EXPECT_EQ(disk_.read(3 * 512, 50 * 512), std::vector<std::byte>(50 * 512));
        EXPECT_EQ(disk_.read(0, 3 * 512), std::vector<std::byte>(3 * 512, std::byte{0x44}));
        EXPECT_EQ(disk_.read(53 * 512, 11 * 512),
                  std::vector<std::byte>(11 * 512, std::byte{0x44}));
        EXPECT_EQ(disk_.size(), kDiskSize);
    }
    EXPECT_EQ(run(IoOpcode::write_zeroes, 0, kBlocks), Status::success)
        << "more than a transfer: nothing is transferred";
}

TEST_F(NvmeIo, deallocated_blocks_read_as_zeros_and_give_their_space_back)
{
    fill(512 * kPage, std::byte{0x55});
    for (std::uint64_t lba = 0; lba < kBlocks; lba += 4096) {
        ASSERT_EQ(run(IoOpcode::write, lba, 4096), Status::success);
    }
    auto const before = disk_.allocated();
    EXPECT_EQ(manage({{0, 4096, 0}, {0, 8, 8192}, {0, 0, 5}}), Status::success);
    EXPECT_LT(disk_.allocated(), before);
    EXPECT_EQ(disk_.read(0, 4096 * 512), std::vector<std::byte>(4096 * 512));
    EXPECT_EQ(disk_.read(8192 * 512, 8 * 512), std::vector<std::byte>(8 * 512));
    EXPECT_EQ(disk_.read(8200 * 512, 512), std::vector<std::byte>(512, std::byte{0x55}));
}

TEST_F(NvmeIo, dataset_management_is_all_or_nothing_and_mere_hints_change_nothing)
{
    fill(kPage, std::byte{0x66});
    ASSERT_EQ(run(IoOpcode::write, 0, 8), Status::success);
    EXPECT_EQ(manage({{0, 8, 0}, {0, 1, kBlocks}}), Status::lba_out_of_range);
    EXPECT_EQ(manage({{0, 8, 0}, {0, ~0U, ~std::uint64_t{0}}}), Status::lba_out_of_range);
    EXPECT_EQ(manage({{7, 8, 0}}, 3), Status::success) << "integral read and write";
    EXPECT_EQ(disk_.read(0, kPage), std::vector<std::byte>(kPage, std::byte{0x66}));
    EXPECT_EQ(manage(std::vector<Range>(256, {0, 8, 0})), Status::success);
    EXPECT_EQ(disk_.read(0, kPage), std::vector<std::byte>(kPage));
}

TEST_F(NvmeIo, a_disk_that_shrank_gives_media_errors_and_stays_usable)
{
    disk_.resize(kDiskSize / 2);
    EXPECT_EQ(run(IoOpcode::read, kBlocks - 8, 8), Status::unrecovered_read_error);
    EXPECT_EQ(run(IoOpcode::compare, kBlocks - 8, 8), Status::unrecovered_read_error);
    EXPECT_EQ(run(IoOpcode::read, kBlocks / 2 - 4, 8), Status::unrecovered_read_error)
        << "half of it";
    EXPECT_EQ(run(IoOpcode::read, 0, 8), Status::success);
}

TEST_F(NvmeIo, memory_that_goes_away_is_a_transfer_error)
{
    rig_.unmap(data_ + kPage, 1);
    disk_.write(0, std::vector<std::byte>(4 * kPage, std::byte{0x77}));
    for (auto const opcode : {IoOpcode::read, IoOpcode::write, IoOpcode::compare}) {
        EXPECT_EQ(run(opcode, 0, 32), Status::data_transfer_error);
    }
    EXPECT_EQ(disk_.read(0, 4 * kPage), std::vector<std::byte>(4 * kPage, std::byte{0x77}))
        << "a write that cannot be fetched in whole writes nothing";
    EXPECT_TRUE(healthy());
}

TEST_F(NvmeIo, rights_that_the_client_takes_from_itself_do_not_stop_the_device)
{
    disk_.write(0, std::vector<std::byte>(4 * kPage, std::byte{0x78}));
    auto const page = rig_.memory(data_ + kPage, kPage);
    for (int const rights : {PROT_NONE, PROT_READ}) {
        std::ranges::fill(rig_.memory(data_, 4 * kPage), std::byte{0x79});
        ASSERT_EQ(::mprotect(page.data(), kPage, rights), 0);
        EXPECT_EQ(run(IoOpcode::write, 32, 32), Status::success);
        EXPECT_EQ(run(IoOpcode::compare, 32, 32), Status::success);
        EXPECT_EQ(run(IoOpcode::read, 0, 32), Status::success);
        ASSERT_EQ(::mprotect(page.data(), kPage, PROT_READ | PROT_WRITE), 0);
        EXPECT_EQ(disk_.read(4 * kPage, 4 * kPage),
                  std::vector<std::byte>(4 * kPage, std::byte{0x79}));
        EXPECT_TRUE(std::ranges::equal(rig_.memory(data_, 4 * kPage), disk_.read(0, 4 * kPage)));
    }
    EXPECT_EQ(rig_.endpoint().faults().count(), 0U);
}

TEST_F(NvmeIo, memory_pulled_from_under_its_mapping_is_a_transfer_error_and_no_crash)
{
    auto const hole = rig_.memory(data_ + kPage, kPage);
    ASSERT_EQ(::munmap(hole.data(), kPage), 0);
    for (auto const opcode : {IoOpcode::read, IoOpcode::write, IoOpcode::compare}) {
        EXPECT_EQ(run(opcode, 0, 32), Status::data_transfer_error);
    }
    EXPECT_EQ(rig_.endpoint().faults().count(), 3U);
    EXPECT_TRUE(healthy());
    ASSERT_EQ(::mmap(hole.data(), kPage, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
              hole.data());
    EXPECT_EQ(run(IoOpcode::read, 0, 32), Status::success);
}

TEST_F(NvmeIo, the_summary_counts_what_was_done)
{
    EXPECT_EQ(run(IoOpcode::write, 0, 2048), Status::success);
    EXPECT_EQ(run(IoOpcode::read, 0, 1), Status::success);
    EXPECT_EQ(run(IoOpcode::read, 0, 2), Status::success);
    EXPECT_EQ(run(IoOpcode::flush, 0, 1), Status::success);
    EXPECT_EQ(run(IoOpcode::read, kBlocks, 1), Status::lba_out_of_range);
    auto const name = disk_.path().substr(disk_.path().rfind('/') + 1);
    EXPECT_EQ(rig_.function().summary(),
              "ns1 " + name + " 8 MiB: 2 reads 1.5 KiB, 1 writes 1 MiB, 1 flushes");
}

class NvmeRandomIo : public testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(BlockSize, NvmeRandomIo, testing::Values(512U, 4096U));

// Commands of every kind, several under way, against a plain array.
TEST_P(NvmeRandomIo, behaves_as_a_plain_array_of_blocks)
{
    auto const block = GetParam();
    constexpr std::uint64_t kSize = 4 << 20;
    auto const blocks = kSize / block;
    auto const seed = std::random_device{}();
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937_64 random{seed};

    TestDisk disk{kSize + 100};  // rounded down to whole blocks
    NvmeRig rig{{{"disk", disk.path()}, {"block_size", std::to_string(block)}}};
    NvmeDriver driver{rig};
    driver.enable();
    auto queue = driver.make_queues(1, 5);
    std::vector<std::byte> model(kSize);

    for (int round = 0; round < 1500; ++round) {
        auto const count = 1 + random() % (random() % 8 == 0 ? 256 * 4096 / block / 8 : 16);
        auto const lba = random() % (blocks - count + 1);
        auto const size = count * block;
        auto const slice = std::span{model}.subspan(lba * block, size);
        auto const mark = rig.mark();
        auto const data = rig.allocate(size / kPage + 2) + random() % 1024 * 4;
        auto command = rw(IoOpcode::read, lba, static_cast<std::uint32_t>(count));
        driver.point(command, data, size);

        switch (random() % 4) {
            case 0:
                ASSERT_EQ(status_of(driver.run(queue, command)), Status::success);
                ASSERT_TRUE(std::ranges::equal(rig.memory(data, size), slice)) << "round " << round;
                break;
            case 1:
                command.opcode = static_cast<std::uint8_t>(IoOpcode::write_zeroes);
                command.cdw12 |= random() % 2 == 0 ? 0U : 1U << 25;
                ASSERT_EQ(status_of(driver.run(queue, command)), Status::success);
                std::ranges::fill(slice, std::byte{0});
                break;
            default:
                command.opcode = static_cast<std::uint8_t>(IoOpcode::write);
                std::ranges::generate(rig.memory(data, size), [&] { return std::byte(random()); });
                ASSERT_EQ(status_of(driver.run(queue, command)), Status::success);
                std::ranges::copy(rig.memory(data, size), slice.begin());
                break;
        }
        rig.release_to(mark);
    }
    EXPECT_EQ(disk.read(0, kSize), model);
}

TEST(NvmeNamespaces, several_disks_are_several_namespaces_with_their_own_settings)
{
    TestDisk one{1 << 20}, two{2 << 20}, three{4 << 20};
    three.write(0, std::vector<std::byte>(4096, std::byte{3}));
    NvmeRig rig{{{"disk", one.path()},
                 {"disk2", two.path()},
                 {"disk3", three.path()},
                 {"block_size2", "4096"},
                 {"readonly3", "yes"}}};
    NvmeDriver driver{rig};
    driver.enable();
    auto queue = driver.make_queues(1, 8);
    auto const page = rig.allocate(2);
    auto const identify = [&](std::uint32_t cns, std::uint32_t nsid) {
        auto command = admin_command(AdminOpcode::identify, cns);
        command.nsid = nsid;
        command.prp1 = page;
        EXPECT_EQ(status_of(driver.admin(command)), Status::success);
        return rig.memory(page, kPage);
    };
    auto const run = [&](IoOpcode opcode, std::uint32_t nsid, std::uint32_t blocks) {
        auto command = rw(opcode, 0, blocks, nsid);
        driver.point(command, page, 4096);
        return status_of(driver.run(queue, command));
    };

    EXPECT_EQ(identify(1, 0)[516], std::byte{3}) << "NN";
    auto const list = identify(2, 1);
    EXPECT_EQ(list[0], std::byte{2});
    EXPECT_EQ(list[4], std::byte{3});
    EXPECT_EQ(list[8], std::byte{0});
    EXPECT_EQ(identify(0, 2)[26], std::byte{1}) << "FLBAS";
    EXPECT_EQ(identify(0, 2)[134], std::byte{12}) << "LBADS of the second format";
    EXPECT_EQ(identify(0, 3)[99], std::byte{1}) << "write protected";

    std::ranges::fill(rig.memory(page, kPage), std::byte{0x21});
    EXPECT_EQ(run(IoOpcode::write, 1, 8), Status::success);
    std::ranges::fill(rig.memory(page, kPage), std::byte{0x22});
    EXPECT_EQ(run(IoOpcode::write, 2, 1), Status::success);
    EXPECT_EQ(one.read(0, 4096), std::vector<std::byte>(4096, std::byte{0x21}));
    EXPECT_EQ(two.read(0, 4096), std::vector<std::byte>(4096, std::byte{0x22}));

    for (auto const opcode : {IoOpcode::write, IoOpcode::write_zeroes}) {
        EXPECT_EQ(run(opcode, 3, 8), Status::namespace_write_protected);
    }
    std::ranges::fill(rig.memory(page, kPage), std::byte{0});
    auto deallocate = rw(IoOpcode::dataset_management, 0, 1, 3);
    deallocate.cdw10 = 0;
    deallocate.cdw11 = 4;
    deallocate.prp1 = page;
    EXPECT_EQ(status_of(driver.run(queue, deallocate)), Status::namespace_write_protected);
    EXPECT_EQ(run(IoOpcode::flush, 3, 1), Status::success);
    EXPECT_EQ(run(IoOpcode::read, 3, 8), Status::success);
    EXPECT_EQ(rig.memory(page, kPage)[4095], std::byte{3});
    EXPECT_THAT(rig.function().summary(), testing::HasSubstr("; ns2 "));
}

}  // namespace
}  // namespace pinfold::devices::nvme
