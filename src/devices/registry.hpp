// The device models that exist. Adding one is a line in registry.cpp.
#pragma once

#include <span>
#include <string_view>

#include "pci/device.hpp"

namespace pinfold::devices {

// In the order in which `pinfold devices` lists them.
std::span<pci::Model const* const> models();

// nullptr: no such model.
pci::Model const* find(std::string_view name);

}  // namespace pinfold::devices
