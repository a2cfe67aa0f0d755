// Physical Region Pages, 4.3: how a command says where in memory its data is.
#pragma once

#include <cstdint>
#include <vector>

#include "devices/nvme/status.hpp"
#include "pci/dma_port.hpp"

namespace pinfold::devices::nvme {

// Puts into `pieces` the memory that `size` bytes from (prp1, prp2) on are in, reading PRP lists as
// far as the size needs. Prp_offset_invalid: an entry that is not where the rules allow;
// data_transfer_error: a list that could not be read. REQUIRES: size <= kMaxTransfer.
Status walk_prps(pci::DmaPort& port, unsigned page_lg2, std::uint64_t prp1, std::uint64_t prp2,
                 std::uint64_t size, std::vector<pci::DmaPiece>& pieces);

}  // namespace pinfold::devices::nvme
