#include "devices/null_settings.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

namespace pinfold::devices {
namespace {

using pci::Bar;
using pci::Checked;
using pci::Identity;
using pci::Setting;

constexpr std::uint64_t kPageBytes = 4096;
constexpr std::uint64_t kLargestMemory = std::uint64_t{1} << 30, kLargestIo = 256;

template <class... Args>
std::unexpected<std::string> refuse(fmt::format_string<Args...> text, Args&&... args)
{
    return std::unexpected{"null: " + fmt::format(text, std::forward<Args>(args)...)};
}

std::optional<std::uint64_t> parse_number(std::string_view text)
{
    int base = 10;
    if (text.starts_with("0x")) {
        text.remove_prefix(2);
        base = 16;
    }
    std::uint64_t number = 0;
    auto const* const end = text.data() + text.size();
    auto const parsed = std::from_chars(text.data(), end, number, base);
    if (parsed.ec != std::errc{} || parsed.ptr != end) return std::nullopt;
    return number;
}

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

std::vector<std::string_view> split(std::string_view text, char at)
{
    std::vector<std::string_view> pieces;
    for (std::size_t start = 0;;) {
        auto const end = text.find(at, start);
        pieces.push_back(text.substr(start, end - start));
        if (end == std::string_view::npos) return pieces;
        start = end + 1;
    }
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

// "0xc0:0102ff": a capability at 0xc0 with these bytes behind its length.
Checked<void> take_capability(Identity& identity, Setting const& setting)
{
    auto const pieces = split(setting.value, ':');
    auto const wrong = [&] {
        return refuse(
            "cap={}: say where it is (0xb0 to 0xfc, a multiple of 4) and its bytes, as in "
            "0xc0:0102ff, to the end of 0xff",
            setting.value);
    };
    auto const at = parse_number(pieces.front());
    if (!at || *at < 0xb0 || *at % 4 != 0 || pieces.size() != 2 || pieces[1].size() % 2 != 0)
        return wrong();
    auto const count = pieces[1].size() / 2;
    if (*at + 3 + count > 0x100) return wrong();
    std::vector<std::uint8_t> bytes{static_cast<std::uint8_t>(3 + count)};
    for (std::size_t i = 0; i < count; ++i) {
        auto const byte = parse_number(fmt::format("0x{}", pieces[1].substr(2 * i, 2)));
        if (!byte) return wrong();
        bytes.push_back(static_cast<std::uint8_t>(*byte));
    }
    identity.vendor_capabilities.push_back(
        {.at = static_cast<std::uint8_t>(*at), .bytes = std::move(bytes)});
    return {};
}

// Beside the identity itself.
struct More {
    unsigned msix = 0;
    bool intx = true;
};

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
    if (key == "intx") return take_flag(more.intx, setting);
    if (key == "msi") return take_msi(identity, setting);
    if (key == "msix") return take_number(more.msix, setting, 2048);
    if (key == "cap") return take_capability(identity, setting);
    return refuse(
        "there is no setting '{}'; there are bar0 to bar5, msi, msix, intx, express, "
        "aer, vendor, device, class, revision and cap",
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

bool overlap(pci::VendorCapability const& one, pci::VendorCapability const& other)
{
    auto const end = [](auto const& capability) {
        return capability.at + 2 + capability.bytes.size();
    };
    return one.at < end(other) && other.at < end(one);
}

Checked<void> check_capabilities(Identity const& identity)
{
    auto const& all = identity.vendor_capabilities;
    for (std::size_t i = 0; i < all.size(); ++i)
        for (std::size_t j = 0; j < i; ++j)
            if (overlap(all[i], all[j]))
                return refuse("cap: those at {:#x} and {:#x} overlap", all[j].at, all[i].at);
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

constexpr std::array<pci::Model::Option, 11> kOptions{{
    {"barN", "SIZE[:WORD]...", "BAR 0 to 5, such as 16K:64:readable, 32:io, 4K:nomap", false},
    {"msi", "COUNT", "MSI vectors (0)", false},
    {"msix", "COUNT", "MSI-X vectors, their table in the first free BAR (0)", false},
    {"intx", "yes|no", "whether it has INTA (yes)", false},
    {"express", "yes|no", "PCI Express, power management and reset, or a conventional device (yes)",
     false},
    {"aer", "yes|no", "Advanced Error Reporting, with PCI Express (no)", false},
    {"vendor", "ID", "vendor (0x1af4)", false},
    {"device", "ID", "device (0x10f0)", false},
    {"class", "CODE", "class code of 24 bits (0xff0000)", false},
    {"revision", "NUMBER", "revision (0)", false},
    {"cap", "AT:BYTES", "a vendor specific capability, such as 0xc0:0102ff; may be said again",
     false},
}};

}  // namespace

Checked<Identity> null_identity(pci::DeviceSpec const& spec)
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
        if (setting.key != "cap" && !keys.insert(setting.key).second)
            return refuse("{} is given twice", setting.key);
        if (auto const taken = take(identity, more, setting); !taken)
            return std::unexpected{taken.error()};
    }
    identity.interrupt_pin = more.intx ? 1 : 0;
    if (identity.error_reporting && !identity.pci_express)
        return refuse("aer: only a device of PCI Express has it");
    if (auto const fine = check_upper_halves(identity); !fine) return std::unexpected{fine.error()};
    if (auto const fine = check_capabilities(identity); !fine) return std::unexpected{fine.error()};
    if (auto const fine = place_msix(identity, more.msix); !fine)
        return std::unexpected{fine.error()};
    return identity;
}

std::span<pci::Model::Option const> null_options() { return kOptions; }

}  // namespace pinfold::devices
