// VFIO_DEVICE_SET_IRQS: its checks of form, in their order (rule V-9); what is asked is the
// function's to answer (rules V-10 to V-12). Stateless.
#pragma once

#include <cstdint>

#include "base/kernel.hpp"
#include "pci/function.hpp"
#include "uapi/call.hpp"

namespace pinfold::uapi {

// How many interrupts an index has, as far as this kernel tells (rule V-8).
unsigned irq_count(pci::Function const& function, pci::IrqIndex index, Kernel kernel);

// EFAULT, EINVAL: as rule V-9 says. ENOTTY: not exactly one action, or one that the index lacks.
Reply device_set_irqs(Client& client, pci::Function& function, Kernel kernel, std::uint64_t arg);

}  // namespace pinfold::uapi
