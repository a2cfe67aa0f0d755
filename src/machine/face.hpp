// A function as the bus shows it: what the launcher writes into the sysfs tree. Values only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "machine/description.hpp"
#include "pci/device.hpp"

namespace pinfold::machine {

struct Face {
    Bdf bdf;
    unsigned group = 0;
    pci::Identity identity;
    std::vector<std::byte> config;                 // as before anybody opened it
    std::array<std::uint64_t, 6> bar_addresses{};  // 0 where there is no BAR
    std::string driver = "vfio-pci";               // as DeviceEntry has it
};

}  // namespace pinfold::machine
