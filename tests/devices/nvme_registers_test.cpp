#include "devices/nvme_fixture.hpp"

namespace pinfold::devices::nvme {
namespace {

constexpr std::uint32_t kReadyBit = 1, kFatalBit = 2;
constexpr std::uint32_t kEnable = 0x46'0001;

class NvmeRegisters : public NvmeTest {
protected:
    std::uint64_t at(Register which) { return NvmeDriver::offset(which); }
    std::uint32_t get(Register which) { return rig_.read32(at(which)); }
    void set(Register which, std::uint32_t value) { rig_.write32(at(which), value); }
    // Everything as it was at power-on.
    void power_on() { ASSERT_TRUE(rig_.function().reset()); }
};

TEST_F(NvmeRegisters, the_capabilities_are_what_drivers_look_for)
{
    auto const cap = rig_.read64(at(Register::cap));
    EXPECT_EQ(cap & 0xffff, kMaxQueueSize - 1);
    EXPECT_EQ(cap >> 16 & 1, 1U) << "queues must be contiguous";
    EXPECT_GE(cap >> 24 & 0xff, 1U) << "a timeout of 0 leaves no time to become ready";
    EXPECT_EQ(cap >> 32 & 0xf, 0U) << "doorbell stride";
    EXPECT_EQ(cap >> 37 & 1, 1U) << "NVM command set";
    EXPECT_EQ(cap >> 48 & 0xf, 0U) << "pages of 4 KiB";
    EXPECT_EQ(rig_.read32(at(Register::vs)), 0x10400U);
    EXPECT_EQ(rig_.read32(0x38), 0U) << "no controller memory buffer";
}

TEST_F(NvmeRegisters, halves_and_wholes_of_wide_registers_agree)
{
    auto const cap = rig_.read64(0);
    EXPECT_EQ(rig_.read32(0), static_cast<std::uint32_t>(cap));
    EXPECT_EQ(rig_.read32(4), static_cast<std::uint32_t>(cap >> 32));

    rig_.write32(at(Register::asq) + 4, 0x12);  // the high half first, as libvfn does
    rig_.write32(at(Register::asq), 0x3456'7000);
    EXPECT_EQ(rig_.read64(at(Register::asq)), 0x12'3456'7000U);
    rig_.write64(at(Register::acq), 0x9a'bcde'f123);
    EXPECT_EQ(rig_.read64(at(Register::acq)), 0x9a'bcde'f000U) << "bits 11:0 are reserved";
}

TEST_F(NvmeRegisters, a_mapped_page_shows_what_a_read_answers)
{
    auto* const page = static_cast<std::byte*>(
        ::mmap(nullptr, kPage, PROT_READ, MAP_SHARED, rig_.function().bar_descriptor(0), 0));
    ASSERT_NE(page, MAP_FAILED);
    set(Register::cc, 0);
    set(Register::cc, kEnable);
    for (std::uint64_t offset = 0; offset < kPage; offset += 4) {
        std::uint32_t value;
        std::memcpy(&value, page + offset, sizeof value);
        EXPECT_EQ(value, rig_.read32(offset)) << "offset " << offset;
    }
    ::munmap(page, kPage);
}

TEST_F(NvmeRegisters, enabling_and_disabling_is_seen_at_once)
{
    EXPECT_EQ(driver_.csts(), kReadyBit);
    set(Register::cc, 0x46'0000);
    EXPECT_EQ(driver_.csts(), 0U);
    EXPECT_NE(get(Register::asq), 0U) << "a controller reset keeps the admin queue registers";
    set(Register::cc, kEnable);
    EXPECT_EQ(driver_.csts(), kReadyBit);
}

TEST_F(NvmeRegisters, a_function_reset_forgets_everything)
{
    power_on();
    for (auto const which : {Register::cc, Register::csts, Register::aqa, Register::asq,
                             Register::acq, Register::intms}) {
        EXPECT_EQ(get(which), 0U) << "register " << at(which);
    }
    EXPECT_EQ(rig_.read32(at(Register::vs)), 0x10400U);
}

TEST_F(NvmeRegisters, a_configuration_that_is_not_offered_is_fatal_until_the_next_reset)
{
    for (auto const bad : {
             kEnable | 1U << 4,   // another command set
             kEnable | 5U << 7,   // pages of 128 KiB
             kEnable | 1U << 11,  // weighted round robin
         }) {
        set(Register::cc, 0);
        set(Register::cc, bad);
        EXPECT_EQ(driver_.csts(), kFatalBit) << std::hex << bad;
        rig_.write32(NvmeDriver::tail_doorbell(0), 1);
        EXPECT_EQ(driver_.csts(), kFatalBit);
    }
    driver_.enable();
    EXPECT_TRUE(healthy());
}

TEST_F(NvmeRegisters, an_admin_queue_of_one_entry_or_past_the_end_of_memory_is_fatal)
{
    set(Register::cc, 0);
    for (auto const attributes : {0x0000'007fU, 0x007f'0000U}) {
        set(Register::aqa, attributes);
        set(Register::cc, kEnable);
        EXPECT_EQ(driver_.csts(), kFatalBit) << std::hex << attributes;
        set(Register::cc, 0);
    }
    set(Register::aqa, 0x0fff'0fff);
    rig_.write64(at(Register::asq), ~std::uint64_t{0});
    set(Register::cc, kEnable);
    EXPECT_EQ(driver_.csts(), kFatalBit);
}

TEST_F(NvmeRegisters, admin_queues_that_cannot_be_reached_are_fatal)
{
    for (auto const which : {Register::asq, Register::acq}) {
        driver_.enable();
        set(Register::cc, 0);
        rig_.write64(at(which), 0xdead'0000);
        set(Register::cc, kEnable);
        EXPECT_EQ(driver_.csts(), kReadyBit) << "nothing has been fetched yet";
        driver_.submit(driver_.admin_queue(), admin_command(AdminOpcode::abort));
        driver_.ring(driver_.admin_queue());
        EXPECT_EQ(driver_.csts(), kReadyBit | kFatalBit);
    }
    driver_.enable();
    EXPECT_EQ(admin(admin_command(AdminOpcode::abort)), Status::success);
}

TEST_F(NvmeRegisters, without_bus_master_nothing_is_fetched_and_the_controller_fails)
{
    rig_.set_bus_master(false);
    driver_.submit(driver_.admin_queue(), admin_command(AdminOpcode::abort));
    driver_.ring(driver_.admin_queue());
    EXPECT_FALSE(driver_.reap(driver_.admin_queue()));
    EXPECT_FALSE(healthy());
    rig_.set_bus_master(true);
    driver_.enable();
    EXPECT_EQ(admin(admin_command(AdminOpcode::abort)), Status::success);
}

TEST_F(NvmeRegisters, shutdown_completes_and_queues_can_still_be_deleted)
{
    auto const queue = driver_.make_queues(1, 4);
    for (auto const kind : {1U, 2U}) {
        set(Register::cc, kEnable);
        set(Register::cc, kEnable | kind << 14);
        EXPECT_EQ(driver_.csts() >> 2 & 3, 2U);
    }
    EXPECT_EQ(admin(admin_command(AdminOpcode::delete_sq, queue.id)), Status::success);
    EXPECT_EQ(admin(admin_command(AdminOpcode::delete_cq, queue.id)), Status::success);
    set(Register::cc, 0);
    EXPECT_EQ(driver_.csts(), 0U);
}

TEST_F(NvmeRegisters, writes_to_what_is_read_only_or_not_there_are_lost)
{
    std::vector<std::uint32_t> before;
    for (std::uint64_t offset = 0; offset < kPage; offset += 4)
        before.push_back(rig_.read32(offset));
    for (std::uint64_t offset = 0; offset < kPage; offset += 4) {
        bool const writable =
            (offset >= 0x0c && offset <= 0x14) || (offset >= 0x24 && offset < 0x38);
        if (!writable) rig_.write32(offset, ~0U);
    }
    for (std::uint64_t offset = 0; offset < kPage; offset += 4) {
        EXPECT_EQ(rig_.read32(offset), before[offset / 4]) << "offset " << offset;
    }
    EXPECT_TRUE(healthy());
}

TEST_F(NvmeRegisters, accesses_of_odd_size_or_place_change_nothing)
{
    for (unsigned const width : {1U, 2U, 4U, 8U}) {
        for (std::uint64_t offset = 0; offset < 0x40; ++offset) {
            if ((width == 4 || width == 8) && offset % width == 0) continue;
            rig_.write(offset, width, ~std::uint64_t{0});
            rig_.write(kDoorbells + offset, width, 1);
        }
    }
    EXPECT_TRUE(healthy());
    EXPECT_EQ(get(Register::cc), kEnable);
    EXPECT_EQ(admin(admin_command(AdminOpcode::abort)), Status::success);
}

TEST_F(NvmeRegisters, doorbells_read_as_zero)
{
    driver_.submit(driver_.admin_queue(), admin_command(AdminOpcode::abort));
    driver_.ring(driver_.admin_queue());
    EXPECT_EQ(rig_.read32(kDoorbells), 0U);
    EXPECT_EQ(rig_.read32(kDoorbells + 4), 0U);
}

TEST_F(NvmeRegisters, larger_pages_change_what_a_prp_reaches)
{
    set(Register::cc, 0);
    set(Register::cc, kEnable | 4U << 7);  // 64 KiB
    ASSERT_TRUE(healthy());
    auto& queue = driver_.admin_queue();
    queue.tail = queue.head = 0;
    queue.phase = true;
    std::ranges::fill(rig_.memory(queue.cq, kPage), std::byte{0});
    // 4 KiB that begin in the middle of a small page fit the large one: PRP2 is not looked at.
    auto command = admin_command(AdminOpcode::identify, 1);
    command.prp1 = NvmeRig::kIova + 0x2'0800;
    command.prp2 = 0xdead'beef;
    EXPECT_EQ(admin(command), Status::success);
    EXPECT_EQ(rig_.memory(command.prp1 + 512, 1)[0], std::byte{0x66});
}

}  // namespace
}  // namespace pinfold::devices::nvme
