// Identify, logs, events, Abort.
#include "devices/nvme/async_events.hpp"
#include "devices/nvme/identify.hpp"
#include "devices/nvme/log_pages.hpp"
#include "devices/nvme_fixture.hpp"

namespace pinfold::devices::nvme {
namespace {

class NvmeAdmin : public NvmeTest {
protected:
    Status identify(std::uint32_t cns, std::uint32_t nsid = 0)
    {
        auto command = admin_command(AdminOpcode::identify, cns);
        command.nsid = nsid;
        return admin_data(command);
    }
    Status get_log(LogId id, std::uint64_t size, std::uint64_t offset = 0, bool retain = false)
    {
        auto const dwords = static_cast<std::uint32_t>(size / 4 - 1);
        auto command = admin_command(
            AdminOpcode::get_log_page,
            static_cast<std::uint32_t>(id) | (retain ? 1U << 15 : 0U) | dwords << 16, dwords >> 16);
        command.nsid = kBroadcastNsid;
        command.cdw12 = static_cast<std::uint32_t>(offset);
        command.cdw13 = static_cast<std::uint32_t>(offset >> 32);
        return admin_data(command, size);
    }
    std::string text(std::size_t offset, std::size_t size)
    {
        auto const bytes = rig_.memory(page_ + offset, size);
        return {reinterpret_cast<char const*>(bytes.data()), bytes.size()};
    }
    std::uint16_t park()
    {
        auto const id =
            driver_.submit(driver_.admin_queue(), admin_command(AdminOpcode::async_event_request));
        driver_.ring(driver_.admin_queue());
        return id;
    }
    std::optional<Completion> completion()
    {
        auto const entry = driver_.reap(driver_.admin_queue());
        driver_.consume(driver_.admin_queue());
        return entry;
    }
    void ring_wrong_doorbell() { rig_.write32(NvmeDriver::tail_doorbell(50), 1); }
};

TEST_F(NvmeAdmin, identify_controller_tells_the_truth_about_it)
{
    ASSERT_EQ(identify(1), Status::success);
    EXPECT_EQ(field<std::uint16_t>(0), kVendor);
    EXPECT_EQ(text(4, 20).substr(0, 2), "PF");
    EXPECT_EQ(text(4, 20).back(), ' ') << "padded with spaces";
    EXPECT_EQ(text(24, 40), "Pinfold NVMe Controller                 ");
    EXPECT_EQ(field<std::uint8_t>(77), kMdts);
    EXPECT_EQ(field<std::uint32_t>(80), rig_.read32(8)) << "VER is the VS register";
    EXPECT_EQ(field<std::uint8_t>(111), 1U) << "an I/O controller";
    EXPECT_EQ(field<std::uint16_t>(256), 0x102U) << "OACS: Format, Doorbell Buffer Config";
    EXPECT_EQ(field<std::uint8_t>(259), 3U) << "AERL";
    EXPECT_EQ(field<std::uint64_t>(280), kDiskSize) << "TNVMCAP";
    EXPECT_EQ(field<std::uint8_t>(512), 0x66U);
    EXPECT_EQ(field<std::uint8_t>(513), 0x44U);
    EXPECT_EQ(field<std::uint32_t>(516), 1U) << "NN";
    EXPECT_EQ(field<std::uint16_t>(520), 0x1dU) << "Compare, DSM, Write Zeroes, Select";
    EXPECT_EQ(field<std::uint8_t>(525), 7U) << "a write cache; Flush of all namespaces";
    EXPECT_EQ(field<std::uint32_t>(536), 1U) << "SGLs of any alignment";
    EXPECT_EQ(text(768, 32), "nqn.2014-08.org.nvmexpress:uuid:");
    EXPECT_EQ(text(768 + 68, 1), std::string(1, '\0'));
}

TEST_F(NvmeAdmin, identify_namespace_tells_its_size_and_format)
{
    ASSERT_EQ(identify(0, 1), Status::success);
    for (std::size_t const size : {0U, 8U, 16U}) {
        EXPECT_EQ(field<std::uint64_t>(size), kDiskSize / 512);
    }
    EXPECT_EQ(field<std::uint8_t>(25), 1U) << "NLBAF: two";
    EXPECT_EQ(field<std::uint8_t>(26), 0U) << "FLBAS: the first";
    EXPECT_EQ(field<std::uint8_t>(33), 9U) << "DLFEAT";
    EXPECT_EQ(field<std::uint8_t>(99), 0U) << "not write protected";
    EXPECT_EQ(field<std::uint32_t>(128), 9U << 16) << "blocks of 512 bytes, no metadata";
    EXPECT_EQ(field<std::uint32_t>(132), 12U << 16) << "or of 4096";
    EXPECT_NE(field<std::uint64_t>(120), 0U) << "EUI-64";
}

TEST_F(NvmeAdmin, identify_refuses_what_does_not_exist)
{
    EXPECT_EQ(identify(0, 0), Status::invalid_namespace);
    EXPECT_EQ(identify(0, 2), Status::invalid_namespace);
    EXPECT_EQ(identify(0, kBroadcastNsid), Status::invalid_namespace);
    EXPECT_EQ(identify(3, 2), Status::invalid_namespace);
    EXPECT_EQ(identify(2, kBroadcastNsid), Status::invalid_namespace);
    EXPECT_EQ(identify(2, kBroadcastNsid - 1), Status::invalid_namespace);
    for (std::uint32_t cns = 4; cns < 256; ++cns) {
        if (cns == 5 || cns == 6 || cns == 7 || cns == 0x1c) continue;
        EXPECT_EQ(identify(cns, 1), Status::invalid_field) << "CNS " << cns;
    }
}

TEST_F(NvmeAdmin, later_hosts_find_the_NVM_command_set_and_nothing_more)
{
    auto const identify_set = [&](std::uint32_t cns, std::uint32_t nsid, std::uint32_t set = 0) {
        auto command = admin_command(AdminOpcode::identify, cns, set << 24);
        command.nsid = nsid;
        return admin_data(command);
    };
    ASSERT_EQ(identify_set(7, 0), Status::success);
    EXPECT_EQ(field<std::uint32_t>(0), 1U);
    ASSERT_EQ(identify_set(0x1c, 0), Status::success);
    EXPECT_EQ(field<std::uint64_t>(0), 1U);
    EXPECT_EQ(field<std::uint64_t>(8), 0U);
    ASSERT_EQ(identify_set(5, 1), Status::success);
    EXPECT_EQ(field<std::uint64_t>(0), 0U);
    ASSERT_EQ(identify_set(6, 0), Status::success);
    EXPECT_EQ(identify_set(5, 2), Status::invalid_namespace);
    EXPECT_EQ(identify_set(7, kBroadcastNsid), Status::invalid_namespace);
    for (std::uint32_t const cns : {5U, 6U, 7U})
        EXPECT_EQ(identify_set(cns, 1, 2), Status::invalid_field) << "zoned namespaces";
}

TEST_F(NvmeAdmin, the_namespace_list_and_descriptors_agree_with_the_namespace)
{
    ASSERT_EQ(identify(2, 0), Status::success);
    EXPECT_EQ(field<std::uint32_t>(0), 1U);
    EXPECT_EQ(field<std::uint32_t>(4), 0U);
    ASSERT_EQ(identify(2, 1), Status::success);
    EXPECT_EQ(field<std::uint32_t>(0), 0U) << "none above 1";

    ASSERT_EQ(identify(0, 1), Status::success);
    auto const eui64 = text(120, 8), nguid = text(104, 16);
    ASSERT_EQ(identify(3, 1), Status::success);
    EXPECT_EQ(field<std::uint16_t>(0), 0x0801U);
    EXPECT_EQ(text(4, 8), eui64);
    EXPECT_EQ(field<std::uint16_t>(12), 0x1002U);
    EXPECT_EQ(text(16, 16), nguid);
    EXPECT_EQ(field<std::uint16_t>(32), 0x1003U);
    EXPECT_EQ(field<std::uint16_t>(52), 0x0104U);
    EXPECT_EQ(field<std::uint8_t>(56), 0U) << "the NVM command set";
    EXPECT_EQ(field<std::uint32_t>(57), 0U) << "the end of the list";
}

TEST_F(NvmeAdmin, the_names_of_a_disk_stay_from_run_to_run_and_differ_between_disks)
{
    auto const names = [](TestDisk const& disk) {
        NvmeRig rig{{{"disk", disk.path()}}};
        NvmeDriver driver{rig};
        driver.enable();
        auto command = admin_command(AdminOpcode::identify, 1);
        driver.point(command, rig.allocate(1), kPage);
        (void)driver.admin(command);
        auto const page = rig.memory(command.prp1, kPage);
        return std::string(reinterpret_cast<char const*>(page.data()) + 4, 20) +
               std::string(reinterpret_cast<char const*>(page.data()) + 768, 68);
    };
    TestDisk const other{1 << 20};
    auto const first = names(disk_);
    EXPECT_EQ(first, names(disk_));
    EXPECT_NE(first, names(other));
}

TEST_F(NvmeAdmin, opcodes_that_do_not_exist_are_invalid)
{
    for (unsigned opcode = 0; opcode < 256; ++opcode) {
        switch (AdminOpcode{static_cast<std::uint8_t>(opcode)}) {
            case AdminOpcode::delete_sq:
            case AdminOpcode::create_sq:
            case AdminOpcode::get_log_page:
            case AdminOpcode::delete_cq:
            case AdminOpcode::create_cq:
            case AdminOpcode::identify:
            case AdminOpcode::abort:
            case AdminOpcode::set_features:
            case AdminOpcode::get_features:
            case AdminOpcode::async_event_request:
            case AdminOpcode::keep_alive:
            case AdminOpcode::doorbell_buffer_config:
            case AdminOpcode::format_nvm: continue;
        }
        EXPECT_EQ(admin(admin_command(AdminOpcode{static_cast<std::uint8_t>(opcode)})),
                  Status::invalid_opcode)
            << opcode;
    }
}

TEST_F(NvmeAdmin, sgls_and_fused_commands_are_refused)
{
    for (unsigned const flags : {0x01U, 0x02U, 0x40U, 0x80U, 0xc0U}) {
        auto command = admin_command(AdminOpcode::identify, 1);
        command.flags = static_cast<std::uint8_t>(flags);
        EXPECT_EQ(admin_data(command), Status::invalid_field) << flags;
    }
}

TEST_F(NvmeAdmin, data_for_memory_that_is_not_there_is_a_transfer_error)
{
    auto command = admin_command(AdminOpcode::identify, 1);
    for (auto const iova : {std::uint64_t{0xdead'0000}, ~std::uint64_t{0xfff}, ~std::uint64_t{3},
                            NvmeRig::kIova - kPage, NvmeRig::kIova + NvmeRig::kSize}) {
        command.prp1 = iova;
        command.prp2 = 0;
        EXPECT_EQ(admin(command), Status::data_transfer_error) << std::hex << iova;
    }
    EXPECT_TRUE(healthy());
    EXPECT_GE(rig_.endpoint().faults().count(), 5U);
    command.prp1 = page_ + 2;
    EXPECT_EQ(admin(command), Status::prp_offset_invalid);
}

TEST_F(NvmeAdmin, the_error_log_shows_the_newest_errors_first)
{
    for (unsigned i = 0; i < ErrorLog::kEntries + 3; ++i)
        EXPECT_NE(identify(0, 100 + i), Status::success);
    ASSERT_EQ(get_log(LogId::errors, ErrorLog::kEntries * 64), Status::success);
    for (std::size_t i = 0; i < ErrorLog::kEntries; ++i) {
        EXPECT_EQ(field<std::uint64_t>(i * 64), ErrorLog::kEntries + 3 - i);
        EXPECT_EQ(field<std::uint16_t>(i * 64 + 8), 0U);
        EXPECT_EQ(field<std::uint16_t>(i * 64 + 12) >> 1, number(Status::invalid_namespace));
        EXPECT_EQ(field<std::uint32_t>(i * 64 + 24), 100 + ErrorLog::kEntries + 2 - i);
    }
    ASSERT_EQ(get_log(LogId::health, 512), Status::success);
    EXPECT_EQ(field<std::uint64_t>(176), ErrorLog::kEntries + 3);
}

TEST_F(NvmeAdmin, the_health_log_counts_what_was_read_and_written)
{
    auto queue = driver_.make_queues(1, 8);
    for (auto const opcode : {IoOpcode::write, IoOpcode::write, IoOpcode::read}) {
        auto command = rw(opcode, 0, 2048);  // 1 MiB
        driver_.point(command, NvmeRig::kIova + (8 << 20), 1 << 20);
        ASSERT_EQ(status_of(driver_.run(queue, command)), Status::success);
    }
    ASSERT_EQ(get_log(LogId::health, 512), Status::success);
    EXPECT_EQ(field<std::uint8_t>(0), 0U) << "no warning";
    EXPECT_EQ(field<std::uint16_t>(1), 313U) << "Kelvin";
    EXPECT_EQ(field<std::uint8_t>(3), 100U) << "spare";
    EXPECT_EQ(field<std::uint64_t>(32), 3U) << "1 MiB in units of 512,000 bytes, rounded up";
    EXPECT_EQ(field<std::uint64_t>(48), 5U);
    EXPECT_EQ(field<std::uint64_t>(64), 1U);
    EXPECT_EQ(field<std::uint64_t>(80), 2U);
}

TEST_F(NvmeAdmin, a_log_can_be_read_in_pieces_and_not_from_beyond_its_end)
{
    ASSERT_EQ(get_log(LogId::firmware_slots, 512), Status::success);
    EXPECT_EQ(field<std::uint8_t>(0), 1U);
    EXPECT_EQ(text(8, 8), "1.0     ");
    ASSERT_EQ(get_log(LogId::firmware_slots, 8, 8), Status::success);
    EXPECT_EQ(text(0, 8), "1.0     ");
    EXPECT_EQ(get_log(LogId::firmware_slots, 8, 512), Status::success);
    EXPECT_EQ(get_log(LogId::firmware_slots, 8, 516), Status::invalid_field);
    EXPECT_EQ(get_log(LogId::firmware_slots, 8, 2), Status::invalid_field);
    EXPECT_EQ(get_log(LogId::firmware_slots, 8, std::uint64_t{1} << 32), Status::invalid_field);

    ASSERT_EQ(get_log(LogId::commands_supported, 4096), Status::success);
    EXPECT_EQ(field<std::uint32_t>(6 * 4), 1U) << "Identify";
    EXPECT_EQ(field<std::uint32_t>(0x10 * 4), 0U) << "no firmware commit";
    EXPECT_EQ(field<std::uint32_t>(1024 + 4), 3U) << "Write changes blocks";
}

TEST_F(NvmeAdmin, logs_that_do_not_exist_or_are_too_large_are_refused)
{
    for (std::uint32_t id = 0; id < 256; ++id) {
        if (id == 1 || id == 2 || id == 3 || id == 5) continue;
        EXPECT_EQ(admin_data(admin_command(AdminOpcode::get_log_page, 127U << 16 | id)),
                  Status::invalid_log_page)
            << id;
    }
    auto command = admin_command(AdminOpcode::get_log_page, 0xffff'0002, 0xffff);
    EXPECT_EQ(admin_data(command), Status::invalid_field) << "16 GiB";
    command = admin_command(AdminOpcode::get_log_page, 127U << 16 | 2);
    command.nsid = 1;
    EXPECT_EQ(admin_data(command), Status::invalid_field) << "no log of a single namespace";
}

TEST_F(NvmeAdmin, event_requests_wait_and_too_many_are_refused)
{
    for (std::size_t i = 0; i < AsyncEvents::kLimit; ++i) {
        park();
        EXPECT_FALSE(completion());
    }
    auto const id = park();
    auto const refused = completion();
    ASSERT_TRUE(refused);
    EXPECT_EQ(refused->command_id, id);
    EXPECT_EQ(status_of(*refused), Status::async_event_limit);
}

TEST_F(NvmeAdmin, an_event_is_told_once_until_its_log_is_read)
{
    auto const first = park();
    park();
    ring_wrong_doorbell();
    ring_wrong_doorbell();
    auto const told = completion();
    ASSERT_TRUE(told);
    EXPECT_EQ(told->command_id, first);
    EXPECT_EQ(told->result, 0x01'0000U);
    EXPECT_FALSE(completion()) << "the second waits";
    EXPECT_EQ(get_log(LogId::errors, 64, 0, true), Status::success);
    EXPECT_FALSE(completion()) << "read, but the event was kept";

    auto command = admin_command(AdminOpcode::get_log_page, 1U | 15U << 16);
    driver_.point(command, page_, 64);
    driver_.submit(driver_.admin_queue(), command);
    driver_.ring(driver_.admin_queue());
    EXPECT_TRUE(completion()) << "Get Log Page itself";
    auto const second = completion();
    ASSERT_TRUE(second);
    EXPECT_EQ(second->result, 0x01'0000U);
}

TEST_F(NvmeAdmin, an_event_from_before_the_request_is_told_at_once)
{
    ring_wrong_doorbell();
    auto const id = park();
    auto const told = completion();
    ASSERT_TRUE(told);
    EXPECT_EQ(told->command_id, id);
    EXPECT_EQ(told->result, 0x01'0000U);
}

TEST_F(NvmeAdmin, an_event_waits_for_room_in_the_completion_queue)
{
    driver_.enable(2);
    park();
    driver_.submit(driver_.admin_queue(), admin_command(AdminOpcode::abort));
    driver_.ring(driver_.admin_queue());  // its completion fills the queue
    ring_wrong_doorbell();
    auto const aborted = driver_.reap(driver_.admin_queue());
    ASSERT_TRUE(aborted);
    EXPECT_FALSE(driver_.reap(driver_.admin_queue()));
    driver_.consume(driver_.admin_queue());
    auto const told = completion();
    ASSERT_TRUE(told);
    EXPECT_EQ(told->result, 0x01'0000U);
}

TEST_F(NvmeAdmin, a_temperature_beyond_the_threshold_is_a_warning_and_an_event_if_wanted)
{
    park();
    EXPECT_EQ(admin(admin_command(AdminOpcode::set_features, 4, 300)), Status::success);
    EXPECT_FALSE(completion()) << "not asked for";
    ASSERT_EQ(get_log(LogId::health, 512), Status::success);
    EXPECT_EQ(field<std::uint8_t>(0), 2U);

    driver_.submit(driver_.admin_queue(), admin_command(AdminOpcode::set_features, 0x0b, 2));
    driver_.ring(driver_.admin_queue());
    EXPECT_TRUE(completion());
    auto const told = completion();
    ASSERT_TRUE(told);
    EXPECT_EQ(told->result, 0x02'0101U);
}

TEST_F(NvmeAdmin, abort_ends_a_waiting_event_request_and_nothing_else)
{
    auto const parked = park();
    auto const abort = [&](unsigned sq, std::uint16_t id) {
        driver_.submit(driver_.admin_queue(),
                       admin_command(AdminOpcode::abort, std::uint32_t{id} << 16 | sq));
        driver_.ring(driver_.admin_queue());
        return completion();
    };
    EXPECT_EQ(abort(0, static_cast<std::uint16_t>(parked + 77)).value().result, 1U);
    EXPECT_EQ(abort(1, parked).value().result, 1U) << "another queue";
    EXPECT_FALSE(completion());
    EXPECT_EQ(abort(0, parked).value().result, 0U);
    auto const ended = completion();
    ASSERT_TRUE(ended);
    EXPECT_EQ(ended->command_id, parked);
    EXPECT_EQ(status_of(*ended), Status::abort_requested);
    EXPECT_EQ(abort(0, parked).value().result, 1U) << "it is gone";
}

TEST_F(NvmeAdmin, a_second_event_request_with_the_same_id_is_a_conflict)
{
    auto& queue = driver_.admin_queue();
    auto const put = [&] {
        auto command = admin_command(AdminOpcode::async_event_request);
        command.id = 7;
        auto const slot = rig_.memory(queue.sq + queue.tail * sizeof command, sizeof command);
        std::memcpy(slot.data(), &command, sizeof command);
        ++queue.tail;
        driver_.ring(queue);
        return completion();
    };
    EXPECT_FALSE(put());
    EXPECT_EQ(status_of(put().value()), Status::command_id_conflict);
}

}  // namespace
}  // namespace pinfold::devices::nvme
