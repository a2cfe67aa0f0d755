// What a --device argument or a machine file says of a virtio-net port.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "devices/virtio_net/wire.hpp"
#include "pci/device.hpp"

namespace pinfold::devices::virtio_net {

// Which interfaces the device has: both, or one.
enum class Interface : std::uint8_t { transitional, legacy, modern };

struct Settings {
    Mac mac{};
    Interface interface = Interface::transitional;
    std::string self;  // the port's own BDF, such as "0000:00:04.0"
    std::string peer;  // the BDF of the port at the other end; empty: frames come back
    std::string pcap;  // a file; empty: none
};

pci::Checked<Settings> parse_settings(pci::DeviceSpec const& spec);
std::span<pci::Model::Option const> setting_options();

}  // namespace pinfold::devices::virtio_net
