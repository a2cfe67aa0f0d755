// pinfold run.
#pragma once

#include "cli/options.hpp"

namespace pinfold::cli {

// Runs the program and ends this process as the program ended; comes back only with the sentence
// that says why it could not be started.
std::string run(RunOptions const& options);

}  // namespace pinfold::cli
