// Machines by name. Each is a row of the table at the end and a function that fills a Description.
#include "machine/description.hpp"

namespace pinfold::machine {

namespace {

using iommu::Model;
using iommu::ReservedRegion;
using iommu::ReservedType;

constexpr ReservedRegion reserved(std::uint64_t start, std::uint64_t last, ReservedType type)
{
    return {IovaRange{Iova{start}, Iova{last}}, type};
}

// What an x86 interrupt controller takes out of every device's address space, and what
// HyperTransport takes on AMD's (rule I-16).
constexpr auto kX86Msi = reserved(0xfee0'0000, 0xfeef'ffff, ReservedType::msi);
constexpr auto kHyperTransport = reserved(0xfd'0000'0000, 0xff'ffff'ffff, ReservedType::reserved);
// Where Linux maps an Arm machine's MSI doorbell, and where a virtio-iommu says that it is.
constexpr auto kArmMsi = reserved(0x800'0000, 0x80f'ffff, ReservedType::sw_msi);
constexpr auto kVirtioMsi = reserved(0x809'0000, 0x809'ffff, ReservedType::msi);

struct Row {
    std::string_view name;
    PageSize host_page;
    Model model;
    std::uint64_t page_sizes;  // of the unit; a driver may use only some of them
    unsigned address_width;
    std::vector<ReservedRegion> reserved;
};

Description machine_of(Row row)
{
    Description machine;
    machine.name = row.name;
    machine.host.page_size = row.host_page;
    machine.iommu.model = row.model;
    machine.iommu.page_sizes = PageSizes{row.page_sizes};
    machine.iommu.address_width = row.address_width;
    machine.iommu.reserved = std::move(row.reserved);
    // QEMU's intel-iommu has no snoop control unless it is asked for; AMD's coherency is always on.
    machine.iommu.enforces_coherency = row.model == Model::amdvi;
    return machine;
}

constexpr std::uint64_t kVtdPages = 0x4020'1000;            // 4K, 2M, 1G
constexpr std::uint64_t kAmdPages = 0xffff'ff7f'ffff'f000;  // all from 4K up but 512G
constexpr std::uint64_t kSmmuPages = 0x6221'5000;  // the granules 4K, 16K and 64K with their blocks
constexpr std::uint64_t kAllPages = 0xffff'ffff'ffff'f000;  // all from 4K up

Description vtd() { return machine_of({"vtd", k4K, Model::vtd, kVtdPages, 39, {kX86Msi}}); }
Description vtd_48() { return machine_of({"vtd-48", k4K, Model::vtd, kVtdPages, 48, {kX86Msi}}); }
Description amdvi()
{
    // Drivers before 7.3 do not look at the width, and have 64 bits.
    return machine_of({"amdvi", k4K, Model::amdvi, kAmdPages, 48, {kX86Msi, kHyperTransport}});
}
Description arm64_4k()
{
    return machine_of({"arm64-4k", k4K, Model::smmuv3, kSmmuPages, 48, {kArmMsi}});
}
Description arm64_16k()
{
    return machine_of({"arm64-16k", k16K, Model::smmuv3, kSmmuPages, 47, {kArmMsi}});
}
Description arm64_64k()
{
    return machine_of({"arm64-64k", k64K, Model::smmuv3, kSmmuPages, 42, {kArmMsi}});
}
Description arm64_64k_48()
{
    return machine_of({"arm64-64k-48", k64K, Model::smmuv3, kSmmuPages, 48, {kArmMsi}});
}
Description arm64_64k_iommu4k()
{
    return machine_of({"arm64-64k-iommu4k", k64K, Model::smmuv3, kVtdPages, 42, {kArmMsi}});
}
Description arm64_64k_virtio()
{
    return machine_of({"arm64-64k-virtio", k64K, Model::virtio, kAllPages, 64, {kVirtioMsi}});
}

constexpr Preset kPresets[] = {
    {"vtd", "4K host, Intel VT-d as QEMU's intel-iommu has it: 39 bits; 4K, 2M and 1G pages", vtd},
    {"vtd-48", "the same with 48 bits", vtd_48},
    {"amdvi", "4K host, AMD-Vi (v1 tables): 48 bits, every power of two from 4K up but 512G",
     amdvi},
    {"arm64-4k", "4K host, Arm SMMUv3: 48 bits; 4K, 2M and 1G pages", arm64_4k},
    {"arm64-16k", "16K host, Arm SMMUv3: 47 bits; 16K and 32M pages", arm64_16k},
    {"arm64-64k", "64K host, Arm SMMUv3: 42 bits; 64K and 512M pages", arm64_64k},
    {"arm64-64k-48", "the same with 48 bits", arm64_64k_48},
    {"arm64-64k-iommu4k", "64K host whose SMMUv3 has no 64K pages: 42 bits; 4K, 2M and 1G pages",
     arm64_64k_iommu4k},
    {"arm64-64k-virtio", "64K host, virtio-iommu: 64 bits, every power of two from 4K up",
     arm64_64k_virtio},
};

}  // namespace

std::span<Preset const> presets() { return kPresets; }

}  // namespace pinfold::machine
