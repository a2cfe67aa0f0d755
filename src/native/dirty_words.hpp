// Moves bits of a dirty bitmap to where they were asked for, by the widest vectors that the
// processor has.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace pinfold::native {

// into |= from, and from = 0, `count` words of each. REQUIRES: a multiple of 8, and no overlap.
using MoveWords = void (*)(std::uint64_t* from, std::uint64_t* into, std::size_t count);
// By each width that this processor has, the widest last.
std::span<MoveWords const> moves_of_words();

}  // namespace pinfold::native
