#include "machine/face.hpp"

#include <algorithm>

#include "machine/parts.hpp"
#include "pci/function.hpp"

namespace pinfold::machine {

namespace {

constexpr std::size_t kFirstBar = 0x10;
constexpr std::uint32_t kIoAddress = ~0x3U;
constexpr std::uint32_t kMemoryAddress = ~0xfU;

}  // namespace

Face face_of(pci::Function& function, Bdf bdf, unsigned group)
{
    Face face{bdf, group, function.identity(), {}, {}, {}};
    face.config.resize(function.config_size());
    function.config_read(0, face.config);

    auto const dword = [&](std::size_t bar) {
        std::uint32_t value = 0;
        auto const* const at = face.config.data() + kFirstBar + bar * sizeof value;
        std::copy_n(at, sizeof value, reinterpret_cast<std::byte*>(&value));
        return value;
    };
    for (std::size_t i = 0; i < face.bar_addresses.size(); ++i) {
        auto const kind = face.identity.bars[i].kind;
        if (kind == pci::Bar::Kind::none) continue;
        std::uint64_t address =
            dword(i) & (kind == pci::Bar::Kind::io ? kIoAddress : kMemoryAddress);
        if (kind == pci::Bar::Kind::memory64) address |= std::uint64_t{dword(i + 1)} << 32;
        face.bar_addresses[i] = address;
    }
    return face;
}

}  // namespace pinfold::machine
