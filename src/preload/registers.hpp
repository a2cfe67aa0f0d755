// The interrupted thread's registers, as a fault handler finds them: general registers, the
// addresses that are made of them, and the vector state behind them. Async-signal-safe.
#pragma once

#include <Zydis/Zydis.h>
#include <ucontext.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/address.hpp"

namespace pinfold::preload {

// Where a general register is in the context: an index of gregs, and the part of it.
struct Register {
    std::int8_t greg = -1;
    std::uint8_t shift = 0;  // 8 for ah, ch, dh, bh
    std::uint8_t size = 8;   // bytes

    std::uint64_t load(ucontext_t const& context) const;
    // As the processor writes a register: 32 bits clear the upper half, 8 and 16 bits leave the
    // rest alone.
    void store(ucontext_t& context, std::uint64_t value) const;
};

// nullopt: not a general register.
std::optional<Register> general_register(ZydisRegister reg);

std::uint64_t low_bytes(std::uint64_t value, unsigned size);
std::uint64_t sign_extended(std::uint64_t value, unsigned size);

// A memory operand's address, before its registers are known.
struct Address {
    enum class Segment : std::uint8_t { flat, fs, gs };
    std::int8_t base = -1;   // an index of gregs; -1: none
    std::int8_t index = -1;  // likewise
    std::uint8_t scale = 0;
    Segment segment = Segment::flat;
    bool narrow = false;  // 32-bit addressing
    std::int64_t displacement = 0;

    // nullopt: the operand's address is made of something else (a vector of indices).
    static std::optional<Address> of(ZydisDecodedInstruction const& instruction,
                                     ZydisDecodedOperand const& operand);
    Vaddr in(ucontext_t const& context) const;
};

// The vector state that the kernel saved with the context (an XSAVE area in its standard form).
class VectorState {
public:
    explicit VectorState(ucontext_t& context);

    // The area, and the components of it that an instruction may see: x87, SSE, AVX and AVX-512.
    // nullptr: the kernel saved none in this form.
    void* area() const { return area_; }
    std::uint32_t components() const { return components_; }

    // An opmask register k0 to k7.
    std::uint64_t opmask(unsigned id) const;
    // Byte `at` of ymm register `id`.
    std::uint8_t ymm_byte(unsigned id, unsigned at) const;

private:
    // Nothing: the component is in its initial state, all zeroes.
    std::byte const* component(unsigned number) const;

    std::byte* area_ = nullptr;
    std::uint32_t components_ = 0;
};

}  // namespace pinfold::preload
