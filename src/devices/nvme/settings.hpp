// What `--device nvme,…` may say. Sentences are for the user.
#pragma once

#include <string>
#include <vector>

#include "devices/nvme/disk.hpp"
#include "pci/device.hpp"

namespace pinfold::devices::nvme {

struct NamespaceSettings {
    std::string disk;
    DiskAccess access = DiskAccess::read_write;
    unsigned block_size = 512;  // or 4096
};

struct Settings {
    std::string serial;                         // at most 20 characters; empty: one is made up
    bool error_reporting = true;                // Advanced Error Reporting
    std::vector<NamespaceSettings> namespaces;  // at least one; namespace ids count from 1
};

inline constexpr unsigned kMaxNamespaces = 16;

// disk=FILE is namespace 1, disk2=FILE to disk16=FILE are the others, without gaps. readonly and
// block_size hold for all of them, readonlyN and block_sizeN for one (1 to 16). aer and serial are
// the controller's.
pci::Checked<Settings> parse_settings(pci::DeviceSpec const& spec);

// The options, for the model's description.
std::span<pci::Model::Option const> setting_options();

}  // namespace pinfold::devices::nvme
