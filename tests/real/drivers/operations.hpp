// What a driver does with a register, written plainly: the compiler chooses the instructions, many
// of which read and write the register themselves. Each operation is the code of one function.
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <type_traits>

// Found in a register often enough to compare with.
template <class T>
constexpr T kUsual = static_cast<T>(0x1234567);

// What is left in the register and what is returned depends on its value and on `other` only.
template <class T>
using Operation = T (*)(T volatile& reg, T other);

#define OPERATION(...) \
    [](T volatile& reg, [[maybe_unused]] T other) __attribute__((noinline)) { __VA_ARGS__ }
#define CHANGE(value) OPERATION(reg = (value); return T{};)
#define RESULT(value) OPERATION(return static_cast<T>(value);)
// An access that is locked.
#define LOCKED(access) OPERATION(return std::atomic_ref{const_cast<T&>(reg)}.access;)
#define LOCKED_CHANGE(access) OPERATION(std::atomic_ref{const_cast<T&>(reg)}.access; return T{};)

// clang-format off
template <class T>
Operation<T> const kOperations[] = {
    CHANGE(kUsual<T>),
    CHANGE(other),
    CHANGE(reg | T{0x10}),
    CHANGE(reg & ~T{1}),
    CHANGE(reg ^ static_cast<T>(0x5a5a5a)),
    CHANGE(reg | other),
    CHANGE(reg & other),
    CHANGE(reg ^ other),
    CHANGE(reg + other),
    CHANGE(reg - other),
    CHANGE(reg + 1),
    CHANGE(reg - 1),
    CHANGE(~reg),
    CHANGE(T{0} - reg),
    CHANGE(reg << 3),
    CHANGE(reg >> 5),
    CHANGE(reg << (other & 15)),
    CHANGE(std::rotl(T{reg}, 7)),
    CHANGE(reg | T{1} << (other & 31)),
    CHANGE(reg & ~(T{1} << (other & 31))),
    CHANGE(std::byteswap(other)),
    RESULT(reg),
    RESULT(other + reg),
    RESULT(other - reg),
    RESULT(other & reg),
    RESULT(other & ~reg),
    RESULT(1U * other * reg),
    RESULT(other / (reg | 1)),
    RESULT((reg & 0x80) != 0 ? 7 : 9),
    RESULT(reg < other ? 1 : 2),
    RESULT(reg == kUsual<T> ? 3 : 4),
    RESULT(std::popcount(T{reg})),
    RESULT(std::countr_zero(T{reg})),
    RESULT(std::countl_zero(T{reg})),
    RESULT(std::byteswap(T{reg})),
    RESULT(std::int64_t{static_cast<std::int32_t>(T{reg})} >> 8),
    RESULT(static_cast<std::make_signed_t<T>>(T{reg}) / 16),
    RESULT(static_cast<std::int64_t>(static_cast<double>(static_cast<std::int32_t>(T{reg})) / 2)),
    OPERATION(T const old = reg; reg = other; return old;),
    LOCKED(fetch_add(other)),
    LOCKED(fetch_sub(other)),
    LOCKED(fetch_or(other)),
    LOCKED_CHANGE(fetch_and(other)),
    LOCKED_CHANGE(fetch_xor(other)),
    LOCKED(exchange(other)),
    OPERATION(T expected = kUsual<T>;
              std::atomic_ref{const_cast<T&>(reg)}.compare_exchange_strong(expected, other);
              return expected;),
};
// clang-format on

#undef OPERATION
#undef CHANGE
#undef RESULT
#undef LOCKED
#undef LOCKED_CHANGE
