// Where the machine's firmware put the BARs. Nothing decodes these addresses: they are what
// configuration space and sysfs show.
#pragma once

#include <cstdint>
#include <optional>

#include "pci/config_space.hpp"
#include "pci/device.hpp"

namespace pinfold::machine {

class BarAllocator {
public:
    // One address for each BAR of a function, aligned to its size; 0 where there is no BAR, or no
    // room left.
    pci::BarAddresses place(pci::Identity const& identity);
    // What follows is on another bus: a port passes memory on by whole MiB, and I/O by 4 KiB.
    void cross_port();

private:
    struct Window {
        std::uint64_t next, last;
        void align(std::uint64_t to) { next = (next + to - 1) & ~(to - 1); }
        std::optional<std::uint64_t> take(std::uint64_t size);
    };
    Window io_{0x1000, 0xffff};
    Window low_{0xc000'0000, 0xfdff'ffff};         // below the interrupt controllers
    Window high_{0x40'0000'0000, 0xff'ffff'ffff};  // above all memory: 64-bit BARs only
};

}  // namespace pinfold::machine
