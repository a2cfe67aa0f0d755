// The drivers of the machine's kernel in the tree: /sys/bus/pci with its files, a directory for
// each driver, and which device is bound to which.
#pragma once

#include <optional>
#include <string_view>

#include "cli/tree_writer.hpp"
#include "machine/drivers.h"
#include "machine/face.hpp"

namespace pinfold::cli {

inline constexpr char kPciBus[] = "/sys/bus/pci";

// The driver that a device has at the start; nullptr: none.
pinfold_driver const* first_driver(machine::Face const& face);
// What its driver_override says: "(null)" where nobody has chosen the driver.
std::string_view first_override(machine::Face const& face);

void write_pci_bus(TreeWriter& tree);
void write_binding(TreeWriter& tree, machine::Face const& face);

}  // namespace pinfold::cli
