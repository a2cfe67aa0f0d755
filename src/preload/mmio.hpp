// Carrying out a trapped access: the instruction that touched a BAR is decoded, its access goes to
// the device, and its effect on the registers is written into the interrupted context.
//
// Moves of 1, 2, 4 and 8 bytes between memory and general registers or immediates are carried out,
// with zero and sign extension, and moves of 4 to 16 bytes with vector registers. Anything else is
// refused, never guessed. Async-signal-safe: no allocation, no lock of its own.
#pragma once

#include <ucontext.h>

#include <cstdint>
#include <span>
#include <string>

#include "base/address.hpp"
#include "base/function_ref.hpp"
#include "base/result.hpp"

namespace pinfold::preload {

// The device behind the trap. `at` is the distance from the faulting address in bytes.
struct MmioTarget {
    FunctionRef<Result<std::uint64_t>(std::uint64_t at, unsigned size)> read;
    FunctionRef<Result<>(std::uint64_t at, unsigned size, std::uint64_t value)> write;
};

enum class Carried {
    out,      // the context stands after the instruction
    refused,  // an instruction that is not among the above, or the device refused the access:
              // context untouched
};

// `code` holds the bytes from the instruction pointer on, up to 15.
Carried carry_out(std::span<std::uint8_t const> code, ucontext_t& context,
                  MmioTarget const& target);

// The instruction in words, for a message: "lock or dword ptr [rdi], 0x1".
std::string describe_instruction(std::span<std::uint8_t const> code, std::uint64_t address);

}  // namespace pinfold::preload
