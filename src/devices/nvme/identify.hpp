// Who the controller is: on the bus, and to Identify, 5.15.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "devices/nvme/data_page.hpp"
#include "devices/nvme/namespace.hpp"
#include "pci/device.hpp"

namespace pinfold::devices::nvme {

inline constexpr std::string_view kModel = "Pinfold NVMe Controller";
inline constexpr std::string_view kFirmware = "1.0";

// 1234 is nobody's: no member of the PCI-SIG has it, and QEMU gives it to teaching devices by the
// same reasoning. Drivers find an NVMe controller by its class, and an id of a real product would
// bring that product's workarounds with it. 4e56 is "NV".
inline constexpr std::uint16_t kVendor = 0x1234, kDevice = 0x4e56;

pci::Identity pci_identity(bool error_reporting);

DataPage identify_controller(std::string_view serial, std::span<Namespace const> namespaces);
DataPage identify_namespace(Namespace const& ns);
// The namespaces with an id above `after`, in order.
DataPage active_namespaces(std::span<Namespace const> namespaces, std::uint32_t after);
DataPage namespace_descriptors(Namespace const& ns);
// The combinations of I/O command sets: NVM alone.
DataPage command_sets();

}  // namespace pinfold::devices::nvme
