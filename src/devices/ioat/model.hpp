// Intel's I/OAT DMA engine (8086:2021, "CBDMA") with one channel.
#pragma once

#include "pci/device.hpp"

namespace pinfold::devices::ioat {

pci::Model const& model();

}  // namespace pinfold::devices::ioat
