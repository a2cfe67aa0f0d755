// The settings of the null device: each is a part of its face to the bus.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "pci/device.hpp"

namespace pinfold::devices {

// A register of 8 bytes: writing N to the lower half raises vector N, or INTx, which any write to
// the upper half lowers.
struct Trigger {
    unsigned bar;
    std::uint64_t offset;
};

struct NullSettings {
    pci::Identity identity;
    std::optional<Trigger> trigger;
};

pci::Checked<NullSettings> null_settings(pci::DeviceSpec const& spec);
std::span<pci::Model::Option const> null_options();

}  // namespace pinfold::devices
