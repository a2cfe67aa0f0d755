#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <thread>

#include "devices/busy.hpp"
#include "devices/ioat/model.hpp"
#include "pci/function.hpp"
#include "pci/support.hpp"

namespace pinfold::devices::ioat {
namespace {

using host::kPage;
using host::TestMapping;

constexpr std::uint64_t kIova = 0x10'0000;
constexpr std::uint64_t kDone = 1, kSuspended = 2, kHalted = 3, kArmed = 4;
constexpr std::uint32_t kInterrupt = 1, kCompletion = 8, kNull = 32, kFill = 1 << 24;

struct Descriptor {
    std::uint32_t size, control;
    std::uint64_t source, destination, next;
    std::array<std::uint64_t, 4> reserved{};
};

class IoatTest : public testing::Test {
protected:
    explicit IoatTest(std::vector<pci::Setting> settings = {})
        : function_{pci::Function::create(around_.endpoint(), around_.memory(), model(),
                                          {.model = "ioat", .settings = std::move(settings)})
                        .value()}
    {
        function_->open();
        function_->config_write(4, 2, 6);
        around_.map(kIova, memory_);
        memory_.fill(0);
        for (std::size_t i = 0; i < kPage; ++i) memory_.page(8)[i] = static_cast<std::byte>(i * 7);
    }
    std::uint64_t get(std::uint64_t at, unsigned size)
    {
        return function_->mmio_read(0, at, size).value();
    }
    void set(std::uint64_t at, unsigned size, std::uint64_t value)
    {
        function_->mmio_write(0, at, size, value).value();
    }
    static std::uint64_t page(std::size_t i) { return kIova + i * kPage; }
    static std::uint64_t ring(std::size_t i) { return page(0) + i * 64; }
    void describe(std::size_t at, Descriptor const& one)
    {
        std::memcpy(memory_.page(0) + at * 64, &one, sizeof one);
    }
    // A copy of the page that counts to page `to`.
    void describe_copy(std::size_t at, std::uint32_t size, std::size_t to,
                       std::uint32_t control = 0)
    {
        describe(at, {size, control, page(8), page(to), ring(at + 1)});
    }
    bool copied(std::size_t to, std::size_t size)
    {
        return std::memcmp(memory_.page(to), memory_.page(8), size) == 0 &&
               (size == kPage || memory_.page(to)[size] == std::byte{0});
    }
    void start(std::uint16_t count)
    {
        set(0x90, 8, ring(0));
        set(0x80, 2, 0x0d);
        set(0x86, 2, count);
    }
    std::uint64_t state() { return get(0x88, 8) & 7; }
    std::uint64_t written_status() const
    {
        std::uint64_t status = 0;
        std::memcpy(&status, memory_.page(1), sizeof status);
        return status;
    }
    void bind(pci::IrqIndex index, pci::TestEvent const& event)
    {
        pci::bind_event(*function_, index, event);
    }

    pci::Surroundings around_;
    TestMapping memory_{16};
    std::unique_ptr<pci::Function> function_;
};

TEST_F(IoatTest, says_what_it_is)
{
    std::uint32_t ids = 0;
    function_->config_read(0, std::as_writable_bytes(std::span{&ids, 1}));
    EXPECT_EQ(ids, 0x20218086U);
    EXPECT_EQ(get(0x00, 1), 1U);
    EXPECT_EQ(get(0x01, 1), 16U);
    EXPECT_EQ(get(0x08, 1), 0x33U);
    EXPECT_EQ(get(0x10, 4), 0x40U);
    EXPECT_EQ(get(0x88, 8), kHalted);
    EXPECT_EQ(function_->irq_count(pci::IrqIndex::msix), 1U);
    EXPECT_TRUE(function_->resettable());
}

TEST_F(IoatTest, copies_as_many_descriptors_as_it_is_told_and_no_more)
{
    for (std::size_t i = 0; i < 3; ++i) describe_copy(i, 100, 2 + i);
    start(2);
    EXPECT_EQ(get(0x88, 8), ring(1) | kDone);
    EXPECT_TRUE(copied(2, 100));
    EXPECT_TRUE(copied(3, 100));
    EXPECT_TRUE(copied(4, 0));
    set(0x86, 2, 3);
    EXPECT_EQ(get(0x88, 8), ring(2) | kDone);
    EXPECT_TRUE(copied(4, 100));
    EXPECT_EQ(function_->summary(), "3 copies, 0 fills, 300 bytes");
}

TEST_F(IoatTest, the_count_runs_modulo_65536)
{
    describe(0, {8, 0, page(8), page(2), ring(0)});
    start(0xffff);
    EXPECT_EQ(function_->summary(), "65535 copies, 0 fills, 524280 bytes");
    set(0x86, 2, 1);
    EXPECT_EQ(function_->summary(), "65537 copies, 0 fills, 524296 bytes");
    set(0x86, 2, 1);
    EXPECT_EQ(function_->summary(), "65537 copies, 0 fills, 524296 bytes") << "nothing new";
}

TEST_F(IoatTest, fills_with_a_pattern_of_eight_bytes)
{
    describe(0, {21, kFill, 0xfedcba9876543210, page(2) + 3, 0});
    start(1);
    EXPECT_EQ(state(), kDone);
    for (std::size_t i = 0; i < 21; ++i)
        EXPECT_EQ(memory_.page(2)[3 + i],
                  static_cast<std::byte>(0xfedcba9876543210 >> 8 * (i % 8)));
    EXPECT_EQ(memory_.page(2)[2], std::byte{0});
    EXPECT_EQ(memory_.page(2)[24], std::byte{0});
}

TEST_F(IoatTest, a_null_descriptor_does_nothing_and_is_done)
{
    describe(0, {0, kNull | kCompletion, 0, 0, ring(1)});
    set(0x98, 8, page(1));
    start(1);
    EXPECT_EQ(get(0x88, 8), ring(0) | kDone);
    EXPECT_EQ(written_status(), ring(0) | kDone);
}

TEST_F(IoatTest, the_status_is_written_where_a_descriptor_asks_for_it)
{
    describe_copy(0, 8, 2, kCompletion);
    describe_copy(1, 8, 3);
    set(0x9c, 4, 0);
    set(0x98, 4, page(1) | 5);
    EXPECT_EQ(get(0x98, 8), page(1)) << "8 bytes, aligned";
    start(2);
    EXPECT_EQ(written_status(), ring(0)) << "active, then";
    EXPECT_EQ(get(0x88, 8), ring(1) | kDone);
}

TEST_F(IoatTest, the_interrupt_comes_once_for_each_arming)
{
    pci::TestEvent event;
    bind(pci::IrqIndex::msix, event);
    describe(0, {8, kInterrupt, page(8), page(2), ring(0)});
    start(1);
    EXPECT_EQ(event.fired(), 1U);
    set(0x86, 2, 2);
    EXPECT_EQ(event.fired(), 0U) << "not armed";
    set(0x80, 2, 0x01);
    set(0x86, 2, 3);
    EXPECT_EQ(event.fired(), 1U);
    describe(0, {8, 0, page(8), page(2), ring(0)});
    set(0x80, 2, 0x01);
    set(0x86, 2, 4);
    EXPECT_EQ(event.fired(), 0U) << "not asked for";
}

TEST_F(IoatTest, without_MSI_X_the_line_stays_up_until_attention_is_cleared)
{
    pci::TestEvent event;
    bind(pci::IrqIndex::intx, event);
    describe(0, {8, kInterrupt, page(8), page(2), ring(0)});
    start(1);
    EXPECT_EQ(event.fired(), 0U) << "INTRCTRL says no";
    EXPECT_EQ(get(0x04, 4), 1U);
    set(0x04, 4, 1);
    set(0x03, 1, 1);
    set(0x80, 2, 1);
    set(0x86, 2, 2);
    EXPECT_EQ(event.fired(), 1U);
    EXPECT_EQ(get(0x03, 1), 7U);
    std::uint16_t status = 0;
    function_->config_read(6, std::as_writable_bytes(std::span{&status, 1}));
    EXPECT_NE(status & 8, 0);
    set(0x04, 4, 1);
    function_->config_read(6, std::as_writable_bytes(std::span{&status, 1}));
    EXPECT_EQ(status & 8, 0);
}

TEST_F(IoatTest, reset_halts_a_chain_address_arms_and_suspend_suspends)
{
    start(0);
    set(0x84, 1, 0x04);
    EXPECT_EQ(state(), kSuspended);
    set(0x84, 1, 0x20);
    EXPECT_EQ(state(), kHalted);
    EXPECT_EQ(get(0x84, 1), 0U) << "it has acted";
    set(0x84, 1, 0x04);
    EXPECT_EQ(state(), kHalted);
    set(0x86, 2, 1);
    EXPECT_EQ(state(), kHalted) << "without a chain";
    set(0x90, 8, ring(0));
    EXPECT_EQ(get(0x88, 8), kArmed);
    describe_copy(0, 8, 2);
    set(0x84, 1, 0x04);
    set(0x86, 2, 1);
    EXPECT_EQ(state(), kDone) << "a suspended channel goes on";
}

// What is wrong with one descriptor of three: the first is done, the chain ends at the second.
class IoatErrorTest : public IoatTest {
protected:
    void expect_error(Descriptor const& wrong, std::uint32_t error)
    {
        set(0xa8, 4, 0xffffffff);
        set(0x84, 1, 0x20);
        describe_copy(0, 8, 2);
        describe(1, wrong);
        describe_copy(2, 8, 3);
        set(0x98, 8, page(1));
        start(3);
        EXPECT_EQ(get(0x88, 8), ring(0) | kHalted);
        EXPECT_EQ(written_status(), ring(0) | kHalted) << "CHANCTRL asks for it";
        EXPECT_EQ(get(0xa8, 4), error);
        EXPECT_TRUE(copied(3, 0));
        set(0x86, 2, 4);
        set(0x90, 8, ring(0));
        EXPECT_EQ(state(), kHalted) << "until the error is cleared";
        set(0xa8, 4, error);
        EXPECT_EQ(get(0xa8, 4), 0U);
        set(0x84, 1, 0x20);
        set(0x90, 8, ring(0));
        set(0x86, 2, 1);
        EXPECT_EQ(state(), kDone);
    }
};

TEST_F(IoatErrorTest, addresses_that_lead_nowhere)
{
    expect_error({64, 0, 0xdead0000, page(3), ring(2)}, 1);
    expect_error({64, 0, ~std::uint64_t{0} - 7, page(3), ring(2)}, 1);
    expect_error({64, 0, page(8), 0xdead0000, ring(2)}, 2);
    expect_error({64, kFill, 1, 0xdead0000, ring(2)}, 2);
    EXPECT_EQ(around_.faults().size(), 4U);
}

TEST_F(IoatErrorTest, sizes_and_operations_that_there_are_not)
{
    expect_error({0, 0, page(8), page(3), ring(2)}, 0x400);
    expect_error({0x10001, 0, page(8), page(3), ring(2)}, 0x400);
    expect_error({8, 2U << 24, page(8), page(3), ring(2)}, 0x400);
    expect_error({8, 0xffU << 24, page(8), page(3), ring(2)}, 0x400);
}

TEST_F(IoatTest, a_chain_that_is_none_halts_the_channel)
{
    set(0x90, 8, ring(0) + 8);
    set(0x86, 2, 1);
    EXPECT_EQ(state(), kHalted);
    EXPECT_EQ(get(0xa8, 4), 0x10U);
    set(0x84, 1, 0x20);
    set(0x90, 8, 0xdead0000);
    set(0x86, 2, 1);
    EXPECT_EQ(get(0xa8, 4), 0x100U);
    set(0x84, 1, 0x20);
    describe(0, {8, 0, page(8), page(2), ring(1) + 1});
    set(0x90, 4, ring(0));
    set(0x94, 4, 0);
    set(0x86, 2, 2);
    EXPECT_EQ(get(0xa8, 4), 8U);
    set(0x84, 1, 0x20);
    describe_copy(0, 8, 2, kCompletion);
    set(0x98, 8, 0xdead0000);
    start(1);
    EXPECT_EQ(get(0xa8, 4), 0x1000U);
}

TEST_F(IoatTest, an_error_interrupts_where_that_is_wanted)
{
    pci::TestEvent event;
    bind(pci::IrqIndex::msix, event);
    set(0x90, 8, 0xdead0000);
    set(0x80, 2, 0x11);
    set(0x86, 2, 1);
    EXPECT_EQ(event.fired(), 1U);
    set(0x84, 1, 0x20);
    set(0x90, 8, 0xdead0000);
    set(0x80, 2, 0x01);
    set(0x86, 2, 1);
    EXPECT_EQ(event.fired(), 0U);
}

TEST_F(IoatTest, without_bus_mastership_nothing_moves)
{
    function_->config_write(4, 2, 2);
    describe_copy(0, 8, 2);
    start(1);
    EXPECT_EQ(state(), kHalted);
    EXPECT_TRUE(copied(2, 0));
}

TEST_F(IoatTest, a_function_reset_brings_everything_back)
{
    describe_copy(0, 8, 2);
    start(1);
    set(0x03, 1, 1);
    ASSERT_TRUE(function_->reset());
    EXPECT_EQ(get(0x88, 8), kHalted);
    EXPECT_EQ(get(0x90, 8), 0U);
    EXPECT_EQ(get(0x86, 2), 0U);
    EXPECT_EQ(get(0x03, 1), 0U);
}

TEST_F(IoatTest, random_registers_and_descriptors_do_no_harm)
{
    auto const seed = std::random_device{}();
    SCOPED_TRACE(seed);
    std::mt19937_64 random{seed};
    auto const below = [&](std::uint64_t limit) { return random() % limit; };
    static constexpr std::array<unsigned, 4> kWidths{1, 2, 4, 8};
    for (unsigned i = 0; i < 20000; ++i) {
        auto const width = kWidths[below(4)];
        auto const at = below(4) == 0 ? below(0x4000 - 8) : 0x80 + below(0x30);
        auto const value = below(3) == 0 ? random() : below(2) == 0 ? ring(below(60)) : below(64);
        if (below(16) == 0) {
            (void)get(at, width);
        } else if (at != 0x86 || (value & 0xffff) < 64) {  // bounds the time only
            set(at, width, value);
        }
        auto const control = static_cast<std::uint32_t>(below(8) == 0 ? random() : below(64));
        auto const address = below(8) == 0 ? random() : kIova + kPage + below(14 * kPage);
        describe(below(60), {static_cast<std::uint32_t>(below(5000)), control, address,
                             kIova + kPage + below(14 * kPage), ring(below(60))});
    }
    set(0xa8, 4, 0xffffffff);
    set(0x84, 1, 0x20);
    function_->config_write(4, 2, 6);
    describe_copy(0, 8, 2);
    start(1);
    EXPECT_EQ(get(0x88, 8), ring(0) | kDone);
}

TEST(IoatSettings, are_named_with_what_is_allowed_when_they_are_wrong)
{
    auto const said = [](std::vector<pci::Setting> settings) {
        auto const checked = model().check({.model = "ioat", .settings = std::move(settings)});
        return checked ? std::string{} : checked.error();
    };
    EXPECT_EQ(said({{"version", "3.2"}, {"xfercap", "30"}}), "");
    EXPECT_EQ(said({{"version", "3"}}), "ioat: version=3: say 3.2 or 3.3");
    for (auto const* const wrong : {"", "11", "31", "16k", "-1", "0x10"})
        EXPECT_EQ(said({{"xfercap", wrong}}),
                  std::string{"ioat: xfercap="} + wrong +
                      ": the largest copy is 2 to the power of 12 to 30");
    EXPECT_EQ(said({{"speed", "1"}}),
              "ioat: there is no setting 'speed'; there are version and xfercap");
    EXPECT_EQ(said({{"xfercap", "12"}, {"xfercap", "12"}}), "ioat: xfercap is given twice");
}

// By the function and by the channel; threads go on telling it of more to copy, and reading it.
TEST_F(IoatTest, nothing_happens_after_a_reset_that_came_while_it_copied)
{
    constexpr std::uint8_t kChannelReset = 0x20;
    constexpr std::uint32_t kBytes = 64;
    describe(0, {kBytes, 0, page(8), page(2), ring(0)});
    std::atomic<std::uint16_t> descriptors{0};
    Busy busy{{[&] { set(0x86, 2, descriptors += 2); }, [&] { (void)get(0x88, 8); }}};
    for (unsigned round = 0; busy.goes_on(1000); ++round) {
        descriptors = 0;
        start(1);
        busy.wait_for_a_round();
        if (round % 2 == 0)
            EXPECT_TRUE(function_->reset());
        else
            set(0x84, 1, kChannelReset);
        auto const before = function_->counters().dma;
        std::memset(memory_.page(2), 0x33, kBytes);
        busy.wait_for_a_round();
        auto const after = function_->counters().dma;
        ASSERT_EQ(after.reads, before.reads) << "round " << round;
        ASSERT_EQ(after.writes, before.writes) << "round " << round;
        ASSERT_EQ(memory_.page(2)[kBytes - 1], std::byte{0x33}) << "round " << round;
        ASSERT_EQ(state(), kHalted);
    }
    EXPECT_GE(function_->counters().dma.writes, busy.rounds());
}

// Ways to stop a channel whose chain is 4 GiB of copies. One that waited for the chain would find
// all of it done, whenever it came.
struct Stop {
    char const* name;
    void (*call)(pci::Function&);
    bool resets;
};

class IoatStopTest : public IoatTest, public testing::WithParamInterface<Stop> {
protected:
    // Stops a chain under way. False: it was over before.
    bool stop_halfway()
    {
        auto const before = function_->counters().dma.reads;
        std::thread client{[this] { start(kDescriptors); }};
        while (function_->counters().dma.reads < before + 3) std::this_thread::yield();
        GetParam().call(*function_);
        auto const after = function_->counters().dma;
        client.join();
        EXPECT_EQ(function_->counters().dma.writes, after.writes) << "it went on";
        return after.reads - before < std::uint64_t{2} * kDescriptors;
    }
    static constexpr std::uint16_t kDescriptors = 65535;
};

TEST_P(IoatStopTest, does_not_wait_for_the_copies_under_way)
{
    describe(0, {16 * kPage, 0, page(0), page(0), ring(0)});
    bool stopped = false;
    for (unsigned attempt = 0; attempt < 3 && !stopped; ++attempt) {
        function_->config_write(4, 2, 6);
        set(0xa8, 4, 0xffffffff);
        set(0x84, 1, 0x20);
        stopped = stop_halfway();
    }
    EXPECT_TRUE(stopped);
    EXPECT_TRUE(around_.faults().empty()) << "a device that is stopped has done nothing wrong";

    // It works as before.
    function_->config_write(0x44, 2, 0);
    function_->config_write(4, 2, 6);
    EXPECT_EQ(state(), kHalted);
    EXPECT_EQ(get(0xa8, 4) == 0, GetParam().resets) << "a chain that broke off is an error";
    set(0xa8, 4, 0xffffffff);
    set(0x84, 1, 0x20);
    describe_copy(0, 8, 2);
    start(1);
    EXPECT_EQ(state(), kDone);
}

INSTANTIATE_TEST_SUITE_P(
    Ways, IoatStopTest,
    testing::Values(
        Stop{"reset", [](auto& function) { EXPECT_TRUE(function.reset()); }, true},
        Stop{"bus_reset", [](auto& function) { function.bus_reset(); }, true},
        Stop{"function_level_reset", [](auto& function) { function.config_write(0x58, 2, 0x8000); },
             true},
        Stop{"the_last_close",
             [](auto& function) {
                 function.close();
                 function.open();
             },
             true},
        Stop{"bus_master_off", [](auto& function) { function.config_write(4, 2, 2); }, false},
        Stop{"the_command_register_as_a_dword",
             [](auto& function) { function.config_write(4, 4, 2); }, false},
        Stop{"sleep", [](auto& function) { function.config_write(0x44, 2, 3); }, false}),
    [](auto const& one) { return std::string{one.param.name}; });

TEST_F(IoatTest, a_close_that_is_not_the_last_lets_it_work)
{
    function_->open();
    describe(0, {16 * kPage, 0, page(0), page(0), ring(0)});
    std::thread client{[this] { start(200); }};
    function_->close();
    client.join();
    EXPECT_EQ(get(0x88, 8), ring(0) | kDone);
}

}  // namespace
}  // namespace pinfold::devices::ioat
