#include "native/dirty_words.hpp"

#include <cstring>

namespace pinfold::native {
namespace {

using By16 [[gnu::vector_size(16)]] = std::uint64_t;
using By32 [[gnu::vector_size(32)]] = std::uint64_t;
using By64 [[gnu::vector_size(64)]] = std::uint64_t;

template <class Vector>
[[gnu::always_inline]] inline void move_by(std::uint64_t* from, std::uint64_t* into,
                                           std::size_t count)
{
    constexpr std::size_t kWords = sizeof(Vector) / sizeof(std::uint64_t);
    Vector const none{};
    for (std::size_t word = 0; word < count; word += kWords) {
        Vector bits;
        Vector there;
        std::memcpy(&bits, from + word, sizeof(Vector));
        std::memcpy(&there, into + word, sizeof(Vector));
        there |= bits;
        std::memcpy(into + word, &there, sizeof(Vector));
        std::memcpy(from + word, &none, sizeof(Vector));
    }
}

void move_by_16(std::uint64_t* from, std::uint64_t* into, std::size_t count)
{
    move_by<By16>(from, into, count);
}

#ifdef __x86_64__
[[gnu::target("avx2")]] void move_by_32(std::uint64_t* from, std::uint64_t* into, std::size_t count)
{
    move_by<By32>(from, into, count);
}

[[gnu::target("avx512f")]] void move_by_64(std::uint64_t* from, std::uint64_t* into,
                                           std::size_t count)
{
    move_by<By64>(from, into, count);
}

#endif

constexpr MoveWords kMoves[] = {
    move_by_16,
#ifdef __x86_64__
    move_by_32,
    move_by_64,
#endif
};

std::size_t how_many()
{
#ifdef __x86_64__
    if (!__builtin_cpu_supports("avx2")) return 1;
    return __builtin_cpu_supports("avx512f") ? 3 : 2;
#else
    return 1;
#endif
}

}  // namespace

std::span<MoveWords const> moves_of_words() { return {kMoves, how_many()}; }

}  // namespace pinfold::native
