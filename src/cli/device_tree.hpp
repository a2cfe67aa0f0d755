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
std::vector<std::filesystem::path> tree_directories(std::span<machine::Face const> faces);

// The same for a file that stands among the host's own: what is written to it brings a device to
// the driver that takes it.
inline constexpr char kDriversProbe[] = "/sys/bus/pci/drivers_probe";

// Writes the tree. The sentence names the file that could not be written.
machine::Checked<void> write_tree(std::filesystem::path const& state,
                                  machine::Description const& machine,
                                  std::span<machine::Face const> faces);

// Writes <state>/devices.
machine::Checked<void> write_device_files(std::filesystem::path const& state,
                                          std::span<machine::Face const> faces);

// Where a device's own directory is: /sys/devices/pciDDDD:BB/BDF.
std::filesystem::path device_directory(machine::Bdf bdf);

}  // namespace pinfold::cli
