// Device models from shared objects: what include/pinfold/device_abi.h describes, as a pci::Model.
#pragma once

#include <string>

#include "pci/device.hpp"

namespace pinfold::devices {

// Whether a model's name is a path to a shared object: it has a slash.
bool names_object(std::string_view model);

// Loads the object at `path`, once for each path; it stays for the life of the process. The
// sentence says what is wrong with it. Thread safe.
pci::Checked<pci::Model const*> load_object(std::string const& path);

}  // namespace pinfold::devices
