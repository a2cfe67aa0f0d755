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

    // Without the index, where that is a vector. nullopt: the address is made of something else.
    static std::optional<Address> of(ZydisDecodedInstruction const& instruction,
                                     ZydisDecodedOperand const& operand);
    // `away` is added before the address is cut to its width.
    Vaddr in(ucontext_t const& context, std::uint64_t away = 0) const;
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
    void set_opmask(unsigned id, std::uint64_t value);
    // Bytes from `at` on of the vector register `id`, in all its width of 64. What of it this
    // processor does not have reads as zeroes and is not written. REQUIRES: naturally aligned, at
    // most 16 bytes; only zeroes may be longer.
    void read(unsigned id, unsigned at, std::span<std::byte> into) const;
    void write(unsigned id, unsigned at, std::span<std::byte const> from);
    void clear(unsigned id, unsigned from);  // to its end
    // Of an element of `size` bytes.
    bool highest_bit(unsigned id, unsigned at, unsigned size) const;

private:
    // Nothing: the component is in its initial state, all zeroes.
    std::byte const* component(unsigned number) const;
    // The same, made to hold its zeroes. Nothing: there is no such component.
    std::byte* present(unsigned number);

    std::byte* area_ = nullptr;
    std::uint32_t components_ = 0;
};

}  // namespace pinfold::preload
