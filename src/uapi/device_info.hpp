// The three questions that describe a device: VFIO_DEVICE_GET_INFO, GET_REGION_INFO and
// GET_IRQ_INFO. Rules V-3 to V-8. Stateless.
#pragma once

#include <cstdint>

#include "base/kernel.hpp"
#include "pci/function.hpp"
#include "uapi/call.hpp"

namespace pinfold::uapi {

// The offset of a region in the device file (rule V-1).
inline constexpr unsigned kRegionShift = 40;
constexpr std::uint64_t region_offset(unsigned index)
{
    return std::uint64_t{index} << kRegionShift;
}

// All: EFAULT: `arg` is not accessible. EINVAL: argsz is too small, or there is no such index.
Reply device_get_info(Client& client, pci::Function const& function, Kernel kernel,
                      std::uint64_t arg);
Reply device_get_region_info(Client& client, pci::Function const& function, std::uint64_t arg);
Reply device_get_irq_info(Client& client, pci::Function const& function, Kernel kernel,
                          std::uint64_t arg);

}  // namespace pinfold::uapi
