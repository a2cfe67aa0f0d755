// Names that a disk file keeps from run to run, for what has to be unique to a drive: serial
// number, UUID, EUI-64. They depend on the file's absolute path only.
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace pinfold::devices::nvme {

// A UUID of version 8 (RFC 9562): custom contents.
std::array<std::uint8_t, 16> unique_name(std::string const& path, unsigned salt);
// "550e8400-e29b-41d4-a716-446655440000"
std::string uuid_text(std::array<std::uint8_t, 16> const& uuid);

}  // namespace pinfold::devices::nvme
