// The device models that exist. Adding one is a line in registry.cpp; a shared object is one more
// for the run that names it.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "pci/device.hpp"

namespace pinfold::devices {

// In the order in which `pinfold devices` lists them.
std::span<pci::Model const* const> models();

// nullptr: no such model.
pci::Model const* find(std::string_view name);

// The same; a name with a slash is the path of a shared object (loaded.hpp), and the sentence says
// why that is none.
pci::Checked<pci::Model const*> find_or_load(std::string const& name);

}  // namespace pinfold::devices
