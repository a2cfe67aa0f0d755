// Where a random test begins: at PINFOLD_SEED if that is set, so that a failure can be repeated,
// elsewhere each time if not.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <random>

namespace pinfold::test {

inline std::uint64_t seed()
{
    char const* const given = std::getenv("PINFOLD_SEED");
    return given != nullptr ? std::strtoull(given, nullptr, 0) : std::random_device{}();
}

}  // namespace pinfold::test
