// The NVMe controller as a model that the registry knows by name.
#pragma once

#include <vector>

#include "base/unique_fd.hpp"
#include "pci/device.hpp"

namespace pinfold::devices::nvme {

pci::Model const& model();

// Locks every disk that `spec` names, for as long as the descriptors live: what Model::check() does
// for a moment, for whoever starts the run to keep.
pci::Checked<std::vector<UniqueFd>> lock_disks(pci::DeviceSpec const& spec);

}  // namespace pinfold::devices::nvme
