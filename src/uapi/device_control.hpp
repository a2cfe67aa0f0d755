// The requests of a device file that reset it, and those that we have not: they answer as a kernel
// without the feature, after the checks of form that come first there. Stateless.
#pragma once

#include <cstdint>

#include "pci/function.hpp"
#include "uapi/call.hpp"

namespace pinfold::uapi {

// EINVAL: the function has no reset (rule V-14).
Reply device_reset(pci::Function& function);

// Rules V-15 and V-16. ENODEV: functions are on the root bus, where nothing resets a slot or bus.
Reply device_get_hot_reset_info(Client& client, std::uint64_t arg);
Reply device_hot_reset(Client& client, std::uint64_t arg);

// Rule V-22. ENOTTY: no feature is supported.
Reply device_feature(Client& client, std::uint64_t arg);

}  // namespace pinfold::uapi
