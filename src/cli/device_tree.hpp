// The files that a client is to see: nodes under dev/vfio, and the parts of sysfs that tell of PCI
// devices, IOMMU groups and the VFIO modules, written below <state>/root as they stand below /.
// Link texts are those of the kernel.
#pragma once

#include <filesystem>
#include <span>
#include <vector>

#include "machine/description.hpp"
#include "machine/face.hpp"

namespace pinfold::cli {

// The directories of the tree that take the place of the host's, or are new beside the host's;
// absolute, as the client names them.
std::vector<std::filesystem::path> tree_directories();

// Writes the tree. The sentence names the file that could not be written.
machine::Checked<void> write_tree(std::filesystem::path const& state,
                                  machine::Description const& machine,
                                  std::span<machine::Face const> faces);

// For runs without a namespace: the tree's /sys/module gets links to the host's modules as well, so
// that it can be listed in the place of the host's.
machine::Checked<void> add_hosts_modules(std::filesystem::path const& state);

// Writes <state>/devices.
machine::Checked<void> write_device_files(std::filesystem::path const& state,
                                          std::span<machine::Face const> faces);

// Where a device's own directory is: PINFOLD_SYS_DEVICES/pciDDDD:BB/BDF.
std::filesystem::path device_directory(machine::Bdf bdf);
// The same from a directory `depth` steps below /sys, as the text of a link.
std::filesystem::path link_to_device(unsigned depth, machine::Bdf bdf);

}  // namespace pinfold::cli
