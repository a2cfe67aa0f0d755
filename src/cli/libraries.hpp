// Where the preloaded libraries are: beside the tool in a build, in ../lib/pinfold when installed.
#pragma once

#include <filesystem>
#include <string>

#include "machine/run_state.hpp"

namespace pinfold::cli {

struct Libraries {
    std::filesystem::path stub;    // libpinfold.so
    std::filesystem::path paths;   // libpinfold-paths.so
    std::filesystem::path engine;  // libpinfold-engine.so
};
// The sentence names what is missing.
machine::Checked<Libraries> find_libraries();

// LD_PRELOAD for a run: ours before `inherited`. nullptr: the user has none.
std::string preload_list(Libraries const& libraries, machine::RunState::Mode mode,
                         char const* inherited);

}  // namespace pinfold::cli
