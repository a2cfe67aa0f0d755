// What a controller consists of, for the Controller that owns it and the commands that act on it.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "devices/nvme/async_events.hpp"
#include "devices/nvme/doorbell_buffer.hpp"
#include "devices/nvme/features.hpp"
#include "devices/nvme/log_pages.hpp"
#include "devices/nvme/namespace.hpp"
#include "devices/nvme/queues.hpp"
#include "devices/nvme/registers.hpp"
#include "devices/nvme/transfer.hpp"
#include "pci/device.hpp"

namespace pinfold::devices::nvme {

struct State {
    State(pci::Bus& bus, std::string serial_number, std::vector<Namespace> all)
        : serial{std::move(serial_number)},
          namespaces{std::move(all)},
          transfer{bus},
          doorbells{bus}
    {
    }

    // nullptr: no namespace has that id.
    Namespace* find(std::uint32_t nsid)
    {
        return nsid - 1 < namespaces.size() ? &namespaces[nsid - 1] : nullptr;
    }

    std::string serial;
    std::vector<Namespace> namespaces;  // namespace n at n - 1
    Registers registers;
    Transfer transfer;
    Queues queues;
    DoorbellBuffer doorbells;
    Features features;
    AsyncEvents events;
    ErrorLog errors;
};

}  // namespace pinfold::devices::nvme
