#include "devices/virtio_net/settings.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <optional>
#include <set>

namespace pinfold::devices::virtio_net {
namespace {

using pci::Checked;
using pci::Setting;

template <class... Args>
std::unexpected<std::string> refuse(fmt::format_string<Args...> text, Args&&... args)
{
    return std::unexpected{"virtio-net: " + fmt::format(text, std::forward<Args>(args)...)};
}

// Exactly `digits` hexadecimal digits; takes them off the front.
std::optional<unsigned> take_hex(std::string_view& text, std::size_t digits)
{
    if (text.size() < digits) return std::nullopt;
    unsigned value = 0;
    auto const [end, error] = std::from_chars(text.data(), text.data() + digits, value, 16);
    if (error != std::errc{} || end != text.data() + digits) return std::nullopt;
    text.remove_prefix(digits);
    return value;
}

bool take_character(std::string_view& text, char wanted)
{
    if (!text.starts_with(wanted)) return false;
    text.remove_prefix(1);
    return true;
}

struct Place {
    unsigned domain, bus, device, function;
};

// "0000:00:04.0", or without the domain.
std::optional<Place> parse_bdf(std::string_view text)
{
    constexpr std::size_t kWithDomain = 12;
    Place place{};
    if (text.size() == kWithDomain) {
        auto const domain = take_hex(text, 4);
        if (!domain || !take_character(text, ':')) return std::nullopt;
        place.domain = *domain;
    }
    auto const bus = take_hex(text, 2);
    if (!bus || !take_character(text, ':')) return std::nullopt;
    auto const device = take_hex(text, 2);
    if (!device || !take_character(text, '.')) return std::nullopt;
    auto const function = take_hex(text, 1);
    if (!function || !text.empty() || *device > 31 || *function > 7) return std::nullopt;
    place.bus = *bus;
    place.device = *device;
    place.function = *function;
    return place;
}

Checked<std::string> parse_peer(std::string const& value)
{
    auto const place = parse_bdf(value);
    if (!place)
        return refuse("peer={}: say the address of another virtio-net, such as 0000:00:05.0",
                      value);
    return fmt::format("{:04x}:{:02x}:{:02x}.{}", place->domain, place->bus, place->device,
                       place->function);
}

Checked<Mac> parse_mac(std::string const& value)
{
    std::string_view text = value;
    Mac mac{};
    bool good = true;
    for (std::size_t i = 0; i < mac.size() && good; ++i) {
        good = i == 0 || take_character(text, ':');
        auto const byte = good ? take_hex(text, 2) : std::nullopt;
        good = byte.has_value();
        mac[i] = static_cast<std::uint8_t>(byte.value_or(0));
    }
    if (!good || !text.empty())
        return refuse("mac={}: a MAC address is six bytes, such as 52:54:00:12:34:56", value);
    if ((mac[0] & 1) != 0) return refuse("mac={}: is the address of a group, not of a port", value);
    return mac;
}

Checked<Interface> parse_interface(std::string const& value)
{
    if (value == "transitional") return Interface::transitional;
    if (value == "legacy") return Interface::legacy;
    if (value == "modern") return Interface::modern;
    return refuse("mode={}: say transitional, legacy or modern", value);
}

// Locally administered, and different for each place on the bus.
Mac mac_of(std::string_view bdf)
{
    auto const place = parse_bdf(bdf).value_or(Place{});
    auto const byte = [](unsigned value) { return static_cast<std::uint8_t>(value); };
    return {0x02,
            byte(place.domain >> 8),
            byte(place.domain),
            byte(place.bus),
            byte(place.device),
            byte(place.function)};
}

template <class T>
Checked<void> put(T& into, Checked<T> value)
{
    if (!value) return std::unexpected{std::move(value.error())};
    into = std::move(*value);
    return {};
}

Checked<void> take_setting(Settings& settings, Setting const& setting)
{
    if (setting.key == "mac") return put(settings.mac, parse_mac(setting.value));
    if (setting.key == "mode") return put(settings.interface, parse_interface(setting.value));
    if (setting.key == "peer") return put(settings.peer, parse_peer(setting.value));
    if (setting.key != "pcap")
        return refuse("there is no setting '{}'; there are mac, mode, peer and pcap", setting.key);
    if (setting.value.empty()) return refuse("pcap= names no file");
    settings.pcap = setting.value;
    return {};
}

constexpr std::array<pci::Model::Option, 4> kOptions{{
    {"mode", "MODE", "transitional (default), legacy or modern: which interfaces it has", false},
    {"mac", "MAC", "its address (made from its bdf)", false},
    {"peer", "BDF", "the virtio-net that its frames go to; without one they come back", false},
    {"pcap", "FILE", "append the frames that pass to FILE, for tcpdump and Wireshark", false},
}};

}  // namespace

Checked<Settings> parse_settings(pci::DeviceSpec const& spec)
{
    Settings settings{.mac = mac_of(spec.bdf),
                      .interface = Interface::transitional,
                      .self = spec.bdf,
                      .peer = {},
                      .pcap = {}};
    std::set<std::string_view> keys;
    for (auto const& setting : spec.settings) {
        if (!keys.insert(setting.key).second) return refuse("{} is given twice", setting.key);
        if (auto const taken = take_setting(settings, setting); !taken)
            return std::unexpected{taken.error()};
    }
    return settings;
}

std::span<pci::Model::Option const> setting_options() { return kOptions; }

}  // namespace pinfold::devices::virtio_net
