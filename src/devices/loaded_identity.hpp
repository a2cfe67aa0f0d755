// The identity that a device in a shared object gives itself.
#pragma once

#include "pci/device.hpp"
#include "pinfold/device_abi.h"

namespace pinfold::devices {

// The sentence says what no PCI function can be.
pci::Checked<pci::Identity> identity_from(pinfold_identity const& from);

}  // namespace pinfold::devices
