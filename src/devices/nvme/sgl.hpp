// Where a command's data is, from a Scatter Gather List: 4.4.
#pragma once

#include <cstdint>
#include <vector>

#include "devices/nvme/status.hpp"
#include "pci/dma_port.hpp"

namespace pinfold::devices::nvme {

// SGL1 is `address` and `rest`, in the place of PRP1 and PRP2. Data blocks, segments and last
// segments are taken; the list describes exactly `size` bytes. Empty blocks are left out of
// `pieces`.
Status walk_sgl(pci::DmaPort& port, std::uint64_t address, std::uint64_t rest, std::uint64_t size,
                std::vector<pci::DmaPiece>& pieces);

}  // namespace pinfold::devices::nvme
