// The requests of a device file that reset it, put it to sleep, or tie a write to an eventfd.
// Stateless.
#pragma once

#include <cstdint>

#include "pci/function.hpp"
#include "uapi/call.hpp"

namespace pinfold::uapi {

// EINVAL: the function has no reset (rule V-14).
Reply device_reset(pci::Function& function);

// Rule V-22. ENOTTY: the feature is not supported; entering and leaving low power is.
Reply device_feature(Client& client, pci::Function& function, std::uint64_t arg);

// Rule V-13.
Reply device_ioeventfd(Client& client, pci::Function& function, std::uint64_t arg);

}  // namespace pinfold::uapi
