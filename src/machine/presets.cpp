// Machines by name. Each is a row of the table at the end and a function that fills a Description.
#include "machine/description.hpp"

namespace pinfold::machine {

namespace {

// What an x86 interrupt controller takes out of every device's address space (rule I-16).
constexpr iommu::ReservedRegion kX86Msi{IovaRange{Iova{0xfee0'0000}, Iova{0xfeef'ffff}},
                                        iommu::ReservedType::msi};

// QEMU's intel-iommu under a 4K kernel: 39 bits, IOVA ranges 0-0xfedfffff and
// 0xfef00000-0x7fffffffff.
Description vtd()
{
    Description machine;
    machine.name = "vtd";
    machine.host.page_size = k4K;
    machine.iommu.model = iommu::Model::vtd;
    machine.iommu.page_sizes = PageSizes{0x4020'1000};
    machine.iommu.address_width = 39;
    machine.iommu.reserved = {kX86Msi};
    return machine;
}

constexpr Preset kPresets[] = {
    {"vtd", "4K host, Intel VT-d as QEMU's intel-iommu has it: 39 bits, 4K, 2M and 1G pages", vtd},
};

}  // namespace

std::span<Preset const> presets() { return kPresets; }

}  // namespace pinfold::machine
