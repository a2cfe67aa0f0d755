// What has to be done to carry out an instruction that touched a BAR, worked out once: decoding
// costs more than all the rest but the signal itself, so plans are kept by the instruction's
// address and bytes. Thread safe and async-signal-safe: nothing is allocated.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "preload/registers.hpp"

namespace pinfold::preload {

inline constexpr std::size_t kLongestInstruction = 15;

struct Plan {
    enum class Form : std::uint8_t {
        unknown,       // cannot be carried out
        load,          // memory to a general register
        store,         // a general register or an immediate to memory
        executed,      // a copy of the instruction, on memory of ours
        push,          // memory to the stack
        pop,           // the stack to memory
        call,          // through memory
        jump,          // likewise
        bit,           // bt, bts, btr, btc whose register counts bits beyond the operand
        string,        // movs, stos, lods, cmps, scas
        gather,        // elements from places that a vector of indices leads to
        scatter,       // to such places
        masked_bytes,  // maskmovdqu: those of a vector register that another chooses
        copy_64_bytes  // movdir64b
    };
    enum class Extend : std::uint8_t { zero, sign };
    enum class Operation : std::uint8_t { none, test, set, reset, complement };
    enum class String : std::uint8_t { none, move, store, load, compare, scan };
    enum class Repeat : std::uint8_t { once, always, while_equal, while_different };
    // Which elements of a vector operand are accessed: all, those whose bit is set in an opmask
    // register, those whose highest bit is set in a vector register, or as many from the first on
    // as there are bits in an opmask register.
    enum class Mask : std::uint8_t { none, opmask, vector, packed };

    Form form = Form::unknown;
    std::uint8_t length = 0;  // of the instruction
    std::uint16_t size = 0;   // of what is accessed of the memory operand, in bytes
    std::uint16_t reach = 0;  // of the memory operand: an access to any byte of it may trap
    bool reads = false, writes = false;
    Address address;
    Register reg;  // load, store, bit; copy_64_bytes: where to
    bool has_reg = false;
    std::uint64_t immediate = 0;  // store without a register
    Extend extend = Extend::zero;
    Operation operation = Operation::none;
    String string = String::none;
    Repeat repeat = Repeat::once;

    bool locked = false;  // no other access may come between its read and its write

    Mask mask = Mask::none;
    std::uint8_t mask_register = 0;
    std::uint8_t element = 0;  // bytes

    // gather, scatter: `address` is what all elements have in common.
    std::uint8_t elements = 0;
    std::uint8_t vector = 0;        // the vector register of the elements (masked_bytes: bytes)
    std::uint8_t index_vector = 0;  // and that of the indices
    std::uint8_t index_size = 0;    // bytes

    // executed:
    bool uses_vectors = false;  // x87, MMX, SSE, AVX, AVX-512 state is read or written
    bool uses_stack_pointer = false;
    bool whole = false;  // masked, but any bit in the mask makes for the whole operand
    // The instruction with its operand at [rip + displacement]; the displacement is to be filled
    // in.
    std::array<std::uint8_t, kLongestInstruction + 4> code{};
    std::uint8_t code_length = 0;
    std::uint8_t displacement_at = 0;
};

// Decodes. `code` holds the bytes from the instruction on, up to 15.
Plan make_plan(std::span<std::uint8_t const> code);

// The same, from the plans that are kept.
Plan plan_of(std::uint64_t rip, std::span<std::uint8_t const> code);

// The instruction in words, for a message: "xsave ptr [rdi]".
std::string describe_instruction(std::span<std::uint8_t const> code, std::uint64_t address);

}  // namespace pinfold::preload
