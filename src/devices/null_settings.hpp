// The settings of the null device: each is a part of its face to the bus.
#pragma once

#include <span>

#include "pci/device.hpp"

namespace pinfold::devices {

pci::Checked<pci::Identity> null_identity(pci::DeviceSpec const& spec);
std::span<pci::Model::Option const> null_options();

}  // namespace pinfold::devices
