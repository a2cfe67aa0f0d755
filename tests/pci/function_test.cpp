#include "pci/function.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <random>

#include "pci/support.hpp"

namespace pinfold::pci {
namespace {

class FunctionTest : public testing::Test {
protected:
    explicit FunctionTest(Identity identity = full_identity())
        : function_{Function::create(around_.endpoint(), around_.memory(),
                                     [&](Bus& bus) -> Checked<std::unique_ptr<Device>> {
                                         auto made = std::make_unique<FakeDevice>(bus, identity);
                                         device_ = made.get();
                                         return made;
                                     })
                        .value()}
    {
        function_->open();
        device_->accesses.clear();
        device_->resets = 0;
    }

    std::uint32_t config(std::size_t offset, unsigned width = 4) const
    {
        std::uint32_t value = 0;
        function_->config_read(offset, std::as_writable_bytes(std::span{&value, 1}).first(width));
        return value;
    }
    void command(std::uint32_t value) { function_->config_write(4, 2, value); }
    Result<> bind(IrqIndex index, std::vector<int> descriptors)
    {
        return function_->set_irqs({.index = index,
                                    .data = IrqRequest::Data::eventfd,
                                    .count = static_cast<std::uint32_t>(descriptors.size()),
                                    .booleans = {},
                                    .descriptors = descriptors},
                                   [](int fd) -> Result<UniqueFd> { return UniqueFd{::dup(fd)}; });
    }
    void raise(int vector)
    {
        device_->raise_on_write = vector;
        EXPECT_TRUE(function_->mmio_write(0, 0x1000, 4, 0));
        device_->raise_on_write = -1;
    }
    void lower()
    {
        device_->lower_on_write = true;
        EXPECT_TRUE(function_->mmio_write(0, 0x1000, 4, 0));
        device_->lower_on_write = false;
    }

    Surroundings around_;
    FakeDevice* device_ = nullptr;
    std::unique_ptr<Function> function_;
};

using Access = FakeDevice::Access;

TEST_F(FunctionTest, regions_are_what_the_device_says)
{
    EXPECT_EQ(function_->name(), "0000:00:04.0");
    auto const bar0 = function_->region(0).value();
    EXPECT_EQ(bar0.size, 0x4000U);
    EXPECT_TRUE(bar0.readable && bar0.writable && bar0.mappable && bar0.msix_table);
    EXPECT_EQ(function_->region(1)->size, 0U) << "the upper half of BAR 0";
    auto const ports = function_->region(2).value();
    EXPECT_EQ(ports.size, 0x40U);
    EXPECT_FALSE(ports.mappable);
    auto const bar3 = function_->region(3).value();
    EXPECT_TRUE(bar3.mappable);
    EXPECT_FALSE(bar3.msix_table);
    for (unsigned const absent : {1U, 4U, 5U, 6U}) {
        auto const region = function_->region(absent).value();
        EXPECT_EQ(region.size, 0U);
        EXPECT_FALSE(region.readable || region.writable || region.mappable);
    }
    EXPECT_EQ(function_->region(7)->size, 4096U);
    EXPECT_FALSE(function_->region(7)->mappable);
    EXPECT_FALSE(function_->region(8));
    EXPECT_FALSE(function_->region(~0U));
}

TEST_F(FunctionTest, accesses_reach_the_device_as_they_were_made)
{
    device_->answer = 0x1122'3344'5566'7788;
    EXPECT_EQ(function_->bar_read(3, 0x10, 4), 0x55667788U);
    EXPECT_EQ(function_->bar_read(2, 0x3f, 1), 0x88U);
    EXPECT_EQ(function_->mmio_read(0, 0x1003, 8), 0x1122'3344'5566'7788U);
    EXPECT_TRUE(function_->bar_write(3, 0x12, 2, 0xffff'ffff));
    EXPECT_TRUE(function_->mmio_write(0, 0x8, 1, 0xabcd));
    EXPECT_EQ(device_->accesses, (std::vector<Access>{{false, 3, 0x10, 4, 0},
                                                      {false, 2, 0x3f, 1, 0},
                                                      {false, 0, 0x1003, 8, 0},
                                                      {true, 3, 0x12, 2, 0xffff},
                                                      {true, 0, 0x8, 1, 0xcd}}));
    auto const counters = function_->counters();
    EXPECT_EQ(counters.file_reads, 2U);
    EXPECT_EQ(counters.file_writes, 1U);
    EXPECT_EQ(counters.mmio_reads, 1U);
    EXPECT_EQ(counters.mmio_writes, 1U);
}

TEST_F(FunctionTest, readable_pages_are_served_from_the_memory_that_a_client_maps)
{
    EXPECT_TRUE(function_->page_readable(0, 0x0));
    EXPECT_FALSE(function_->page_readable(0, 0x1fff));
    EXPECT_TRUE(function_->page_readable(0, 0x2000));
    EXPECT_FALSE(function_->page_readable(0, 0x100000));
    EXPECT_FALSE(function_->page_readable(3, 0));
    std::uint64_t const current = 0x0102'0304'0506'0708;
    std::memcpy(device_->bus.bar_memory(0).data() + 0x20, &current, 8);
    EXPECT_EQ(function_->bar_read(0, 0x20, 8), current);
    EXPECT_EQ(function_->mmio_read(0, 0x21, 2), 0x0607U);
    EXPECT_TRUE(device_->accesses.empty());

    void* const mapped =
        ::mmap(nullptr, 0x1000, PROT_READ, MAP_SHARED, function_->bar_descriptor(0), 0);
    ASSERT_NE(mapped, MAP_FAILED);
    EXPECT_EQ(std::memcmp(static_cast<std::byte*>(mapped) + 0x20, &current, 8), 0);
    ::munmap(mapped, 0x1000);
}

TEST_F(FunctionTest, beyond_the_end_of_a_mapped_BAR_there_is_an_empty_bus)
{
    EXPECT_EQ(function_->mmio_read(3, 0x1000, 4), 0xffffffffU);
    EXPECT_EQ(function_->mmio_read(3, 0xffd, 4), 0xffffffffU);
    EXPECT_EQ(function_->mmio_read(3, ~std::uint64_t{0}, 8), ~std::uint64_t{0});
    EXPECT_TRUE(function_->mmio_write(3, 0xffd, 4, 0));
    EXPECT_TRUE(function_->mmio_write(0, ~std::uint64_t{0} - 3, 8, 0));
    EXPECT_TRUE(device_->accesses.empty());
    for (unsigned const bar : {1U, 2U, 5U, 6U, 1000U}) {
        EXPECT_EQ(function_->mmio_read(bar, 0, 4).error(), Errno::inval);
        EXPECT_EQ(function_->mmio_write(bar, 0, 4, 0).error(), Errno::inval);
    }
}

TEST_F(FunctionTest, a_function_that_does_not_decode_answers_EIO_and_ports_float)
{
    command(0);
    EXPECT_EQ(function_->bar_read(3, 0, 4).error(), Errno::io);
    EXPECT_EQ(function_->bar_write(3, 0, 4, 0).error(), Errno::io);
    EXPECT_EQ(function_->mmio_read(0, 0, 4).error(), Errno::io);
    EXPECT_EQ(function_->mmio_write(0, 0, 4, 0).error(), Errno::io);
    EXPECT_EQ(function_->bar_read(2, 0, 2), 0xffffU);
    EXPECT_TRUE(function_->bar_write(2, 0, 2, 0));
    EXPECT_TRUE(device_->accesses.empty());
    command(3);
    EXPECT_EQ(function_->bar_read(3, 0, 4), 0U);
    function_->config_write(0x44, 2, 3);
    EXPECT_EQ(function_->bar_read(3, 0, 4).error(), Errno::io) << "D3hot";
}

TEST_F(FunctionTest, the_MSI_X_table_is_hidden_from_the_file_and_memory_in_a_mapping)
{
    EXPECT_EQ(function_->mmio_read(0, 0x200c, 4), 1U) << "masked at first";
    EXPECT_TRUE(function_->mmio_write(0, 0x2000, 8, 0xfee00000));
    EXPECT_EQ(function_->mmio_read(0, 0x2000, 4), 0xfee00000U);
    EXPECT_EQ(function_->bar_read(0, 0x2000, 4), 0xffffffffU);
    EXPECT_TRUE(function_->bar_write(0, 0x2000, 4, 0));
    EXPECT_EQ(function_->mmio_read(0, 0x2000, 4), 0xfee00000U);
    command(0);
    EXPECT_EQ(function_->bar_read(0, 0x2078, 8), ~std::uint64_t{0}) << "even when not decoded";
    command(2);
    EXPECT_EQ(function_->mmio_read(0, 0x3000, 8), 0U) << "pending bits";
    EXPECT_TRUE(function_->mmio_write(0, 0x3000, 8, 5));
    EXPECT_EQ(function_->bar_read(0, 0x3000, 8), 0U);
    EXPECT_TRUE(device_->accesses.empty());
    function_->close();
    function_->open();
    EXPECT_EQ(function_->mmio_read(0, 0x2000, 4), 0U);
}

TEST_F(FunctionTest, a_store_to_a_mask_bit_holds_a_message_back_and_another_lets_it_go)
{
    command(6);
    TestEvent event;
    std::array<std::int32_t, 1> const descriptors{0};
    ASSERT_TRUE(function_->set_irqs({.index = IrqIndex::msix,
                                     .data = IrqRequest::Data::eventfd,
                                     .count = 1,
                                     .booleans = {},
                                     .descriptors = descriptors},
                                    [&](int) { return event.reference(); }));
    EXPECT_EQ(function_->mmio_read(0, 0x200c, 4), 0U);
    for (unsigned const width : {4U, 1U}) {
        EXPECT_TRUE(function_->mmio_write(0, 0x200c, width, 1));
        raise(0);
        EXPECT_EQ(event.fired(), 0U);
        EXPECT_EQ(function_->mmio_read(0, 0x3000, 8), 1U);
        EXPECT_EQ(function_->bar_read(0, 0x3000, 8), 1U);
        EXPECT_TRUE(function_->mmio_write(0, 0x200c, width, 0));
        EXPECT_EQ(event.fired(), 1U);
        EXPECT_EQ(function_->mmio_read(0, 0x3000, 8), 0U);
    }
    // With the message's data in one store.
    EXPECT_TRUE(function_->mmio_write(0, 0x2008, 8, std::uint64_t{1} << 32));
    raise(0);
    EXPECT_TRUE(function_->mmio_write(0, 0x2008, 8, 0x41));
    EXPECT_EQ(event.fired(), 1U);
    // A reset takes what is pending, and the host restores its mask.
    EXPECT_TRUE(function_->mmio_write(0, 0x200c, 4, 1));
    raise(0);
    ASSERT_TRUE(function_->reset());
    EXPECT_EQ(function_->mmio_read(0, 0x3000, 8), 0U);
    EXPECT_EQ(function_->mmio_read(0, 0x200c, 4), 0U);
    EXPECT_EQ(event.fired(), 0U);
}

TEST_F(FunctionTest, opens_are_counted_and_only_the_first_and_last_do_something)
{
    command(7);
    function_->config_write(0x1c, 4, 0x1000);
    function_->open();
    EXPECT_EQ(device_->resets, 0U);
    EXPECT_TRUE(device_->bus.dma().bus_master());
    function_->close();
    EXPECT_TRUE(device_->bus.dma().bus_master());
    TestEvent const event;
    ASSERT_TRUE(bind(IrqIndex::msix, {event.fd()}));
    function_->close();
    EXPECT_EQ(device_->resets, 1U);
    EXPECT_FALSE(device_->bus.dma().bus_master());
    function_->open();
    EXPECT_EQ(device_->resets, 2U);
    EXPECT_EQ(config(4, 2), 0x0103U);
    EXPECT_EQ(config(0x1c), 0U);
    EXPECT_EQ(config(0x92, 2), 7U);
    command(7);
    raise(0);
    EXPECT_EQ(event.fired(), 0U);
}

TEST_F(FunctionTest, bus_mastership_follows_COMMAND_and_the_power_state)
{
    DmaPort const& dma = device_->bus.dma();
    EXPECT_FALSE(dma.bus_master());
    command(4);
    EXPECT_TRUE(dma.bus_master());
    function_->config_write(0x44, 2, 3);
    EXPECT_FALSE(dma.bus_master());
    function_->config_write(0x44, 2, 0);
    EXPECT_TRUE(dma.bus_master());
    command(0);
    EXPECT_FALSE(dma.bus_master());
}

TEST_F(FunctionTest, a_reset_keeps_configuration_and_interrupts)
{
    TestEvent const event;
    command(7);
    ASSERT_TRUE(bind(IrqIndex::msix, {event.fd()}));
    EXPECT_TRUE(function_->resettable());
    EXPECT_TRUE(function_->reset());
    EXPECT_EQ(device_->resets, 1U);
    EXPECT_EQ(config(4, 2), 7U);
    EXPECT_EQ(config(0x92, 2), 0x8007U);
    raise(0);
    EXPECT_EQ(event.fired(), 1U);
    function_->config_write(0x58, 2, 0x8000);
    EXPECT_EQ(device_->resets, 2U);
}

TEST_F(FunctionTest, a_reset_wakes_the_function)
{
    command(4);
    function_->config_write(0x44, 2, 3);
    function_->bus_reset();
    EXPECT_EQ(config(0x44, 2) & 3, 0U);
    EXPECT_TRUE(device_->bus.dma().bus_master());
    EXPECT_EQ(device_->resets, 1U);
}

TEST_F(FunctionTest, function_0_of_several_says_so_in_its_header_at_every_open)
{
    EXPECT_EQ(config(0xe, 1), 0U);
    function_->settle({.leads_slot = true});
    EXPECT_EQ(config(0xe, 1), 0x80U);
    function_->close();
    function_->open();
    EXPECT_EQ(config(0xe, 1), 0x80U);
}

TEST_F(FunctionTest, INTx_shows_in_STATUS_and_fires_through_its_eventfd)
{
    TestEvent const event;
    ASSERT_TRUE(bind(IrqIndex::intx, {event.fd()}));
    raise(5);
    EXPECT_EQ(config(6, 2), 0x0018U);
    EXPECT_EQ(event.fired(), 1U);
    EXPECT_FALSE(device_->bus.message_signalled());
    lower();
    EXPECT_EQ(config(6, 2), 0x0010U);
    raise(0);
    EXPECT_TRUE(function_->reset());
    EXPECT_EQ(config(6, 2), 0x0010U) << "a reset function asserts nothing";
    EXPECT_EQ(function_->counters().interrupts, 1U);
}

TEST_F(FunctionTest, INTX_DISABLE_in_COMMAND_holds_INTx_back)
{
    TestEvent const event;
    ASSERT_TRUE(bind(IrqIndex::intx, {event.fd()}));
    command(0x402);
    raise(0);
    EXPECT_EQ(event.fired(), 0U);
    command(0x002);
    EXPECT_EQ(event.fired(), 1U);
}

TEST_F(FunctionTest, messages_need_bus_mastership_and_replace_INTx)
{
    TestEvent const event;
    raise(0);
    EXPECT_EQ(config(6, 2), 0x0018U);
    ASSERT_TRUE(bind(IrqIndex::msix, {-1, event.fd()}));
    EXPECT_EQ(config(6, 2), 0x0010U);
    EXPECT_TRUE(device_->bus.message_signalled());
    raise(1);
    EXPECT_EQ(event.fired(), 0U) << "bus master is off";
    command(6);
    raise(1);
    raise(0);
    raise(200);
    EXPECT_EQ(event.fired(), 1U);
    EXPECT_EQ(config(6, 2), 0x0010U);
}

TEST_F(FunctionTest, MSI_that_the_client_switches_off_falls_back_to_INTx)
{
    TestEvent const event;
    command(6);
    ASSERT_TRUE(bind(IrqIndex::msi, {event.fd()}));
    EXPECT_TRUE(device_->bus.message_signalled());
    raise(0);
    EXPECT_EQ(event.fired(), 1U);
    function_->config_write(0xa2, 2, 0);
    EXPECT_FALSE(device_->bus.message_signalled());
    raise(0);
    EXPECT_EQ(event.fired(), 0U);
    EXPECT_EQ(config(6, 2), 0x0018U);
    function_->config_write(0xa2, 2, 1);
    EXPECT_EQ(config(6, 2), 0x0010U);
    raise(0);
    EXPECT_EQ(event.fired(), 1U);
}

class ConventionalFunctionTest : public FunctionTest {
protected:
    static Identity conventional()
    {
        Identity identity = full_identity();
        identity.pci_express = false;
        identity.interrupt_pin = 0;
        return identity;
    }
    ConventionalFunctionTest() : FunctionTest{conventional()} {}
};

TEST_F(ConventionalFunctionTest, has_no_reset_and_is_not_reset_by_opens)
{
    EXPECT_FALSE(function_->resettable());
    EXPECT_EQ(function_->reset().error(), Errno::inval);
    function_->close();
    function_->open();
    EXPECT_EQ(device_->resets, 0U);
    EXPECT_EQ(function_->config_size(), 256U);
}

TEST_F(ConventionalFunctionTest, alone_behind_a_port_it_has_the_ports_reset)
{
    function_->settle({.alone_below_port = true});
    EXPECT_TRUE(function_->resettable());
    EXPECT_TRUE(function_->reset());
    function_->close();
    function_->open();
    EXPECT_EQ(device_->resets, 3U);
}

TEST_F(ConventionalFunctionTest, without_a_pin_has_nothing_to_assert)
{
    raise(0);
    EXPECT_EQ(config(6, 2) & 8, 0U);
}

TEST(Function, a_BAR_smaller_than_the_host_page_is_mappable_where_it_is_aligned)
{
    Surroundings around{{.page_size = k64K}};
    auto const make = [&](BarAddresses const& addresses) {
        return Function::create(
                   around.endpoint(), around.memory(),
                   [](Bus& bus) -> Checked<std::unique_ptr<Device>> {
                       return std::make_unique<FakeDevice>(bus, full_identity());
                   },
                   addresses)
            .value();
    };
    auto const aligned = make({0xfe00'0000, 0, 0, 0xfe01'0000, 0, 0});
    EXPECT_TRUE(aligned->region(0)->mappable);
    auto const amid = make({0xfe00'4000, 0, 0, 0xfe01'f000, 0, 0});
    EXPECT_FALSE(amid->region(0)->mappable);
    EXPECT_FALSE(amid->region(0)->msix_table);
    EXPECT_FALSE(amid->region(3)->mappable);
    EXPECT_EQ(amid->region(3)->size, 0x1000U);
}

TEST(Function, what_a_model_says_is_wrong_is_said)
{
    Surroundings around;
    auto const made = Function::create(around.endpoint(), around.memory(),
                                       [](Bus&) -> Checked<std::unique_ptr<Device>> {
                                           return std::unexpected{std::string{"no such disk"}};
                                       });
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error(), "no such disk");
}

TEST_F(FunctionTest, unplugged_it_asks_to_be_closed_works_on_and_then_is_gone)
{
    TestEvent const event;
    ASSERT_TRUE(bind(IrqIndex::req, {event.fd()}));
    auto const peer = function_->peer(0);
    function_->unplug();
    EXPECT_EQ(event.fired(), 1U);
    function_->unplug();
    EXPECT_EQ(event.fired(), 1U) << "once for each asking";
    EXPECT_FALSE(function_->gone());
    EXPECT_TRUE(function_->mmio_write(0, 0x1000, 4, 1));
    EXPECT_TRUE(peer.memory->decoded());
    function_->close();
    EXPECT_TRUE(function_->gone());
    EXPECT_FALSE(peer.memory->decoded()) << "for other devices too";
    function_->unplug();
    EXPECT_EQ(event.fired(), 0U);
}

TEST_F(FunctionTest, unplugged_while_nobody_has_it_open_it_is_gone_at_once)
{
    function_->close();
    EXPECT_FALSE(function_->gone());
    function_->unplug();
    EXPECT_TRUE(function_->gone());
}

TEST_F(FunctionTest, any_access_at_all_is_answered)
{
    auto const seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random{seed};
    for (int step = 0; step < 20000; ++step) {
        unsigned const width = 1U << random() % 4;
        auto const bar = static_cast<unsigned>(random() % 8);
        std::uint64_t const offset =
            random() % 4 == 0 ? random() : random() % 0x4010 + (random() % 50 == 0 ? 0xfffff0 : 0);
        device_->raise_on_write = static_cast<int>(random() % 20) - 2;
        device_->answer = random();
        std::uint64_t const value = random();
        if (value % 2 == 0) {
            (void)function_->mmio_write(bar, offset, width, value);
        } else {
            std::uint64_t const read = function_->mmio_read(bar, offset, width).value_or(0);
            ASSERT_EQ(width < 8 ? read >> 8 * width : 0, 0U);
        }
        unsigned const config_width = 1U << random() % 3;
        std::size_t const at = random() % (4096 / config_width) * config_width;
        if (random() % 3 == 0)
            function_->config_write(at, config_width, static_cast<std::uint32_t>(random()));
        if (random() % 100 == 0) command(0x0007);
        for (auto const& access : std::exchange(device_->accesses, {})) {
            ASSERT_LE(access.offset + access.size, full_identity().bars[access.bar].size);
            ASSERT_FALSE(access.bar == 0 && access.offset + access.size > 0x2000 &&
                         access.offset < 0x2080);
        }
    }
}

}  // namespace
}  // namespace pinfold::pci
