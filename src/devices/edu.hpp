// The DMA teaching device that QEMU also has (docs/specs/edu there): vendor 1234, device 11e8, the
// same registers, so that one program runs on both. Differences:
//   - a factorial or a transfer is over when the write that starts it returns, so its `computing`
//     and `run` bits are never seen set (QEMU takes 100 ms for a transfer);
//   - a transfer that does not fit the device's buffer moves nothing and ends as any other (QEMU
//     ends itself).
// As there, it is a conventional function: no power management, no reset; what it holds survives
// the client.
#pragma once

#include "pci/device.hpp"

namespace pinfold::devices {

// Setting `dma_mask`: the address bits that its DMA can drive; 28 of them by default.
pci::Model const& edu_model();

}  // namespace pinfold::devices
