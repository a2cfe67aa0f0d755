// Carrying out a trapped access: the instruction that touched a BAR is decoded, its access goes to
// the device, and its effect on the registers is written into the interrupted context.
//
// Each element that the instruction accesses reaches the device exactly once, in the widths of
// preload/address_space.hpp. Moves to and from general registers are carried out directly, string
// instructions, gathers, scatters and those that use the stack step by step, and every other by
// running a copy of it. What cannot be carried out is refused, never guessed: instructions of the
// system, xsave and its like, AMX, far branches. Async-signal-safe.
#pragma once

#include <ucontext.h>

#include <cstdint>
#include <optional>
#include <span>

#include "preload/address_space.hpp"

namespace pinfold::preload {

struct Carried {
    enum class How {
        out,      // the context stands behind the instruction, or at it if there is more to do
        faulted,  // the client gets `fault`; the context is that of the fault
        refused   // an instruction that cannot be carried out: context untouched
    } how;
    std::optional<Fault> fault = std::nullopt;
};

// `code` holds the bytes from the instruction pointer on, up to 15; `at` is the address that
// trapped.
Carried carry_out(std::span<std::uint8_t const> code, Vaddr at, ucontext_t& context,
                  AddressSpace& space);

}  // namespace pinfold::preload
