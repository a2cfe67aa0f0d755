// The locks on the files behind a machine's devices, for whoever starts a run to hold: the client
// may fork, exec or be killed, and the file is busy for as long as the run goes on.
#pragma once

#include <vector>

#include "base/unique_fd.hpp"
#include "machine/description.hpp"

namespace pinfold::machine {

// One descriptor for each lock. The sentence names the device and the file that is busy.
Checked<std::vector<UniqueFd>> lock_disks(Description const& machine);

}  // namespace pinfold::machine
