// A run whose program has ended while others of it live on: a daemon. Its files stay for them.
#pragma once

#include <filesystem>
#include <vector>

#include "base/unique_fd.hpp"

namespace pinfold::cli {

// A keeper (machine/run_processes.hpp) ends a moment after the last that it keeps a machine for,
// and what it counts is then complete. Returns at once where others of the run live on.
void await_keepers(std::filesystem::path const& state);

// Goes on in a process of its own, out of the user's sight, until none is left; it then removes
// `state`, and `locks` end with it. False: there is none, or no process can be made for it; then
// nothing happens.
bool linger(std::filesystem::path const& state, std::vector<UniqueFd> const& locks);

}  // namespace pinfold::cli
