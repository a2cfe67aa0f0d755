// Starts the client: a child that enters the namespace, leaves word of how nodes are recognised,
// and becomes the program.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

#include "cli/libraries.hpp"
#include "cli/supervise.hpp"
#include "machine/face.hpp"
#include "machine/run_state.hpp"

namespace pinfold::cli {

struct Launch {
    std::filesystem::path state;
    machine::Description machine;
    std::vector<machine::Face> faces;
    Libraries libraries;
    host::LockCap lock_cap = host::LockCap::no;
    std::string program;                 // for execv(2)
    std::vector<std::string> arguments;  // argv, the name as the user gave it first
};

// Why there is no client. `refused`: only the namespace could not be had, and another attempt with
// Mode::paths may do.
struct LaunchFailure {
    std::string sentence;
    bool refused = false;
};

// The client's process id once it runs the program.
std::expected<pid_t, LaunchFailure> launch(Launch const& what, machine::RunState::Mode mode,
                                           SignalGate const& gate);

}  // namespace pinfold::cli
