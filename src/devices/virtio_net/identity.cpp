#include "devices/virtio_net/identity.hpp"

#include <cstring>
#include <vector>

namespace pinfold::devices::virtio_net {

namespace {

// struct virtio_pci_cap without id and link, 4.1.4.
struct [[gnu::packed]] Capability {
    std::uint8_t length, type, bar;
    std::array<std::uint8_t, 3> padding;
    std::uint32_t offset, size;
    std::uint32_t extra;  // of the last two kinds only
};
static_assert(sizeof(Capability) == 18);
constexpr std::uint8_t kShort = 16, kLong = 20;
enum Type : std::uint8_t { kCommon = 1, kNotify = 2, kIsr = 3, kDevice = 4, kWindow = 5 };
constexpr std::uint8_t kWindowAt = 0x84;

std::vector<std::uint8_t> bytes_of(Capability const& capability)
{
    std::vector<std::uint8_t> bytes(capability.length - std::size_t{2});
    std::memcpy(bytes.data(), &capability, bytes.size());
    return bytes;
}

pci::VendorCapability part(std::uint8_t at, std::uint8_t length, Type type, std::uint64_t offset,
                           std::uint32_t extra = 0)
{
    return {.at = at,
            .bytes = bytes_of({.length = length,
                               .type = type,
                               .bar = kModernBar,
                               .padding = {},
                               .offset = static_cast<std::uint32_t>(offset),
                               .size = static_cast<std::uint32_t>(kPartSize),
                               .extra = extra})};
}

// 4.1.4.7: a driver chooses BAR, offset and length, and finds or writes the data behind them.
pci::VendorCapability window()
{
    constexpr std::uint32_t kAll = 0xffff'ffff;
    return {.at = kWindowAt,
            .bytes = bytes_of({.length = kLong,
                               .type = kWindow,
                               .bar = 0,
                               .padding = {},
                               .offset = 0,
                               .size = 0,
                               .extra = 0}),
            .writable = bytes_of({.length = kLong,
                                  .type = 0,
                                  .bar = 0xff,
                                  .padding = {},
                                  .offset = kAll,
                                  .size = kAll,
                                  .extra = kAll})};
}

void add_modern(pci::Identity& identity)
{
    using enum pci::PageKind;
    identity.bars[kModernBar] = {.kind = pci::Bar::Kind::memory64,
                                 .size = 4 * kPartSize,
                                 .pages = {readable, trapped, readable, readable},
                                 .prefetchable = true};
    identity.vendor_capabilities = {
        window(), part(0x70, kLong, kNotify, kNotifyPage, kNotifyMultiplier),
        part(0x60, kShort, kDevice, kConfigPage), part(0x50, kShort, kIsr, kIsrPage),
        part(0x40, kShort, kCommon, kCommonPage)};
    identity.vendor_capabilities.front().writable.front() = 0;  // its own length
    identity.bar_window = kWindowAt;
    identity.msix.capability = 0x98;
}

}  // namespace

pci::Identity identity_of(Interface interface)
{
    bool const modern_only = interface == Interface::modern;
    pci::Identity identity{
        .vendor = 0x1af4,
        .device = static_cast<std::uint16_t>(modern_only ? 0x1041 : 0x1000),
        .subsystem_vendor = 0x1af4,
        .subsystem = static_cast<std::uint16_t>(modern_only ? 0x1100 : 0x0001),
        .revision = static_cast<std::uint8_t>(modern_only ? 1 : 0),
        .class_code = 0x020000,
        .interrupt_pin = 1,
        .msi_vectors = 0,
        .msix = {.vectors = kVectors, .bar = kMsixBar, .table_offset = 0, .pba_offset = 0x800},
        .pci_express = false,
        .bars = {}};
    if (!modern_only)
        identity.bars[kLegacyBar] = {.kind = pci::Bar::Kind::io, .size = 0x20, .pages = {}};
    identity.bars[kMsixBar] = {
        .kind = pci::Bar::Kind::memory32, .size = kPartSize, .pages = {pci::PageKind::readable}};
    if (interface != Interface::legacy) add_modern(identity);
    return identity;
}

}  // namespace pinfold::devices::virtio_net
