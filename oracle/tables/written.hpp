// The bit tables of the specifications, written down once more, one row per bit, and the encoders
// compared with them: every leaf size, everything that can be asked of a mapping, every bit of a
// paddr. Readers leave out what makes no difference to them (memory types, execution), and for some
// formats there is no reader.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pinfold::tables {

struct WrittenResult {
    char const* format;
    std::uint64_t words = 0;
    std::uint64_t differences = 0;
    std::string first_difference;
};

std::vector<WrittenResult> compare_with_written();

}  // namespace pinfold::tables
