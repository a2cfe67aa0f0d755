#include "devices/nvme/namespace.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <filesystem>

#include "devices/nvme/unique_name.hpp"

namespace pinfold::devices::nvme {
namespace {

// "410.2 MiB", "512 MiB", "0 B".
std::string bytes_text(std::uint64_t bytes)
{
    constexpr std::array<std::string_view, 5> kUnits{"B", "KiB", "MiB", "GiB", "TiB"};
    std::size_t unit = 0;
    auto scaled = static_cast<double>(bytes);
    while (scaled >= 1024 && unit + 1 < kUnits.size()) {
        scaled /= 1024;
        ++unit;
    }
    auto const whole = bytes % (std::uint64_t{1} << (10 * unit)) == 0;
    return whole ? fmt::format("{:.0f} {}", scaled, kUnits[unit])
                 : fmt::format("{:.1f} {}", scaled, kUnits[unit]);
}

}  // namespace

Namespace::Namespace(unsigned id, NamespaceSettings const& settings, Disk disk)
    : id_{id},
      block_lg2_{static_cast<unsigned>(std::countr_zero(settings.block_size))},
      disk_{std::move(disk)},
      file_name_{std::filesystem::path{settings.disk}.filename().string()},
      uuid_{unique_name(settings.disk, id)}
{
}

pci::Checked<Namespace> Namespace::open(unsigned id, NamespaceSettings const& settings)
{
    auto disk = Disk::open(settings.disk, settings.access);
    if (!disk) return std::unexpected{std::move(disk.error())};
    if (disk->size() < settings.block_size) {
        return std::unexpected{fmt::format("disk {}: is smaller than one block of {} bytes",
                                           settings.disk, settings.block_size)};
    }
    return Namespace{id, settings, std::move(*disk)};
}

Result<> Namespace::format(unsigned block_lg2, Disk::GoesOn goes_on)
{
    TRY(disk_.zero(0, disk_.size(), Disk::Space::deallocate, goes_on));
    TRY(disk_.flush());
    block_lg2_ = block_lg2;
    return {};
}

Status Namespace::check_range(std::uint64_t first, std::uint64_t count) const
{
    if (first > blocks() || count > blocks() - first) return Status::lba_out_of_range;
    return Status::success;
}

std::array<std::uint8_t, 8> Namespace::eui64() const
{
    std::array<std::uint8_t, 8> eui;
    std::copy_n(uuid_.begin() + 8, eui.size(), eui.begin());
    eui[0] = static_cast<std::uint8_t>((eui[0] & 0xfc) | 2);  // assigned locally, to one device
    return eui;
}

std::string Namespace::summary() const
{
    auto const forced =
        counters_.forced == 0 ? std::string{} : fmt::format(" ({} forced)", counters_.forced);
    return fmt::format("ns{} {} {}: {} reads {}, {} writes {}{}, {} flushes", id_, file_name_,
                       bytes_text(blocks() << block_lg2_), counters_.reads,
                       bytes_text(counters_.read_bytes), counters_.writes,
                       bytes_text(counters_.written_bytes), forced, counters_.flushes);
}

}  // namespace pinfold::devices::nvme
