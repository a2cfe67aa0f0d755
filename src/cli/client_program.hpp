// The program that a run starts: found as execvp(3) finds it, and looked at before it runs, because
// a program that ignores LD_PRELOAD would run on without Pinfold and say so to nobody.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "machine/description.hpp"

namespace pinfold::cli {

// The path to hand to execv(2) for `name`. The sentence says why it cannot be run under Pinfold:
// missing, not executable, not a dynamically linked program of this architecture, or one that gains
// privileges (setuid, setgid, file capabilities). A script is judged by its interpreter.
machine::Checked<std::string> find_program(std::string_view name);

// Whether the program at `path` is linked with a library whose name begins like this.
bool needs_library(std::string const& path, std::string_view name);

}  // namespace pinfold::cli
