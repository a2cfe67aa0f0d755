#include "devices/edu.hpp"

#include <gtest/gtest.h>

#include <random>

#include "devices/registry.hpp"
#include "pci/function.hpp"
#include "pci/support.hpp"

namespace pinfold::devices {
namespace {

using host::kPage;
using host::TestMapping;
using pci::DeviceSpec;

constexpr std::uint64_t kIova = 0x10000;
constexpr std::uint64_t kBuffer = 0x40000;
constexpr std::uint64_t kRun = 1, kFromDevice = 2, kInterrupt = 4;

class EduTest : public testing::Test {
protected:
    explicit EduTest(DeviceSpec const& spec = {.model = "edu", .settings = {}})
        : function_{pci::Function::create(around_.endpoint(), around_.memory(), edu_model(), spec)
                        .value()}
    {
        function_->open();
        function_->config_write(4, 2, 6);
        around_.map(kIova, memory_);
    }

    std::uint64_t get(std::uint64_t offset, unsigned size = 4)
    {
        return function_->mmio_read(0, offset, size).value();
    }
    void set(std::uint64_t offset, std::uint64_t value, unsigned size = 4)
    {
        function_->mmio_write(0, offset, size, value).value();
    }
    void transfer(std::uint64_t from, std::uint64_t to, std::uint64_t count, std::uint64_t command)
    {
        set(0x80, from, 8);
        set(0x88, to, 8);
        set(0x90, count, 8);
        set(0x98, command, 8);
    }
    void to_device(std::uint64_t iova, std::uint64_t at, std::uint64_t count)
    {
        transfer(iova, kBuffer + at, count, kRun);
    }
    void from_device(std::uint64_t at, std::uint64_t iova, std::uint64_t count)
    {
        transfer(kBuffer + at, iova, count, kRun | kFromDevice);
    }
    void bind(pci::IrqIndex index) { pci::bind_event(*function_, index, event_); }

    pci::Surroundings around_;
    TestMapping memory_{3};
    pci::TestEvent event_;
    std::unique_ptr<pci::Function> function_;
};

TEST_F(EduTest, is_the_device_that_QEMU_has)
{
    std::array<std::uint8_t, 256> config;
    function_->config_read(0, std::as_writable_bytes(std::span{config}));
    EXPECT_EQ(function_->config_size(), 256U);
    EXPECT_EQ(config[0] | config[1] << 8, 0x1234);
    EXPECT_EQ(config[2] | config[3] << 8, 0x11e8);
    EXPECT_EQ(config[0x08], 0x10);
    EXPECT_EQ(config[0x0a], 0xff);
    EXPECT_EQ(config[0x0b], 0x00);
    EXPECT_EQ(config[0x2c] | config[0x2d] << 8, 0x1af4);
    EXPECT_EQ(config[0x2e] | config[0x2f] << 8, 0x1100);
    EXPECT_EQ(config[0x34], 0x40);
    EXPECT_EQ(config[0x40], 0x05);  // MSI, one vector of 64 bits, and nothing behind it
    EXPECT_EQ(config[0x41], 0x00);
    EXPECT_EQ(config[0x42] | config[0x43] << 8, 0x80);
    EXPECT_EQ(config[0x3d], 1);
    EXPECT_EQ(function_->region(0)->size, 1U << 20);
    EXPECT_EQ(function_->irq_count(pci::IrqIndex::msi), 1U);
    EXPECT_EQ(function_->irq_count(pci::IrqIndex::msix), 0U);
    EXPECT_FALSE(function_->resettable());
}

TEST_F(EduTest, identifies_itself_and_inverts_what_it_is_told)
{
    EXPECT_EQ(get(0x00), 0x010000edU);
    EXPECT_EQ(get(0x04), 0U);
    set(0x04, 0x12345678);
    EXPECT_EQ(get(0x04), 0xedcba987U);
    set(0x00, 1);
    EXPECT_EQ(get(0x00), 0x010000edU);
}

TEST_F(EduTest, computes_factorials_modulo_two_to_the_32)
{
    std::uint32_t product = 1;
    for (std::uint32_t n = 0; n < 40; ++n) {
        product *= n == 0 ? 1 : n;
        set(0x08, n);
        ASSERT_EQ(get(0x08), product) << n;
    }
    EXPECT_EQ(product, 0U);
    set(0x08, 0xffffffff);
    EXPECT_EQ(get(0x08), 0U);
    EXPECT_EQ(get(0x20), 0U) << "over at once";
}

TEST_F(EduTest, registers_that_are_not_there_read_ones_and_take_no_writes)
{
    for (std::uint64_t const offset :
         {0x0cU, 0x10U, 0x60U, 0x64U, 0x84U, 0xa0U, 0xffcU, 0x1000U, 0x40000U, 0xffffcU}) {
        EXPECT_EQ(get(offset), 0xffffffffU) << offset;
        if (offset != 0x60) set(offset, 0);
        EXPECT_EQ(get(offset), 0xffffffffU) << offset;
    }
}

TEST_F(EduTest, narrow_and_crooked_accesses_read_0_and_write_nothing)
{
    set(0x04, 0);
    ASSERT_EQ(get(0x04), 0xffffffffU);
    EXPECT_EQ(get(0x04, 1), 0U);
    EXPECT_EQ(get(0x04, 2), 0U);
    EXPECT_EQ(get(0x02, 4), 0U);
    EXPECT_EQ(get(0x84, 8), 0U);
    set(0x04, 0x55, 1);
    set(0x04, 0x55, 2);
    EXPECT_EQ(get(0x04), 0xffffffffU);
    set(0x02, 0, 4);
    EXPECT_EQ(get(0x04), 0xffffffffU);
}

TEST_F(EduTest, only_the_registers_of_the_DMA_engine_are_8_bytes_wide)
{
    EXPECT_EQ(get(0x00, 8), ~std::uint64_t{0});
    set(0x08, 3, 8);
    EXPECT_EQ(get(0x08), 0U);
    for (std::uint64_t const offset : {0x80U, 0x88U, 0x90U}) {
        set(offset, 0x1122'3344'5566'7788, 8);
        EXPECT_EQ(get(offset, 8), 0x1122'3344'5566'7788U);
        EXPECT_EQ(get(offset, 4), 0x5566'7788U);
        set(offset, 5, 4);
        EXPECT_EQ(get(offset, 8), 5U) << "the upper half goes";
    }
}

TEST_F(EduTest, a_command_without_run_is_no_command)
{
    set(0x98, kInterrupt | kFromDevice, 8);
    EXPECT_EQ(get(0x98, 8), 0U);
    EXPECT_EQ(get(0x24), 0U);
}

TEST_F(EduTest, bytes_go_into_the_device_and_come_out_again)
{
    for (std::size_t i = 0; i < kPage; ++i) memory_.page(0)[i] = static_cast<std::byte>(i * 5);
    to_device(kIova, 0, kPage);
    EXPECT_EQ(get(0x98, 8), 0U);
    std::memset(memory_.page(1), 0, 2 * kPage);
    from_device(0x100, kIova + kPage + 0x80, 0xf00);
    EXPECT_EQ(get(0x98, 8), kFromDevice);
    EXPECT_EQ(std::memcmp(memory_.page(1) + 0x80, memory_.page(0) + 0x100, 0xf00), 0);
    EXPECT_EQ(memory_.page(1)[0x7f], std::byte{0});
    EXPECT_EQ(memory_.page(1)[0xf80], std::byte{0});
    EXPECT_EQ(function_->counters().dma.read_bytes, kPage);
    EXPECT_EQ(function_->counters().dma.written_bytes, 0xf00U);
    EXPECT_EQ(function_->summary(), "2 transfers");
}

TEST_F(EduTest, a_transfer_crosses_pages)
{
    memory_.fill(0x3c);
    to_device(kIova + 0x800, 0, kPage);
    std::memset(memory_.page(1), 0, 2 * kPage);
    from_device(0, kIova + 0x1800, kPage);
    EXPECT_EQ(memory_.page(2)[0x7ff], std::byte{0x3c});
    EXPECT_EQ(memory_.page(2)[0x800], std::byte{0});
}

TEST_F(EduTest, what_faults_reads_as_zeros_and_is_recorded)
{
    memory_.fill(0x3c);
    to_device(0x900000, 0, 16);
    EXPECT_EQ(around_.endpoint().faults().count(), 1U);
    from_device(0, kIova, 16);
    EXPECT_EQ(memory_.page(0)[15], std::byte{0});
    EXPECT_EQ(memory_.page(0)[16], std::byte{0x3c});
    EXPECT_EQ(function_->summary(), "1 transfers");
}

TEST_F(EduTest, a_transfer_outside_its_buffer_moves_nothing)
{
    memory_.fill(0x3c);
    constexpr std::uint64_t kTop = ~std::uint64_t{0};
    std::array<std::array<std::uint64_t, 2>, 8> const wrong{{{kBuffer - 1, 1},
                                                             {kBuffer, kPage + 1},
                                                             {kBuffer + 1, kPage},
                                                             {kBuffer + kPage, 1},
                                                             {0, 16},
                                                             {kTop, 16},
                                                             {kBuffer + 8, kTop},
                                                             {kBuffer, kTop - kBuffer + 1}}};
    for (auto const [at, count] : wrong) {
        transfer(kIova, at, count, kRun);
        transfer(at, kIova, count, kRun | kFromDevice | kInterrupt);
        EXPECT_EQ(get(0x98, 8), kFromDevice | kInterrupt);
        EXPECT_EQ(get(0x24), 0x100U) << "it ends as any other";
        set(0x64, 0x100);
    }
    EXPECT_EQ(function_->counters().dma.reads + function_->counters().dma.writes, 0U);
    EXPECT_EQ(memory_.page(0)[0], std::byte{0x3c});
    EXPECT_EQ(function_->summary(), "0 transfers");
    from_device(kPage, kIova, 0);
    EXPECT_EQ(function_->summary(), "1 transfers") << "nothing from the very end is fine";
}

TEST_F(EduTest, without_bus_mastership_it_moves_nothing)
{
    function_->config_write(4, 2, 2);
    memory_.fill(0x3c);
    from_device(0, kIova, 16);
    EXPECT_EQ(memory_.page(0)[0], std::byte{0x3c});
    EXPECT_EQ(around_.faults().at(0).reason, iommu::FaultReason::bus_master);
}

TEST_F(EduTest, addresses_are_cut_to_the_bits_that_it_can_drive)
{
    memory_.fill(0x3c);
    to_device(0xabcd'f000'0000'0000 + kIova, 0, 16);
    EXPECT_EQ(around_.endpoint().faults().count(), 0U);
    to_device(0x1000'0000 + kIova, 0, 16);  // 28 bits, so the same place
    EXPECT_EQ(around_.endpoint().faults().count(), 0U);
    EXPECT_EQ(function_->summary(), "2 transfers");
}

class WideEduTest : public EduTest {
protected:
    WideEduTest() : EduTest{{.model = "edu", .settings = {{"dma_mask", "0xffffffffffffffff"}}}} {}
};

TEST_F(WideEduTest, drives_all_bits_when_told_so)
{
    around_.map(0x70'0000'0000, memory_.page(0));
    memory_.fill(0x3c);
    to_device(0x70'0000'0000, 0, 16);
    EXPECT_EQ(around_.endpoint().faults().count(), 0U);
    to_device(0x1000'0000 + kIova, 0, 16);
    EXPECT_EQ(around_.faults().at(0).iova, Iova{0x1000'0000 + kIova});
}

TEST_F(EduTest, interrupts_are_raised_and_acknowledged_by_hand)
{
    bind(pci::IrqIndex::intx);
    set(0x60, 0x5);
    EXPECT_EQ(event_.fired(), 1U);
    EXPECT_EQ(get(0x24), 0x5U);
    set(0x64, 0x1);
    EXPECT_EQ(get(0x24), 0x4U);
    std::uint16_t status = 0;
    function_->config_read(6, std::as_writable_bytes(std::span{&status, 1}));
    EXPECT_EQ(status & 8, 8);
    set(0x64, 0x4);
    function_->config_read(6, std::as_writable_bytes(std::span{&status, 1}));
    EXPECT_EQ(status & 8, 0);
    set(0x60, 0);
    EXPECT_EQ(get(0x24), 0U);
    EXPECT_EQ(event_.fired(), 0U);
}

TEST_F(EduTest, a_message_goes_out_each_time)
{
    bind(pci::IrqIndex::msi);
    set(0x60, 0x1);
    set(0x60, 0x2);
    EXPECT_EQ(event_.fired(), 2U);
    EXPECT_EQ(get(0x24), 3U);
    set(0x60, 0);
    EXPECT_EQ(event_.fired(), 1U) << "whatever is still pending is told again";
}

TEST_F(EduTest, a_transfer_and_a_factorial_tell_when_they_are_asked_to)
{
    bind(pci::IrqIndex::msi);
    transfer(kIova, kBuffer, 16, kRun | kInterrupt);
    EXPECT_EQ(event_.fired(), 1U);
    EXPECT_EQ(get(0x24), 0x100U);
    set(0x64, 0x100);
    to_device(kIova, 0, 16);
    EXPECT_EQ(get(0x24), 0U);
    set(0x08, 5);
    EXPECT_EQ(get(0x24), 0U);
    set(0x20, 0xffffffff);
    EXPECT_EQ(get(0x20), 0x80U);
    set(0x08, 5);
    EXPECT_EQ(event_.fired(), 1U);
    EXPECT_EQ(get(0x24), 0x1U);
    set(0x20, 0);
    EXPECT_EQ(get(0x20), 0U);
}

TEST_F(EduTest, what_it_holds_survives_the_client)
{
    set(0x04, 0x55);
    set(0x60, 1);
    function_->close();
    function_->open();
    EXPECT_EQ(get(0x04), 0xffffffaaU);
    EXPECT_EQ(get(0x24), 1U);
    std::uint16_t status = 0;
    function_->config_read(6, std::as_writable_bytes(std::span{&status, 1}));
    EXPECT_EQ(status & 8, 8) << "and so does its INTx";
}

TEST_F(EduTest, random_accesses_are_answered_and_stay_inside)
{
    auto const seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random{seed};
    bind(pci::IrqIndex::msi);
    auto const near = [&]() -> std::uint64_t {
        switch (random() % 4) {
            case 0: return random();
            case 1: return kBuffer + random() % (2 * kPage) - 64;
            case 2: return kIova + random() % (4 * kPage);
            default: return random() % 0x2000;
        }
    };
    for (int step = 0; step < 50000; ++step) {
        unsigned const size = 1U << random() % 4;
        std::uint64_t const offset =
            random() % 8 == 0 ? random() % 0x110000 : random() % 0xa8 & ~3U;
        if (random() % 3 == 0)
            (void)get(offset, size);
        else
            set(offset, near(), size);
        if (random() % 16 == 0) transfer(near(), near(), random() % 0x1100, random() % 8);
    }
}

TEST(EduModel, checks_its_setting_and_names_what_is_wrong)
{
    pci::Model const& model = edu_model();
    auto const check = [&](std::vector<pci::Setting> settings) {
        return model.check({.model = "edu", .settings = std::move(settings)});
    };
    EXPECT_TRUE(check({}));
    EXPECT_TRUE(check({{"dma_mask", "0xFFFF"}}));
    EXPECT_TRUE(check({{"dma_mask", "4294967295"}}));
    for (auto const* const bad : {"", "0x", "12x", "-1", " 1", "0x10000000000000000", "ff"}) {
        auto const checked = check({{"dma_mask", bad}});
        ASSERT_FALSE(checked) << bad;
        EXPECT_NE(checked.error().find("dma_mask"), std::string::npos) << checked.error();
    }
    auto const unknown = check({{"disk", "x"}});
    ASSERT_FALSE(unknown);
    EXPECT_NE(unknown.error().find("\"disk\""), std::string::npos) << unknown.error();
}

TEST(Registry, finds_every_model_by_its_name_and_no_other)
{
    EXPECT_EQ(find("edu"), &edu_model());
    EXPECT_EQ(find("ed"), nullptr);
    EXPECT_EQ(find(""), nullptr);
    for (pci::Model const* const model : models()) {
        EXPECT_EQ(find(model->name()), model);
        EXPECT_TRUE(model->example().starts_with(std::string{model->name()} + ",bdf="));
        EXPECT_FALSE(model->summary().empty());
    }
}

}  // namespace
}  // namespace pinfold::devices
