// What the engine has to tell the person in front of the run: lines in <state>/log, which the
// launcher prints when the program has ended. Nothing here writes to the client's own output.
// Thread safe, async-signal-safe.
#pragma once

#include <string_view>

namespace pinfold::preload {

// The log of the run whose state directory this is; a second call changes nothing. An unreachable
// file means that nothing is logged. REQUIRES: descriptors are hidden already, or what the program
// does to its own would reach the log, and the log would be a file of the program's.
void open_log(char const* state_directory);

void log_line(std::string_view line);

}  // namespace pinfold::preload
