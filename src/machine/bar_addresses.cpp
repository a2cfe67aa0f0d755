#include "machine/bar_addresses.hpp"

namespace pinfold::machine {

std::optional<std::uint64_t> BarAllocator::Window::take(std::uint64_t size)
{
    std::uint64_t const start = (next + size - 1) & ~(size - 1);
    if (start < next || start > last || last - start < size - 1) return std::nullopt;
    next = start + size;
    return start;
}

void BarAllocator::cross_port()
{
    io_.align(0x1000);
    low_.align(0x10'0000);
    high_.align(0x10'0000);
}

pci::BarAddresses BarAllocator::place(pci::Identity const& identity)
{
    pci::BarAddresses addresses{};
    for (std::size_t i = 0; i < addresses.size(); ++i) {
        auto const& bar = identity.bars[i];
        switch (bar.kind) {
            case pci::Bar::Kind::none: break;
            case pci::Bar::Kind::io: addresses[i] = io_.take(bar.size).value_or(0); break;
            case pci::Bar::Kind::memory32: addresses[i] = low_.take(bar.size).value_or(0); break;
            case pci::Bar::Kind::memory64: {
                auto const low = low_.take(bar.size);
                addresses[i] = low ? *low : high_.take(bar.size).value_or(0);
                break;
            }
        }
    }
    return addresses;
}

}  // namespace pinfold::machine
