// What the engine has to tell the person in front of the run: lines in <state>/log, which the
// launcher prints when the program has ended. Nothing here writes to the client's own output.
// Thread safe, async-signal-safe.
#pragma once

#include <string_view>

namespace pinfold::preload {

// REQUIRES: once, before anything is logged. An unreachable file means that nothing is logged.
void open_log(int state_directory);

void log_line(std::string_view line);

}  // namespace pinfold::preload
