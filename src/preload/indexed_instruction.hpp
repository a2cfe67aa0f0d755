// Gathers and scatters: elements of a vector register, each from or to a place of its own, one
// after the other. Async-signal-safe.
#pragma once

#include <ucontext.h>

#include "preload/address_space.hpp"
#include "preload/instruction.hpp"
#include "preload/mmio.hpp"

namespace pinfold::preload {

// Carries out a plan of the form `gather` or `scatter`, beginning with what the mask has left: the
// processor may have done some of it before it met a device. Each element that is done is taken out
// of the mask, so that a fault leaves behind what the manual says ("Intel SDM", 2: VPGATHERDD,
// VPSCATTERDD): the elements below the one that met it are done, and the instruction can begin
// again. Refused: no element is at `at`, where the trap was, or the kernel has saved no vector
// state.
Carried gather_or_scatter(Plan const& plan, Vaddr at, ucontext_t& context, AddressSpace& space);

}  // namespace pinfold::preload
