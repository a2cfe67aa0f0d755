#include "devices/null_settings.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "devices/null_capabilities.hpp"
#include "devices/null_text.hpp"

namespace pinfold::devices {
namespace {

using pci::Bar;
using pci::Checked;
using pci::Identity;
using pci::Setting;

constexpr std::uint64_t kPageBytes = 4096;
constexpr std::uint64_t kLargestMemory = std::uint64_t{1} << 30, kLargestIo = 256;

// "16K", "1M" or bytes.
std::optional<std::uint64_t> parse_size(std::string_view text)
{
    unsigned shift = 0;
    if (text.ends_with('K')) shift = 10;
    if (text.ends_with('M')) shift = 20;
    if (shift != 0) text.remove_suffix(1);
    auto const number = parse_number(text);
    if (!number || *number > kLargestMemory) return std::nullopt;
    return *number << shift;
}

// What follows the size of a BAR; false: there is no such word.
bool take_word(Bar& bar, std::string_view word)
{
    if (word == "io")
        bar.kind = Bar::Kind::io;
    else if (word == "64")
        bar.kind = Bar::Kind::memory64;
    else if (word == "prefetch")
        bar.prefetchable = true;
    else if (word == "nomap")
        bar.mappable = false;
    else if (word == "readable")
        bar.pages.assign(bar.size / kPageBytes, pci::PageKind::readable);
    else
        return false;
    return true;
}

// "16K:64:readable".
Checked<Bar> parse_bar(Setting const& setting)
{
    auto const pieces = split(setting.value, ':');
    auto const wrong = [&] {
        return refuse(
            "{}={}: say a size that is a power of two (memory 4K to 1024M, I/O 4 to 256), and then "
            ":io, :64, :prefetch, :readable or :nomap",
            setting.key, setting.value);
    };
    auto const size = parse_size(pieces.front());
    if (!size || !std::has_single_bit(*size)) return wrong();
    Bar bar{.kind = Bar::Kind::memory32, .size = *size, .pages = {}};
    for (auto const word : std::span{pieces}.subspan(1))
        if (!take_word(bar, word)) return wrong();
    bool const is_io = bar.kind == Bar::Kind::io;
    if (is_io && (*size < 4 || *size > kLargestIo || pieces.size() > 2)) return wrong();
    if (!is_io && (*size < kPageBytes || *size > kLargestMemory)) return wrong();
    return bar;
}

Checked<void> take_bar(Identity& identity, Setting const& setting)
{
    auto const index = static_cast<std::size_t>(setting.key.back() - '0');
    auto bar = parse_bar(setting);
    if (!bar) return std::unexpected{bar.error()};
    identity.bars[index] = std::move(*bar);
    return {};
}

template <class T>
Checked<void> take_number(T& into, Setting const& setting, std::uint64_t last)
{
    auto const number = parse_number(setting.value);
    if (!number || *number > last)
        return refuse("{}={}: say a number from 0 to {:#x}", setting.key, setting.value, last);
    into = static_cast<T>(*number);
    return {};
}

Checked<void> take_flag(bool& into, Setting const& setting)
{
    auto const flag = pci::as_flag(setting.value);
    if (!flag) return refuse("{}={}: say yes or no", setting.key, setting.value);
    into = *flag;
    return {};
}

Checked<void> take_msi(Identity& identity, Setting const& setting)
{
    auto const number = parse_number(setting.value);
    if (!number || *number > 32 || (*number != 0 && !std::has_single_bit(*number)))
        return refuse("msi={}: say 0, 1, 2, 4, 8, 16 or 32 vectors", setting.value);
    identity.msi_vectors = static_cast<unsigned>(*number);
    return {};
}

// Beside the identity itself.
struct More {
    unsigned msix = 0;
    std::optional<pci::MsixLayout> msix_at;
    std::optional<Trigger> trigger;
};

// "2:0x1000:0x1800": the BAR, and places in it.
std::optional<std::vector<std::uint64_t>> parse_places(std::string_view text, std::size_t count)
{
    std::vector<std::uint64_t> places;
    for (auto const piece : split(text, ':')) {
        auto const number = parse_number(piece);
        if (!number || *number > kLargestMemory) return std::nullopt;
        places.push_back(*number);
    }
    if (places.size() != count || places.front() > 5) return std::nullopt;
    return places;
}

Checked<void> take_msix_place(More& more, Setting const& setting)
{
    auto const places = parse_places(setting.value, 3);
    if (!places)
        return refuse("msix_at={}: say BAR:TABLE:PENDING, as in 0:0x1000:0x1800", setting.value);
    more.msix_at = {.bar = static_cast<unsigned>((*places)[0]),
                    .table_offset = static_cast<std::uint32_t>((*places)[1]),
                    .pba_offset = static_cast<std::uint32_t>((*places)[2])};
    return {};
}

Checked<void> take_trigger(More& more, Setting const& setting)
{
    auto const places = parse_places(setting.value, 2);
    if (!places || (*places)[1] % 8 != 0)
        return refuse("trigger={}: say BAR:OFFSET, a multiple of 8, as in 0:0x100", setting.value);
    more.trigger = {static_cast<unsigned>((*places)[0]), (*places)[1]};
    return {};
}

Checked<void> take_pin(Identity& identity, Setting const& setting)
{
    constexpr std::string_view kPins = "ABCD";
    auto const pin = setting.value.size() == 1 ? kPins.find(setting.value[0]) : kPins.npos;
    auto const flag = pci::as_flag(setting.value);
    if (pin == kPins.npos && !flag)
        return refuse("intx={}: say A, B, C, D, yes (A) or no", setting.value);
    if (pin != kPins.npos)
        identity.interrupt_pin = static_cast<unsigned>(pin) + 1;
    else
        identity.interrupt_pin = *flag ? 1 : 0;
    return {};
}

Checked<void> take(Identity& identity, More& more, Setting const& setting)
{
    std::string_view const key = setting.key;
    if (key.size() == 4 && key.starts_with("bar") && key[3] >= '0' && key[3] <= '5')
        return take_bar(identity, setting);
    if (key == "vendor") return take_number(identity.vendor, setting, 0xffff);
    if (key == "device") return take_number(identity.device, setting, 0xffff);
    if (key == "class") return take_number(identity.class_code, setting, 0xffffff);
    if (key == "revision") return take_number(identity.revision, setting, 0xff);
    if (key == "express") return take_flag(identity.pci_express, setting);
    if (key == "aer") return take_flag(identity.error_reporting, setting);
    if (key == "subsystem_vendor") return take_number(identity.subsystem_vendor, setting, 0xffff);
    if (key == "subsystem") return take_number(identity.subsystem, setting, 0xffff);
    if (key == "intx") return take_pin(identity, setting);
    if (key == "msix_at") return take_msix_place(more, setting);
    if (key == "trigger") return take_trigger(more, setting);
    if (key == "msi") return take_msi(identity, setting);
    if (key == "msix") return take_number(more.msix, setting, 2048);
    if (key == "cap") return take_capability(identity, setting.value);
    if (key == "extcap") return take_extended(identity, setting.value);
    return refuse(
        "there is no setting '{}'; there are bar0 to bar5, msi, msix, msix_at, intx, trigger, "
        "express, aer, vendor, device, subsystem_vendor, subsystem, class, revision, cap and "
        "extcap",
        setting.key);
}

Checked<void> check_upper_halves(Identity const& identity)
{
    for (std::size_t i = 0; i < identity.bars.size(); ++i) {
        if (identity.bars[i].kind != Bar::Kind::memory64) continue;
        if (i == 5) return refuse("bar5: a BAR of 64 bits needs the next one too");
        if (identity.bars[i + 1].kind != Bar::Kind::none)
            return refuse("bar{}: it is the upper half of bar{}, which has 64 bits", i + 1, i);
    }
    return {};
}

bool memory_holds(Identity const& identity, unsigned bar, std::uint64_t offset, std::uint64_t size)
{
    Bar const& one = identity.bars[bar];
    bool const memory = one.kind == Bar::Kind::memory32 || one.kind == Bar::Kind::memory64;
    return memory && offset % 8 == 0 && offset <= one.size && size <= one.size - offset;
}

// Where it was asked for.
Checked<void> place_msix_at(Identity& identity, pci::MsixLayout layout, unsigned vectors)
{
    std::uint64_t const table = std::uint64_t{16} * vectors,
                        pending = std::uint64_t{8} * ((vectors + 63) / 64);
    std::uint64_t const table_start = layout.table_offset, pending_start = layout.pba_offset;
    bool const apart =
        table_start + table <= pending_start || pending_start + pending <= table_start;
    if (vectors == 0) return refuse("msix_at: there are no vectors (msix=COUNT)");
    if (!memory_holds(identity, layout.bar, table_start, table) ||
        !memory_holds(identity, layout.bar, pending_start, pending) || !apart)
        return refuse(
            "msix_at: table and pending bits need {} and {} bytes of their own at multiples of 8 "
            "in a memory BAR",
            table, pending);
    layout.vectors = vectors;
    identity.msix = layout;
    return {};
}

// The MSI-X table has a BAR of its own, the first that is free.
Checked<void> place_msix(Identity& identity, unsigned vectors)
{
    if (vectors == 0) return {};
    for (unsigned i = 0; i < identity.bars.size(); ++i) {
        bool const upper = i > 0 && identity.bars[i - 1].kind == Bar::Kind::memory64;
        if (upper || identity.bars[i].kind != Bar::Kind::none) continue;
        auto const table = std::max<std::uint64_t>(kPageBytes, std::bit_ceil(vectors * 16U));
        identity.msix = {.vectors = vectors,
                         .bar = i,
                         .table_offset = 0,
                         .pba_offset = static_cast<std::uint32_t>(table)};
        identity.bars[i] = {.kind = Bar::Kind::memory32, .size = 2 * table, .pages = {}};
        return {};
    }
    return refuse("msix={}: there is no BAR left for its table", vectors);
}

Checked<void> check_trigger(Identity const& identity, std::optional<Trigger> const& trigger)
{
    if (!trigger) return {};
    Bar const& bar = identity.bars[trigger->bar];
    if (bar.kind == Bar::Kind::none || trigger->offset + 8 > bar.size)
        return refuse("trigger: its 8 bytes do not lie in BAR {}", trigger->bar);
    return {};
}

constexpr std::array<pci::Model::Option, 16> kOptions{{
    {"barN", "SIZE[:WORD]...", "BAR 0 to 5, such as 16K:64:readable, 32:io, 4K:nomap", false},
    {"msi", "COUNT", "MSI vectors (0)", false},
    {"msix", "COUNT", "MSI-X vectors, their table in the first free BAR (0)", false},
    {"msix_at", "BAR:TABLE:PENDING", "where in a memory BAR its table and pending bits are instead",
     false},
    {"intx", "A|B|C|D|no", "its pin (A)", false},
    {"trigger", "BAR:OFFSET",
     "a register: writing N raises vector N, or INTx; a write 4 bytes on lowers INTx", false},
    {"express", "yes|no", "PCI Express, power management and reset, or a conventional device (yes)",
     false},
    {"aer", "yes|no", "Advanced Error Reporting, with PCI Express (no)", false},
    {"vendor", "ID", "vendor (0x1af4)", false},
    {"device", "ID", "device (0x10f0)", false},
    {"subsystem_vendor", "ID", "vendor of the subsystem (0x1af4)", false},
    {"subsystem", "ID", "subsystem (0x1100)", false},
    {"class", "CODE", "class code of 24 bits (0xff0000)", false},
    {"revision", "NUMBER", "revision (0)", false},
    {"cap", "AT:[ID:]BYTES",
     "a capability, such as 0xc0:0x03:00ff, or without ID a vendor specific one; may be said again",
     false},
    {"extcap", "AT:ID:BYTES", "an extended capability, such as 0x100:0x03:0011; likewise", false},
}};

}  // namespace

Checked<NullSettings> null_settings(pci::DeviceSpec const& spec)
{
    Identity identity{.vendor = 0x1af4,
                      .device = 0x10f0,
                      .subsystem_vendor = 0x1af4,
                      .subsystem = 0x1100,
                      .revision = 0,
                      .class_code = 0xff0000,
                      .interrupt_pin = 1,
                      .msi_vectors = 0,
                      .msix = {},
                      .pci_express = true,
                      .bars = {}};
    More more;
    std::set<std::string_view> keys;
    for (auto const& setting : spec.settings) {
        if (setting.key != "cap" && setting.key != "extcap" && !keys.insert(setting.key).second)
            return refuse("{} is given twice", setting.key);
        if (auto const taken = take(identity, more, setting); !taken)
            return std::unexpected{taken.error()};
    }
    if (identity.error_reporting && !identity.pci_express)
        return refuse("aer: only a device of PCI Express has it");
    if (auto const fine = check_upper_halves(identity); !fine) return std::unexpected{fine.error()};
    if (auto const fine = check_capabilities(identity); !fine) return std::unexpected{fine.error()};
    auto const placed = more.msix_at ? place_msix_at(identity, *more.msix_at, more.msix)
                                     : place_msix(identity, more.msix);
    if (!placed) return std::unexpected{placed.error()};
    if (auto const fine = check_trigger(identity, more.trigger); !fine)
        return std::unexpected{fine.error()};
    return NullSettings{std::move(identity), more.trigger};
}

std::span<pci::Model::Option const> null_options() { return kOptions; }

}  // namespace pinfold::devices
