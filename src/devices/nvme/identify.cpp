#include "devices/nvme/identify.hpp"

#include <algorithm>

#include "devices/nvme/async_events.hpp"
#include "devices/nvme/features.hpp"
#include "devices/nvme/log_pages.hpp"
#include "devices/nvme/unique_name.hpp"
#include "devices/nvme/wire.hpp"

namespace pinfold::devices::nvme {

pci::Identity pci_identity(bool error_reporting)
{
    pci::Identity identity{.vendor = kVendor,
                           .device = kDevice,
                           .subsystem_vendor = kVendor,
                           .subsystem = kDevice,
                           .revision = 1,
                           .class_code = 0x01'0802,
                           .interrupt_pin = 1,
                           .msi_vectors = 0,
                           .msix = {.vectors = kVectors,
                                    .bar = 0,
                                    .table_offset = kMsixTable,
                                    .pba_offset = kMsixPending},
                           .pci_express = true,
                           .bars = {},
                           .error_reporting = error_reporting};
    identity.bars[0] = {.kind = pci::Bar::Kind::memory64,
                        .size = kBarSize,
                        .pages = {pci::PageKind::readable, pci::PageKind::readable}};
    return identity;
}

namespace {

void put_capabilities(DataPage& page)
{
    page.put(77, std::uint8_t{kMdts});
    page.put(80, kVersion);
    page.put(84, std::uint32_t{100'000});  // RTD3 resume and entry, microseconds
    page.put(88, std::uint32_t{100'000});
    page.put(111, std::uint8_t{1});                   // CNTRLTYPE: I/O controller
    page.put(256, std::uint16_t{1U << 1 | 1U << 8});  // OACS: Format NVM, Doorbell Buffer Config
    page.put(258, std::uint8_t{3});                   // ACL: Abort commands, 0's based
    page.put(259, static_cast<std::uint8_t>(AsyncEvents::kLimit - 1));
    page.put(260, std::uint8_t{0x03});  // FRMW: one slot, read-only
    page.put(261, std::uint8_t{0x06});  // LPA: commands supported, extended Get Log Page
    page.put(262, static_cast<std::uint8_t>(ErrorLog::kEntries - 1));
    page.put(320, kKeepAliveUnits);
    page.put(266, kWarningTemperature);
    page.put(268, kCriticalTemperature);
}

void put_command_set(DataPage& page, std::span<Namespace const> namespaces)
{
    constexpr std::uint16_t kCompare = 1, kDatasetManagement = 4, kWriteZeroes = 8,
                            kSelectFeatures = 16;
    page.put(512, std::uint8_t{0x66});  // SQES and CQES: 64 and 16 bytes
    page.put(513, std::uint8_t{0x44});
    page.put(516, static_cast<std::uint32_t>(namespaces.size()));
    page.put(520, static_cast<std::uint16_t>(kCompare | kDatasetManagement | kWriteZeroes |
                                             kSelectFeatures));
    page.put(536, std::uint32_t{1});      // SGLS: of any alignment
    page.put(525, std::uint8_t{0x07});    // VWC: present; Flush takes the broadcast NSID
    page.put(2048, std::uint16_t{2500});  // power state 0: 25 W at most
}

}  // namespace

DataPage identify_controller(std::string_view serial, std::span<Namespace const> namespaces)
{
    DataPage page;
    page.put(0, kVendor);
    page.put(2, kVendor);
    page.put_text(4, 20, serial);
    page.put_text(24, 40, kModel);
    page.put_text(64, 8, kFirmware);
    put_capabilities(page);
    put_command_set(page, namespaces);

    std::uint64_t capacity = 0;
    for (auto const& ns : namespaces) capacity += ns.blocks() << ns.block_lg2();
    page.put(280, capacity);
    auto const name = "nqn.2014-08.org.nvmexpress:uuid:" +
                      (namespaces.empty() ? std::string{} : uuid_text(namespaces[0].uuid()));
    page.put(768, std::as_bytes(std::span{name}));
    return page;
}

DataPage identify_namespace(Namespace const& ns)
{
    DataPage page;
    page.put(0, ns.blocks());  // NSZE, NCAP, NUSE
    page.put(8, ns.blocks());
    page.put(16, ns.blocks());
    page.put(25, static_cast<std::uint8_t>(kFormats.size() - 1));  // NLBAF
    page.put(26, static_cast<std::uint8_t>(std::ranges::find(kFormats, ns.block_lg2()) -
                                           kFormats.begin()));  // FLBAS
    page.put(33, std::uint8_t{0x09});  // DLFEAT: deallocated blocks read as zeros; Write Zeroes may
    page.put(48, ns.blocks() << ns.block_lg2());
    page.put(99, static_cast<std::uint8_t>(ns.read_only() ? 1 : 0));  // NSATTR
    page.put(104, std::as_bytes(std::span{ns.uuid()}));               // NGUID
    auto const eui64 = ns.eui64();
    page.put(120, std::as_bytes(std::span{eui64}));
    for (std::size_t i = 0; i < kFormats.size(); ++i)
        page.put(128 + 4 * i, static_cast<std::uint32_t>(kFormats[i] << 16));  // LBAF
    return page;
}

DataPage active_namespaces(std::span<Namespace const> namespaces, std::uint32_t after)
{
    DataPage page;
    std::size_t at = 0;
    for (auto const& ns : namespaces) {
        if (ns.id() <= after) continue;
        page.put(at, static_cast<std::uint32_t>(ns.id()));
        at += 4;
    }
    return page;
}

DataPage namespace_descriptors(Namespace const& ns)
{
    DataPage page;
    std::size_t at = 0;
    auto const add = [&](std::uint8_t type, std::span<std::byte const> id) {
        page.put(at, type);
        page.put(at + 1, static_cast<std::uint8_t>(id.size()));
        page.put(at + 4, id);
        at += 4 + id.size();
    };
    auto const eui64 = ns.eui64();
    add(1, std::as_bytes(std::span{eui64}));
    add(2, std::as_bytes(std::span{ns.uuid()}));
    add(3, std::as_bytes(std::span{ns.uuid()}));
    std::uint8_t const command_set = 0;  // NVM
    add(4, std::as_bytes(std::span{&command_set, 1}));
    return page;
}

DataPage command_sets()
{
    DataPage page;
    page.put(0, std::uint64_t{1});  // combination 0: NVM
    return page;
}

}  // namespace pinfold::devices::nvme
