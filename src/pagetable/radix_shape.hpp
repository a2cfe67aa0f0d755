// What a radix table is told when it is made: its size, its leaves, and how it answers where the
// drivers of IOMMUs differ.
#pragma once

#include <algorithm>
#include <cstdint>

#include "pagetable/format.hpp"

namespace pinfold::pagetable {

// What an unmap does with a leaf that its range covers in part. `takes_all`: the leaf goes as a
// whole if the range begins where it does, and not at all otherwise. `splits`: smaller leaves take
// its place, and those that are covered go. `refuses`: the unmap ends there.
enum class Partial : std::uint8_t { takes_all, splits, refuses };

// What a map does where something is mapped. `refuses`: EADDRINUSE. `keeps`: what a leaf of the
// same size finds stays, and counts as mapped (VT-d until Linux 6.12). `replaces`: it goes, whole
// leaves and whole tables (AMD until 6.12).
enum class Overmap : std::uint8_t { refuses, keeps, replaces };

enum class Writers : std::uint8_t { one, many };

// Whether devices leave marks in the leaves (access()).
enum class Tracking : bool { off, on };

template <PageTableFormat F>
struct Shape {
    // To begin with. A leaf as large as all that they cover is made only once the table has grown.
    unsigned levels;
    unsigned width;  // bits of IOVA
    PageSizes page_sizes;
    unsigned paddr_bits = F::kPaddrBits;
    Partial partial = Partial::takes_all;
    // The root is 2^n tables side by side (Arm stage 2, RISC-V stage 2). It cannot grow.
    unsigned concatenated_lg2 = 0;
    Overmap overmap = Overmap::refuses;
    Writers writers = Writers::one;
    Tracking tracking = Tracking::off;

    // Of a table that covers its width from the start.
    static constexpr Shape fixed(unsigned levels, PageSizes page_sizes)
    {
        return {levels, std::min(slot_lg2<F>(levels), 64U), page_sizes};
    }
};

}  // namespace pinfold::pagetable
