#include "devices/null_capabilities.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <vector>

#include "devices/null_text.hpp"

namespace pinfold::devices {
namespace {

using pci::Checked;
using pci::Identity;

constexpr std::uint8_t kVendorSpecific = 0x09;
// Laid out by other settings: power management, MSI, PCI Express, MSI-X.
constexpr std::array<std::uint64_t, 4> kOwn{0x01, 0x05, 0x10, 0x11};
// Beyond them VFIO knows none, and hides it: PCI_CAP_ID_EA, PCI_EXT_CAP_ID_DOE.
constexpr std::uint64_t kLastId = 0x14, kLastExtendedId = 0x2e;
constexpr std::uint64_t kErrorReporting = 0x0001, kErrorReportingEnd = 0x148;

// "0102ff"; nullopt: these are no bytes.
std::optional<std::vector<std::uint8_t>> parse_bytes(std::string_view text)
{
    if (text.size() % 2 != 0) return std::nullopt;
    std::vector<std::uint8_t> bytes;
    for (std::size_t i = 0; i < text.size(); i += 2) {
        auto const byte = parse_number(fmt::format("0x{}", text.substr(i, 2)));
        if (!byte) return std::nullopt;
        bytes.push_back(static_cast<std::uint8_t>(*byte));
    }
    return bytes;
}

std::uint64_t end_of(pci::VendorCapability const& one) { return one.at + 2 + one.bytes.size(); }
std::uint64_t end_of(pci::ExtendedCapability const& one) { return one.at + 4 + one.bytes.size(); }

template <class Capability>
Checked<void> check_apart(std::string_view key, std::vector<Capability> const& all)
{
    for (std::size_t i = 0; i < all.size(); ++i)
        for (std::size_t j = 0; j < i; ++j)
            if (all[i].at < end_of(all[j]) && all[j].at < end_of(all[i]))
                return refuse("{}: those at {:#x} and {:#x} overlap", key, all[j].at, all[i].at);
    return {};
}

}  // namespace

Checked<void> take_capability(Identity& identity, std::string_view value)
{
    auto const pieces = split(value, ':');
    auto const wrong = [&] {
        return refuse(
            "cap={}: say where it is (0xb0 to 0xfc, a multiple of 4), its id (2 to 0x14, none that "
            "other settings give) unless it is vendor specific, and its bytes, to the end of 0xff, "
            "as in 0xc0:0x03:00ff",
            value);
    };
    if (pieces.size() != 2 && pieces.size() != 3) return wrong();
    auto const at = parse_number(pieces.front());
    auto const id = pieces.size() == 3 ? parse_number(pieces[1]) : kVendorSpecific;
    auto bytes = parse_bytes(pieces.back());
    if (!at || *at < 0xb0 || *at % 4 != 0 || !id || *id == 0 || *id > kLastId || !bytes ||
        std::ranges::find(kOwn, *id) != kOwn.end())
        return wrong();
    if (pieces.size() == 2)
        bytes->insert(bytes->begin(), static_cast<std::uint8_t>(3 + bytes->size()));
    if (*at + 2 + bytes->size() > 0x100) return wrong();
    identity.vendor_capabilities.push_back({.at = static_cast<std::uint8_t>(*at),
                                            .bytes = std::move(*bytes),
                                            .id = static_cast<std::uint8_t>(*id)});
    return {};
}

Checked<void> take_extended(Identity& identity, std::string_view value)
{
    auto const pieces = split(value, ':');
    auto const wrong = [&] {
        return refuse(
            "extcap={}: say where it is (0x100 to 0xffc, a multiple of 4), its id (2 to 0x2e) and "
            "its bytes, to the end of 0xfff, as in 0x100:0x03:0011223344556677",
            value);
    };
    if (pieces.size() != 3) return wrong();
    auto const at = parse_number(pieces[0]), id = parse_number(pieces[1]);
    auto bytes = parse_bytes(pieces[2]);
    if (!at || *at < 0x100 || *at % 4 != 0 || !id || *id <= kErrorReporting ||
        *id > kLastExtendedId || !bytes || *at + 4 + bytes->size() > 0x1000)
        return wrong();
    identity.extended_capabilities.push_back({.at = static_cast<std::uint16_t>(*at),
                                              .id = static_cast<std::uint16_t>(*id),
                                              .bytes = std::move(*bytes)});
    return {};
}

Checked<void> check_capabilities(Identity const& identity)
{
    if (auto apart = check_apart("cap", identity.vendor_capabilities); !apart) return apart;
    auto const& extended = identity.extended_capabilities;
    if (extended.empty()) return {};
    if (!identity.pci_express) return refuse("extcap: only a device of PCI Express has them");
    if (!identity.error_reporting && extended.front().at != 0x100)
        return refuse("extcap: the first is at 0x100, where a list of them begins");
    for (auto const& one : extended)
        if (identity.error_reporting && one.at < kErrorReportingEnd)
            return refuse("extcap: Advanced Error Reporting is there to {:#x}", kErrorReportingEnd);
    return check_apart("extcap", extended);
}

}  // namespace pinfold::devices
