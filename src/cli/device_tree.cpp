#include "cli/device_tree.hpp"

#include <fmt/format.h>

#include <map>
#include <set>

#include "cli/driver_tree.hpp"
#include "cli/tree_writer.hpp"
#include "machine/drivers.h"
#include "machine/run_names.h"
#include "machine/run_state.hpp"
#include "machine/words.hpp"

namespace pinfold::cli {

namespace {

using machine::Bdf;
using machine::Description;
using machine::Face;
namespace fs = std::filesystem;

constexpr char kPciDevices[] = "/sys/bus/pci/devices";
constexpr char kGroups[] = "/sys/kernel/iommu_groups";
constexpr char kModule[] = "/sys/module";
constexpr mode_t kWriteOnly = 0200;
constexpr mode_t kReadWrite = 0644;

// "resource": start, end and flags (linux/ioport.h) of BARs 0-5, the ROM, and what an endpoint has
// not: the six BARs of its virtual functions.
std::string resource_table(Face const& face)
{
    constexpr std::uint64_t kIo = 0x40101;         // IO | SIZEALIGN | PCI
    constexpr std::uint64_t kMemory32 = 0x40200;   // MEM | SIZEALIGN
    constexpr std::uint64_t kMemory64 = 0x140204;  // MEM_64 | MEM | SIZEALIGN | PCI
    constexpr std::uint64_t kPrefetch = 0x2008;    // PREFETCH, and the BAR's own bit
    constexpr unsigned kLines = 13;
    std::string table;
    for (unsigned i = 0; i < kLines; ++i) {
        auto const kind = i < 6 ? face.identity.bars[i].kind : pci::Bar::Kind::none;
        if (kind == pci::Bar::Kind::none) {
            table += fmt::format("{:#018x} {:#018x} {:#018x}\n", 0, 0, 0);
            continue;
        }
        auto const start = face.bar_addresses[i];
        auto const flags = kind == pci::Bar::Kind::io         ? kIo
                           : kind == pci::Bar::Kind::memory32 ? kMemory32
                                                              : kMemory64;
        auto const& bar = face.identity.bars[i];
        table += fmt::format("{:#018x} {:#018x} {:#018x}\n", start, start + bar.size - 1,
                             bar.prefetchable ? flags | kPrefetch : flags);
    }
    return table;
}

std::string modalias(pci::Identity const& id)
{
    return fmt::format("pci:v{:08X}d{:08X}sv{:08X}sd{:08X}bc{:02X}sc{:02X}i{:02X}\n", id.vendor,
                       id.device, id.subsystem_vendor, id.subsystem, id.class_code >> 16 & 0xff,
                       id.class_code >> 8 & 0xff, id.class_code & 0xff);
}

std::string uevent(Face const& face)
{
    auto const& id = face.identity;
    auto const* const driver = first_driver(face);
    return fmt::format(
        "{}PCI_CLASS={:X}\nPCI_ID={:04X}:{:04X}\n"
        "PCI_SUBSYS_ID={:04X}:{:04X}\nPCI_SLOT_NAME={}\nMODALIAS={}",
        driver != nullptr ? fmt::format("DRIVER={}\n", driver->name) : "", id.class_code, id.vendor,
        id.device, id.subsystem_vendor, id.subsystem, face.bdf.text(), modalias(id));
}

void write_device(TreeWriter& tree, Face const& face)
{
    auto const directory = device_directory(face.bdf);
    auto const& id = face.identity;
    tree.file(directory / "vendor", fmt::format("{:#06x}\n", id.vendor));
    tree.file(directory / "device", fmt::format("{:#06x}\n", id.device));
    tree.file(directory / "subsystem_vendor", fmt::format("{:#06x}\n", id.subsystem_vendor));
    tree.file(directory / "subsystem_device", fmt::format("{:#06x}\n", id.subsystem));
    tree.file(directory / "class", fmt::format("{:#08x}\n", id.class_code));
    tree.file(directory / "revision", fmt::format("{:#04x}\n", id.revision));
    tree.file(directory / "resource", resource_table(face));
    tree.file(directory / "modalias", modalias(id));
    tree.file(directory / "uevent", uevent(face), kReadWrite);
    tree.file(directory / "config",
              {reinterpret_cast<char const*>(face.config.data()), face.config.size()}, kReadWrite);
    tree.file(directory / "irq", "0\n");
    tree.file(directory / "numa_node", "-1\n", kReadWrite);
    tree.file(directory / "enable", "0\n", kReadWrite);
    tree.file(directory / "dma_mask_bits", "32\n");
    tree.file(directory / "consistent_dma_mask_bits", "32\n");
    tree.file(directory / "power_state", "D0\n");
    tree.file(directory / "d3cold_allowed", "1\n", kReadWrite);
    tree.file(directory / "broken_parity_status", "0\n", kReadWrite);
    tree.file(directory / "msi_bus", "1\n", kReadWrite);
    tree.file(directory / "ari_enabled", "0\n");
    tree.file(directory / "reset", "", kWriteOnly);
    tree.file(directory / "rescan", "", kWriteOnly);
    tree.file(directory / "remove", "", kWriteOnly);
    tree.link(directory / "subsystem", "../../../../bus/pci");
    tree.link(directory / "iommu_group",
              fmt::format("../../../../kernel/iommu_groups/{}", face.group));
    write_binding(tree, face);

    tree.link(fs::path{kPciDevices} / face.bdf.text(), link_to_device(3, face.bdf));
}

// The kernel shows software-mapped MSI regions as "msi" too.
std::string reserved_regions(std::span<iommu::ReservedRegion const> regions)
{
    std::string lines;
    for (auto const& region : regions) {
        auto const type =
            region.type == iommu::ReservedType::sw_msi ? iommu::ReservedType::msi : region.type;
        lines +=
            fmt::format("{:#018x} {:#018x} {}\n", region.range.start.raw(), region.range.last.raw(),
                        machine::word_of(machine::kReservedWords, type));
    }
    return lines;
}

// The name of the unit that a group is behind; a group's devices are all behind the same.
std::string_view iommu_behind(Description const& machine, unsigned group,
                              std::span<Face const> faces)
{
    for (auto const& entry : machine.devices)
        for (auto const& face : faces)
            if (face.group == group && face.bdf == entry.bdf) return entry.iommu;
    return {};
}

void write_group(TreeWriter& tree, Description const& machine, unsigned group,
                 std::span<Face const> faces)
{
    auto const directory = fs::path{kGroups} / fmt::format("{}", group);
    tree.file(directory / "type", "DMA\n", kReadWrite);
    auto const unit = machine::iommu_of(machine, iommu_behind(machine, group, faces));
    tree.file(directory / "reserved_regions", reserved_regions(unit.reserved));
    for (auto const& face : faces)
        if (face.group == group)
            tree.link(directory / "devices" / face.bdf.text(), link_to_device(4, face.bdf));
    tree.file(fs::path{PINFOLD_NODE_DIR} / fmt::format("{}", group), "", 0666);
}

std::vector<std::string> module_names()
{
    std::vector<std::string> names{"vfio", "vfio_iommu_type1"};
    for (auto const& driver : kPinfoldDrivers) names.emplace_back(driver.module);
    return names;
}

std::string_view yes_no(bool value) { return value ? "Y\n" : "N\n"; }

void write_modules(TreeWriter& tree, Description const& machine)
{
    fs::path const modules{kModule};
    for (auto const& module : module_names()) {
        tree.file(modules / module / "initstate", "live\n");
        tree.file(modules / module / "refcnt", "1\n");
    }
    tree.file(modules / "vfio/parameters/enable_unsafe_noiommu_mode", "N\n", kReadWrite);
    auto const pci = modules / "vfio_pci/parameters";
    for (auto const* const flag :
         {"nointxmask", "disable_vga", "disable_idle_d3", "enable_sriov", "disable_denylist"})
        tree.file(pci / flag, "N\n");
    tree.file(pci / "ids", "\n");
    auto const type1 = modules / "vfio_iommu_type1/parameters";
    tree.file(type1 / "dma_entry_limit", fmt::format("{}\n", machine.dma_entry_limit), kReadWrite);
    tree.file(type1 / "allow_unsafe_interrupts", yes_no(machine.allow_unsafe_interrupts),
              kReadWrite);
    tree.file(type1 / "disable_hugepages", yes_no(machine.disable_hugepages), kReadWrite);
}

}  // namespace

fs::path device_directory(Bdf bdf) { return machine::tree_directory(bdf); }

fs::path link_to_device(unsigned depth, Bdf bdf)
{
    fs::path target;
    for (unsigned i = 0; i < depth; ++i) target /= "..";
    return target / device_directory(bdf).lexically_relative("/sys");
}

std::vector<fs::path> tree_directories()
{
    std::vector<fs::path> all{PINFOLD_NODE_DIR, kPciBus, kGroups, PINFOLD_SYS_DEVICES};
    for (auto const& module : module_names()) all.push_back(fs::path{kModule} / module);
    return all;
}

machine::Checked<void> write_tree(fs::path const& state, Description const& machine,
                                  std::span<Face const> faces)
{
    TreeWriter tree{state / PINFOLD_DIR_ROOT};
    std::set<unsigned> groups;
    for (auto const& directory : tree_directories()) tree.directory(directory);
    for (auto const& face : faces) {
        write_device(tree, face);
        groups.insert(face.group);
    }
    for (auto const group : groups) write_group(tree, machine, group, faces);
    tree.file(fs::path{PINFOLD_NODE_DIR} / PINFOLD_NODE_CONTAINER, "", 0666);
    write_pci_bus(tree);
    write_modules(tree, machine);
    return tree.result();
}

machine::Checked<void> add_hosts_modules(fs::path const& state)
{
    TreeWriter tree{state / PINFOLD_DIR_ROOT};
    std::error_code error;
    for (fs::directory_iterator entry{kModule, error}, end; !error && entry != end;
         entry.increment(error)) {
        std::error_code unused;
        auto const mirror = fs::symlink_status(machine::mirrored(state, entry->path()), unused);
        if (!fs::exists(mirror)) tree.link(entry->path(), entry->path());
    }
    return tree.result();
}

machine::Checked<void> write_device_files(fs::path const& state, std::span<Face const> faces)
{
    TreeWriter devices{state};
    devices.directory(PINFOLD_DIR_DEVICES);
    for (auto const& face : faces)
        devices.file(fs::path{PINFOLD_DIR_DEVICES} / face.bdf.text(), "", 0666);
    return devices.result();
}

}  // namespace pinfold::cli
