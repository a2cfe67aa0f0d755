// Result<T>: a T or the Errno that explains its absence. Three kinds of trouble only: a caller's
// mistake or scarcity is an Errno; a bug of ours is an assert; an exception is bad_alloc, caught
// at the ioctl door, and where rounds that succeeded must be taken back.
#pragma once

#include <expected>
#include <utility>

#include "base/errno.hpp"

namespace pinfold {

template <class T = void>
using Result = std::expected<T, Errno>;

// `return fail(Errno::inval);` in a function that returns a Result of anything.
constexpr std::unexpected<Errno> fail(Errno error) { return std::unexpected{error}; }

}  // namespace pinfold

// TRY(expression) is the value of a Result, or leaves the enclosing function with its Errno. The
// counter keeps a TRY inside a TRY from shadowing.
#define TRY(...) PINFOLD_TRY_NAMED_(__COUNTER__, __VA_ARGS__)
#define PINFOLD_TRY_NAMED_(id, ...) PINFOLD_TRY_(PINFOLD_JOIN_(try_result_, id), __VA_ARGS__)
#define PINFOLD_JOIN_(a, b) PINFOLD_JOIN_NOW_(a, b)
#define PINFOLD_JOIN_NOW_(a, b) a##b
// clang-format off
#define PINFOLD_TRY_(result, ...)                             \
    __extension__({                                           \
        auto result = (__VA_ARGS__);                          \
        if (!result) return ::pinfold::fail(result.error());  \
        ::pinfold::detail::take(std::move(result));           \
    })
// clang-format on

namespace pinfold::detail {

template <class T>
constexpr T take(Result<T>&& result)
{
    return std::move(*result);
}
constexpr void take(Result<void>&&) {}

}  // namespace pinfold::detail
