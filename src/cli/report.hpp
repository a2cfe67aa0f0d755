// The page that --report prints, and the hints that are printed without being asked for.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "machine/counters.hpp"

namespace pinfold::cli {

struct RunOutcome {
    std::string program;
    std::string machine;
    double seconds = 0;
    int status = 0;  // wait status
    std::vector<machine::Counters> engines;
};

enum class Colour : bool { no, yes };

std::string report(RunOutcome const& outcome, Colour colour);

// A sentence where the program failed and had been refused locked memory.
std::optional<std::string> memlock_hint(RunOutcome const& outcome);

// "8.3 MiB", "512 bytes"
std::string bytes_text(std::uint64_t bytes);
// "1,234,567"
std::string count_text(std::uint64_t count);

}  // namespace pinfold::cli
