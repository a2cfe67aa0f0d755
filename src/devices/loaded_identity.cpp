#include "devices/loaded_identity.hpp"

#include <fmt/format.h>

#include <bit>
#include <span>

namespace pinfold::devices {
namespace {

using pci::Bar;
using pci::Checked;

constexpr std::uint64_t kPageBytes = 4096, kLargestBar = std::uint64_t{1} << 36;

Checked<Bar> bar_from(pinfold_bar const& from, std::size_t index)
{
    auto const refuse = [&](std::string_view why) {
        return std::unexpected{fmt::format("its BAR {} {}", index, why)};
    };
    Bar bar{.kind = Bar::Kind::none, .size = from.size, .pages = {}};
    switch (from.kind) {
        case PINFOLD_BAR_NONE: return Bar{};
        case PINFOLD_BAR_MEMORY32: bar.kind = Bar::Kind::memory32; break;
        case PINFOLD_BAR_MEMORY64: bar.kind = Bar::Kind::memory64; break;
        case PINFOLD_BAR_IO: bar.kind = Bar::Kind::io; break;
        default: return refuse("is of no kind that there is");
    }
    bool const is_io = bar.kind == Bar::Kind::io;
    if (!std::has_single_bit(bar.size)) return refuse("is not a power of two in size");
    if (bar.size > kLargestBar) return refuse("is more than 64 GiB");
    if (is_io ? bar.size < 4 || bar.size > 256 : bar.size < kPageBytes)
        return refuse(is_io ? "is not 4 to 256 bytes of I/O" : "is less than 4 KiB of memory");
    if (from.pages_count > bar.size / kPageBytes) return refuse("has more pages than fit into it");
    for (auto const page : std::span{from.pages, from.pages_count})
        bar.pages.push_back(page == 1 ? pci::PageKind::readable : pci::PageKind::trapped);
    bar.prefetchable = from.prefetchable != 0;
    return bar;
}

bool fits(Bar const& bar, std::uint64_t offset, std::uint64_t size)
{
    bool const memory = bar.kind == Bar::Kind::memory32 || bar.kind == Bar::Kind::memory64;
    return memory && offset % 8 == 0 && offset <= bar.size && size <= bar.size - offset;
}

Checked<void> check_msix(pci::Identity const& identity)
{
    auto const& msix = identity.msix;
    if (msix.vectors == 0) return {};
    std::uint64_t const table = msix.vectors * std::uint64_t{16},
                        pending = (msix.vectors + 63) / 64 * std::uint64_t{8};
    bool const good = msix.vectors <= 2048 && msix.bar < identity.bars.size() &&
                      fits(identity.bars[msix.bar], msix.table_offset, table) &&
                      fits(identity.bars[msix.bar], msix.pba_offset, pending);
    if (!good) return std::unexpected{"its MSI-X table or pending bits do not lie in a memory BAR"};
    bool const apart = msix.table_offset + table <= msix.pba_offset ||
                       msix.pba_offset + pending <= msix.table_offset;
    if (!apart) return std::unexpected{"its MSI-X table and pending bits overlap"};
    return {};
}

}  // namespace

Checked<pci::Identity> identity_from(pinfold_identity const& from)
{
    pci::Identity identity{.vendor = from.vendor,
                           .device = from.device,
                           .subsystem_vendor = from.subsystem_vendor,
                           .subsystem = from.subsystem,
                           .revision = from.revision,
                           .class_code = from.class_code & 0xffffff,
                           .interrupt_pin = from.interrupt_pin,
                           .msi_vectors = from.msi_vectors,
                           .msix = {.vectors = from.msix_vectors,
                                    .bar = from.msix_bar,
                                    .table_offset = from.msix_table,
                                    .pba_offset = from.msix_pending},
                           .pci_express = from.pci_express != 0,
                           .bars = {}};
    if (from.interrupt_pin > 1) return std::unexpected{"its interrupt pin is neither 0 nor 1"};
    if (from.msi_vectors > 32 || (from.msi_vectors != 0 && !std::has_single_bit(from.msi_vectors)))
        return std::unexpected{"its MSI vectors are not 0 or a power of two up to 32"};
    for (std::size_t i = 0; i < identity.bars.size(); ++i) {
        auto bar = bar_from(from.bars[i], i);
        if (!bar) return std::unexpected{bar.error()};
        identity.bars[i] = std::move(*bar);
        bool const upper = i > 0 && identity.bars[i - 1].kind == Bar::Kind::memory64;
        if (upper && identity.bars[i].kind != Bar::Kind::none)
            return std::unexpected{
                fmt::format("its BAR {} is the upper half of one of 64 bits", i)};
    }
    if (identity.bars[5].kind == Bar::Kind::memory64)
        return std::unexpected{"its BAR 5 has 64 bits, and no place for the upper half"};
    if (auto const fine = check_msix(identity); !fine) return std::unexpected{fine.error()};
    return identity;
}

}  // namespace pinfold::devices
