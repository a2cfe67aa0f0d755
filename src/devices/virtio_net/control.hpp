// The commands of the control queue: virtio 1.1, 5.1.6.5.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "devices/virtio_net/receive_filter.hpp"

namespace pinfold::devices::virtio_net {

// The longest command that is looked at: two tables of addresses, more than a driver can want.
inline constexpr std::size_t kMostCommand = 8192;

// Carries out one command, all of its bytes from class and command on. kControlOk or kControlError;
// an error changes nothing.
std::uint8_t control(std::span<std::byte const> command, ReceiveFilter& filter);

}  // namespace pinfold::devices::virtio_net
