// movs, stos, lods, cmps and scas, with and without a repetition, one element after the other.
// Async-signal-safe.
#pragma once

#include <ucontext.h>

#include <optional>

#include "preload/address_space.hpp"
#include "preload/instruction.hpp"

namespace pinfold::preload {

// Carries out a plan of the form `string` as far as it touches devices; at most some thousand
// elements at a time, so that signals get their turn. Registers tell how far it came, as they do
// when a repetition is interrupted, and the instruction pointer stands behind the instruction only
// where it has come to its end. A fault leaves the registers of the element that met it.
std::optional<Fault> repeat_string(Plan const& plan, ucontext_t& context, AddressSpace& space);

}  // namespace pinfold::preload
