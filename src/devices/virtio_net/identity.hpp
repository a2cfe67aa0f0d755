// The face of a virtio network device to the bus, as QEMU 7.2 has it on a root bus: a conventional
// function without power management or reset (looked up there with `info pci` and in its
// configuration space).
#pragma once

#include "devices/virtio_net/settings.hpp"
#include "pci/device.hpp"

namespace pinfold::devices::virtio_net {

inline constexpr unsigned kLegacyBar = 0, kMsixBar = 1, kModernBar = 4;

// The parts of BAR 4, a page each (4.1.4).
inline constexpr std::uint64_t kCommonPage = 0x0000, kIsrPage = 0x1000, kConfigPage = 0x2000,
                               kNotifyPage = 0x3000, kPartSize = 0x1000;
inline constexpr std::uint32_t kNotifyMultiplier =
    4;  // bytes from one queue's register to the next

pci::Identity identity_of(Interface interface);

}  // namespace pinfold::devices::virtio_net
