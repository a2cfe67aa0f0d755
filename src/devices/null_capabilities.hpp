// The capabilities that the null device is asked for.
#pragma once

#include <string_view>

#include "pci/device.hpp"

namespace pinfold::devices {

// "0xc0:0102ff": vendor specific, at 0xc0, with these bytes behind its length. "0xc0:0x03:00ff": of
// another id, with these bytes behind its link.
pci::Checked<void> take_capability(pci::Identity& identity, std::string_view value);
// "0x100:0x03:0011": the bytes follow the header.
pci::Checked<void> take_extended(pci::Identity& identity, std::string_view value);
// Once all of the settings are known: they do not overlap, and the lists can be followed.
pci::Checked<void> check_capabilities(pci::Identity const& identity);

}  // namespace pinfold::devices
