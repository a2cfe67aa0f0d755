// The virtio network device as a model of the registry.
#pragma once

#include "pci/device.hpp"

namespace pinfold::devices::virtio_net {

pci::Model const& model();

}  // namespace pinfold::devices::virtio_net
