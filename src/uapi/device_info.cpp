#include "uapi/device_info.hpp"

#include <linux/vfio.h>

#include <algorithm>

#include "uapi/device_irqs.hpp"
#include "uapi/user_memory.hpp"

namespace pinfold::uapi {
namespace {

// struct vfio_device_info as it has been since Linux 6.6, with its pad.
struct DeviceInfo {
    std::uint32_t argsz, flags, num_regions, num_irqs, cap_offset, pad;
};
constexpr std::size_t kDeviceInfoLeast = offsetof(DeviceInfo, cap_offset);
static_assert(offsetof(DeviceInfo, cap_offset) == offsetof(vfio_device_info, cap_offset));

static_assert(sizeof(vfio_region_info) == 32);
static_assert(sizeof(vfio_irq_info) == 16);

std::uint32_t region_flags(pci::Region const& region)
{
    std::uint32_t flags = 0;
    if (region.readable) flags |= VFIO_REGION_INFO_FLAG_READ;
    if (region.writable) flags |= VFIO_REGION_INFO_FLAG_WRITE;
    if (region.mappable) flags |= VFIO_REGION_INFO_FLAG_MMAP;
    return flags;
}

// How much of a DeviceInfo goes out: a kernel before 6.6 knows no pad, and writes a field or not.
std::size_t written(std::uint32_t argsz, Kernel kernel)
{
    if (kernel >= Kernel::v6_12) return std::min<std::size_t>(argsz, sizeof(DeviceInfo));
    return argsz < offsetof(DeviceInfo, pad) ? kDeviceInfoLeast : offsetof(DeviceInfo, pad);
}

// Rule V-5: says that the pages of the MSI-X table may be mapped too.
Result<> add_msix_mappable(Client& client, std::uint64_t arg, vfio_region_info& info)
{
    vfio_info_cap_header const capability{VFIO_REGION_INFO_CAP_MSIX_MAPPABLE, 1, 0};
    info.flags |= VFIO_REGION_INFO_FLAG_CAPS;
    if (info.argsz < sizeof info + sizeof capability) {
        info.argsz = sizeof info + sizeof capability;
        info.cap_offset = 0;
        return {};
    }
    TRY(write_user(client, arg + sizeof info, capability));
    info.cap_offset = sizeof info;
    return {};
}

}  // namespace

Reply device_get_info(Client& client, pci::Function const& function, Kernel kernel,
                      std::uint64_t arg)
{
    DeviceInfo info{};
    TRY(read_user(client, arg, info, kDeviceInfoLeast));
    if (info.argsz < kDeviceInfoLeast) return fail(Errno::inval);

    info.flags = VFIO_DEVICE_FLAGS_PCI;
    if (function.resettable()) info.flags |= VFIO_DEVICE_FLAGS_RESET;
    info.num_regions = pci::kRegions;
    info.num_irqs = pci::kIrqIndexes;
    TRY(write_user(client, arg, info, written(info.argsz, kernel)));
    return 0;
}

Reply device_get_region_info(Client& client, pci::Function const& function, std::uint64_t arg)
{
    vfio_region_info info;
    TRY(read_user(client, arg, info));
    if (info.argsz < sizeof info) return fail(Errno::inval);
    auto const region = function.region(info.index);
    if (!region) return fail(Errno::inval);

    info.flags = region_flags(*region);
    info.size = region->size;
    info.offset = region_offset(info.index);
    if (region->msix_table) TRY(add_msix_mappable(client, arg, info));
    TRY(write_user(client, arg, info));
    return 0;
}

// MSI-X can be resized while it is set up, where the device has it and the kernel can (rule V-23).
Reply device_get_irq_info(Client& client, pci::Function const& function, Kernel kernel,
                          std::uint64_t arg)
{
    vfio_irq_info info;
    TRY(read_user(client, arg, info));
    if (info.argsz < sizeof info || info.index >= pci::kIrqIndexes) return fail(Errno::inval);
    auto const index = static_cast<pci::IrqIndex>(info.index);
    unsigned const count = irq_count(function, index, kernel);
    if (index == pci::IrqIndex::err && count == 0) return fail(Errno::inval);

    info.flags = VFIO_IRQ_INFO_EVENTFD;
    info.count = count;
    if (index == pci::IrqIndex::intx)
        info.flags |= VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED;
    else if (index != pci::IrqIndex::msix || count == 0 || kernel < Kernel::v6_12)
        info.flags |= VFIO_IRQ_INFO_NORESIZE;
    TRY(write_user(client, arg, info));
    return 0;
}

}  // namespace pinfold::uapi
