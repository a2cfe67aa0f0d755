// How the bits of an IOVA are divided among the tables of the index. Level 0 has pages in its
// slots. The whole 64 bits: 16 of windows, 18 of GiB, 9 of 2 MiB, 9 of pages; tests have smaller
// ones, of which every state can be visited.
#pragma once

#include <array>
#include <cstdint>

namespace pinfold::native {

inline constexpr unsigned kPageLg2 = 12;
inline constexpr unsigned kLevels = 4;

template <class S, unsigned kLevel>
constexpr unsigned slot_lg2()
{
    unsigned lg2 = kPageLg2;
    for (unsigned level = 0; level < kLevel; ++level) lg2 += S::kTableLg2[level];
    return lg2;
}

// The shape's bits of IOVA.
template <class S>
constexpr unsigned width()
{
    return slot_lg2<S, kLevels>();
}

struct FullShape {
    static constexpr std::array<unsigned, kLevels> kTableLg2{9, 9, 18, 16};
    // How many mappings a slot of each level can hold without a table below it.
    static constexpr std::array<unsigned, kLevels> kLanes{0, 4, 3, 0};
    // The most that one call can need, both ends of its range together: a slot that outgrows its
    // segments hands 4 mappings on, with two ends each.
    static constexpr std::uint32_t kMostSegments = 24;
    static constexpr std::uint32_t kMostTables = 6;
};
static_assert(slot_lg2<FullShape, 1>() == 21 && slot_lg2<FullShape, 2>() == 30);
static_assert(slot_lg2<FullShape, 3>() == 48 && width<FullShape>() == 64);

}  // namespace pinfold::native
