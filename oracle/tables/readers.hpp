// The readers: how each one's answers are to be understood. One function per reader turns the
// hardware's code for a fault into an Outcome; what the guests do stands in guest/.
#pragma once

#include <cstdint>

#include "expected.hpp"

namespace pinfold::tables {

struct Reader {
    char const* guest;  // the program that it runs
    // `answer` is one of a probe that faulted or translated.
    Seen (*understand)(::answer const& answer, ::probe const& probe);
    bool translates = false;  // it has an instruction that only translates
    // A read of where there is no memory is no fault, but gives this.
    std::optional<std::uint64_t> nothing = std::nullopt;
    // Whether every fault is reported: else a read that gave `nothing` is one.
    bool reports_all = true;
    // It copies by DMA through a page that the table maps, or runs code in one.
    bool needs_window = false;
    bool by_dma = false;  // slow
    // Bits of a leaf that our walk looks at and it does not.
    std::uint64_t unseen_in_leaf = 0;
    // Bits of any word that our walk does not look at and of which it insists that they are 0.
    std::uint64_t insists_on_zero = 0;
    // Bits of a leaf that are a promise about its neighbours: broken, they may be understood in any
    // way.
    std::uint64_t promise_in_leaf = 0;
    // It follows a word to whatever level that names, if need be in circles.
    bool follows_any_level = false;
    // Above it no word may be broken: QEMU 7.2 ends at an Arm CPU's fault above Arm's level 0.
    unsigned highest_breakable = 7;
};

extern Reader const kX86Cpu;
extern Reader const kArm64Stage1;
extern Reader const kArm64Stage2;
extern Reader const kRiscv;
extern Reader const kArm32;
extern Reader const kVtd;
extern Reader const kAmd;

// Whether they agree; levels and paddrs only where the reader tells them.
bool agree(Expected const& expected, Seen const& seen);

}  // namespace pinfold::tables
