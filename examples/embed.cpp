// Pinfold as a library: an I/O address space with Type1's rules, and a "device" that uses it.
#include <array>
#include <cstdio>
#include <cstring>
#include <vector>

#include "pinfold/space.hpp"

namespace {

using pinfold::Iova;
using pinfold::Prot;

pinfold::Result<> demonstrate()
{
    auto const space = TRY(pinfold::Space::create({.tables = pinfold::Space::Tables::vtd}));
    alignas(4096) static std::array<char, 8192> buffer;
    TRY(space->map(Iova{0x10000}, buffer.data(), buffer.size(), Prot::read_write));

    std::memcpy(buffer.data() + 4090, "across a page", 14);
    std::array<std::byte, 14> seen{};
    TRY(space->read(Iova{0x10000 + 4090}, seen));
    std::printf("the device reads: %s\n", reinterpret_cast<char const*>(seen.data()));

    auto const again = space->map(Iova{0x11000}, buffer.data(), 4096, Prot::read);
    std::printf("mapping over it: %s\n",
                again ? "accepted" : std::string{pinfold::name(again.error())}.c_str());

    std::printf("unmapped %llu bytes\n", static_cast<unsigned long long>(TRY(space->unmap_all())));
    auto const late = space->read(Iova{0x10000}, seen);
    std::printf("the device reads again: %s\n",
                late ? "accepted" : std::string{pinfold::name(late.error())}.c_str());
    return {};
}

}  // namespace

int main() { return demonstrate() ? 0 : 1; }
