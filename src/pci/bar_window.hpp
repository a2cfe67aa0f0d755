// The window to the BARs that a vendor capability can be (virtio 1.1, 4.1.4.7): a client that has
// configuration space only gets at registers through it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "pci/config_space.hpp"

namespace pinfold::pci {

struct WindowAccess {
    unsigned bar;
    std::uint64_t offset;
    unsigned width;  // 1, 2 or 4
};

// Offset of the window's data in configuration space; its size is 4.
constexpr std::size_t window_data(std::uint8_t window) { return std::size_t{window} + 16; }

// Where the window at `window` leads at present; nullopt: it is set to what is no access.
std::optional<WindowAccess> window_access(ConfigSpace const& config, std::uint8_t window);

}  // namespace pinfold::pci
