// Who belongs to a run.
#pragma once

#include <filesystem>
#include <vector>

namespace pinfold::machine {

// The processes that were started by the run in `state` and have not ended, except this one: those
// in whose environment it stands, or that have a file of it open. Keepers are not among them.
std::vector<int> processes_of(std::filesystem::path const& state);

// Those that keep a machine of the run whose program has gone, for others.
std::vector<int> keepers_of(std::filesystem::path const& state);

}  // namespace pinfold::machine
