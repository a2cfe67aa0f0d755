// What a device may do through a mapping, and what a single access asks for.
#pragma once

#include <cstdint>

namespace pinfold {

enum class Prot : std::uint8_t { none = 0, read = 1, write = 2, read_write = 3 };

// A device's access: `read` takes bytes out of memory, `write` puts bytes into it.
enum class Access : std::uint8_t { read = 1, write = 2 };

constexpr Prot operator|(Prot a, Prot b)
{
    return static_cast<Prot>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}
constexpr Prot operator&(Prot a, Prot b)
{
    return static_cast<Prot>(static_cast<unsigned>(a) & static_cast<unsigned>(b));
}
constexpr bool allows(Prot prot, Access access)
{
    return (static_cast<unsigned>(prot) & static_cast<unsigned>(access)) != 0;
}

}  // namespace pinfold
