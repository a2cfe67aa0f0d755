// Words with one bit changed: leaves of every size and tables of every level, each of their bits in
// turn. What the engine's own walk makes of the changed word is what the reader must make of it;
// and where that is something else than before, the comparison must have noticed.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "exam.hpp"

namespace pinfold::tables {

struct Mutations {
    std::size_t meaningful = 0;  // flips that change what the walk says
    std::size_t caught = 0;      // of those, by the reader
    std::size_t ignored = 0;     // flips of bits that must be zero, by readers that do not insist
    std::vector<std::string> troubles;
};

Mutations mutate(Subject& subject, Plan& plan, Exam& exam, Ram& ram, Reader const& reader,
                 std::uint64_t const (&settings)[8], Random& random);

}  // namespace pinfold::tables
