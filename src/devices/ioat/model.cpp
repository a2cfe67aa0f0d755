#include "devices/ioat/model.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <memory>
#include <set>
#include <utility>

#include "devices/ioat/channel.hpp"

namespace pinfold::devices::ioat {
namespace {

using pci::Checked;
using pci::DeviceSpec;

struct Settings {
    std::uint8_t version = 0x33;
    unsigned largest_lg2 = 16;
};

// BAR 0, as its first page lies in memory.
struct [[gnu::packed]] Registers {
    std::uint8_t channels, largest, general, interrupt;  // CHANCNT, XFERCAP, GENCTRL, INTRCTRL
    std::uint32_t attention;                             // ATTNSTATUS
    std::uint8_t version;                                // CBVER
    std::array<std::uint8_t, 3> reserved_09;
    std::uint16_t delay, status;  // INTRDELAY, CS_STATUS
    std::uint32_t capabilities;   // DMACAPABILITY
    std::array<std::uint8_t, 0x6c> reserved_14;
    std::uint16_t control, reserved_82;
    std::uint8_t command, reserved_85;
    std::uint16_t count;
    std::uint64_t channel_status, chain, completion, reserved_a0;
    std::uint32_t errors, error_mask;
};
static_assert(offsetof(Registers, control) == 0x80 && sizeof(Registers) == 0xb0);

constexpr std::uint64_t kBarSize = 0x4000;
constexpr std::uint32_t kMsixTable = 0x2000, kMsixPending = 0x3000;
constexpr std::uint32_t kFillBlock = 0x40;  // DMACAPABILITY
constexpr std::uint8_t kMasterInterrupt = 0x01, kInterruptStatus = 0x02, kInterruptPending = 0x04,
                       kMsixControl = 0x08;  // INTRCTRL

pci::Identity const& ioat_identity()
{
    static pci::Identity const kIdentity = [] {
        pci::Identity identity{.vendor = 0x8086,
                               .device = 0x2021,
                               .subsystem_vendor = 0x8086,
                               .subsystem = 0x0000,
                               .revision = 0x04,
                               .class_code = 0x088000,
                               .interrupt_pin = 1,
                               .msi_vectors = 0,
                               .msix = {.vectors = 1,
                                        .bar = 0,
                                        .table_offset = kMsixTable,
                                        .pba_offset = kMsixPending},
                               .pci_express = true,
                               .bars = {},
                               .error_reporting = true};
        using enum pci::PageKind;
        identity.bars[0] = {.kind = pci::Bar::Kind::memory64,
                            .size = kBarSize,
                            .pages = {readable, readable, readable, readable}};
        return identity;
    }();
    return kIdentity;
}

class Ioat final : public pci::Device {
public:
    Ioat(pci::Bus& bus, Settings settings)
        : bus_{bus}, settings_{settings}, channel_{bus, settings.largest_lg2}
    {
    }

    pci::Identity const& identity() const override { return ioat_identity(); }
    // All of the BAR is memory that is kept current.
    std::uint64_t bar_read(unsigned, std::uint64_t, unsigned) override { return 0; }
    void bar_write(unsigned bar, std::uint64_t offset, unsigned size, std::uint64_t value) override;
    void reset() override;
    std::string summary() const override;

private:
    void write(std::uint64_t offset, unsigned size, std::uint64_t value);
    void write_half(std::uint64_t offset, std::uint64_t value);
    void interrupt();
    void show();

    pci::Bus& bus_;
    Settings settings_;
    Channel channel_;
    std::uint8_t interrupt_control_ = 0;
    std::uint32_t attention_ = 0, error_mask_ = 0;
    std::uint16_t delay_ = 0;
};

void Ioat::reset()
{
    channel_.reset();
    interrupt_control_ = 0;
    attention_ = error_mask_ = 0;
    delay_ = 0;
    show();
}

void Ioat::show()
{
    Registers const now{.channels = 1,
                        .largest = static_cast<std::uint8_t>(settings_.largest_lg2),
                        .general = 0,
                        .interrupt = interrupt_control_,
                        .attention = attention_,
                        .version = settings_.version,
                        .reserved_09 = {},
                        .delay = delay_,
                        .status = 0,
                        .capabilities = kFillBlock,
                        .reserved_14 = {},
                        .control = channel_.control(),
                        .reserved_82 = 0,
                        .command = 0,
                        .reserved_85 = 0,
                        .count = channel_.count(),
                        .channel_status = channel_.status(),
                        .chain = channel_.chain(),
                        .completion = channel_.completion(),
                        .reserved_a0 = 0,
                        .errors = channel_.errors(),
                        .error_mask = error_mask_};
    std::memcpy(bus_.bar_memory(0).data(), &now, sizeof now);
}

// With MSI-X each message stands for itself. Without, the line stays up until the attention bit of
// the channel is written.
void Ioat::interrupt()
{
    if (bus_.message_signalled()) {
        bus_.raise(0);
        return;
    }
    attention_ |= 1;
    if ((interrupt_control_ & kMasterInterrupt) == 0) return;
    interrupt_control_ |= kInterruptStatus | kInterruptPending;
    bus_.raise(0);
}

void Ioat::bar_write(unsigned, std::uint64_t offset, unsigned size, std::uint64_t value)
{
    write(offset, size, value);
    if (channel_.take_interrupt()) interrupt();
    show();
}

// A write that does not begin a register, or is too narrow for it, is dropped; of one that is too
// wide the register takes its own part.
void Ioat::write(std::uint64_t offset, unsigned size, std::uint64_t value)
{
    switch (offset) {
        case offsetof(Registers, interrupt):
            interrupt_control_ =
                static_cast<std::uint8_t>(value & (kMasterInterrupt | kMsixControl));
            return;
        case offsetof(Registers, command):
            channel_.command(static_cast<std::uint8_t>(value));
            return;
        default: break;
    }
    if (size < 2) return;
    switch (offset) {
        case offsetof(Registers, delay):
            delay_ = static_cast<std::uint16_t>(value & 0x3fff);
            return;
        case offsetof(Registers, control):
            channel_.set_control(static_cast<std::uint16_t>(value));
            return;
        case offsetof(Registers, count):
            channel_.set_count(static_cast<std::uint16_t>(value));
            return;
        default: break;
    }
    if (size < 4) return;
    switch (offset) {
        case offsetof(Registers, attention):
            attention_ &= ~static_cast<std::uint32_t>(value);
            if (attention_ == 0) bus_.lower();
            return;
        case offsetof(Registers, errors):
            channel_.clear_errors(static_cast<std::uint32_t>(value));
            return;
        case offsetof(Registers, error_mask):
            error_mask_ = static_cast<std::uint32_t>(value);
            return;
        case offsetof(Registers, chain):
            if (size == 8) return channel_.set_chain(value);
            break;
        case offsetof(Registers, completion):
            if (size == 8) return channel_.set_completion(value);
            break;
        default: break;
    }
    write_half(offset, value & 0xffff'ffff);
}

// The registers of 64 bits can be written in halves.
void Ioat::write_half(std::uint64_t offset, std::uint64_t value)
{
    constexpr std::uint64_t kLow = 0xffff'ffff;
    switch (offset) {
        case offsetof(Registers, chain):
            channel_.set_chain((channel_.chain() & ~kLow) | value);
            break;
        case offsetof(Registers, chain) + 4:
            channel_.set_chain((channel_.chain() & kLow) | value << 32);
            break;
        case offsetof(Registers, completion):
            channel_.set_completion((channel_.completion() & ~kLow) | value);
            break;
        case offsetof(Registers, completion) + 4:
            channel_.set_completion((channel_.completion() & kLow) | value << 32);
            break;
        default: break;
    }
}

std::string Ioat::summary() const
{
    auto const& totals = channel_.totals();
    auto text =
        fmt::format("{} copies, {} fills, {} bytes", totals.copies, totals.fills, totals.bytes);
    if (totals.failures != 0) text += fmt::format(", {} failed", totals.failures);
    return text;
}

Checked<void> take(Settings& settings, pci::Setting const& setting)
{
    auto const& [key, value] = setting;
    if (key == "version") {
        if (value != "3.2" && value != "3.3")
            return std::unexpected{fmt::format("ioat: version={}: say 3.2 or 3.3", value)};
        settings.version = static_cast<std::uint8_t>(0x30 + (value[2] - '0'));
        return {};
    }
    if (key != "xfercap")
        return std::unexpected{
            fmt::format("ioat: there is no setting '{}'; there are version and xfercap", key)};
    auto const* const end = value.data() + value.size();
    auto const parsed = std::from_chars(value.data(), end, settings.largest_lg2);
    if (parsed.ec != std::errc{} || parsed.ptr != end || settings.largest_lg2 < 12 ||
        settings.largest_lg2 > 30)
        return std::unexpected{
            fmt::format("ioat: xfercap={}: the largest copy is 2 to the power of 12 to 30", value)};
    return {};
}

Checked<Settings> parse_settings(DeviceSpec const& spec)
{
    Settings settings;
    std::set<std::string_view> keys;
    for (auto const& setting : spec.settings) {
        if (!keys.insert(setting.key).second)
            return std::unexpected{fmt::format("ioat: {} is given twice", setting.key)};
        if (auto const taken = take(settings, setting); !taken)
            return std::unexpected{taken.error()};
    }
    return settings;
}

class IoatModel final : public pci::Model {
public:
    std::string_view name() const override { return "ioat"; }
    std::string_view summary() const override
    {
        return "Intel I/OAT DMA engine (8086:2021) with one channel: copies and fills";
    }
    std::span<Option const> options() const override
    {
        static constexpr std::array<Option, 2> kOptions{
            {{"version", "3.2|3.3", "which version it says it is (3.3)"},
             {"xfercap", "LOG2", "the largest copy, as a power of two from 12 to 30 (16)"}}};
        return kOptions;
    }
    std::string_view example() const override { return "ioat,bdf=0000:00:06.0"; }
    Checked<void> check(DeviceSpec const& spec) const override
    {
        if (auto const settings = parse_settings(spec); !settings)
            return std::unexpected{settings.error()};
        return {};
    }
    Checked<std::unique_ptr<pci::Device>> create(DeviceSpec const& spec,
                                                 pci::Bus& bus) const override
    {
        auto const settings = parse_settings(spec);
        if (!settings) return std::unexpected{settings.error()};
        return std::make_unique<Ioat>(bus, *settings);
    }
};

}  // namespace

pci::Model const& model()
{
    static IoatModel const the_model;
    return the_model;
}

}  // namespace pinfold::devices::ioat
