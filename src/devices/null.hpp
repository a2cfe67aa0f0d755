// A device that does nothing: BARs, capabilities and interrupts as they are asked for, for tests
// and measurements. Its BARs keep what is written to them, and that is all.
#pragma once

#include "pci/device.hpp"

namespace pinfold::devices {

// Settings: `barN`, `msi`, `msix`, `intx`, `express`, `aer`, `vendor`, `device`, `class`,
// `revision`, `cap`.
pci::Model const& null_model();

}  // namespace pinfold::devices
