// What a controller consists of, for the Controller that owns it and the commands that act on it.
#pragma once

#include <chrono>
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
    State(pci::Bus& bus_of_controller, std::string serial_number, std::vector<Namespace> all)
        : bus{bus_of_controller},
          serial{std::move(serial_number)},
          namespaces{std::move(all)},
          transfer{bus_of_controller},
          doorbells{bus_of_controller}
    {
    }

    // nullptr: no namespace has that id.
    Namespace* find(std::uint32_t nsid)
    {
        return nsid - 1 < namespaces.size() ? &namespaces[nsid - 1] : nullptr;
    }

    // 7.12: it runs from now. EMFILE, ENOMEM: it does not, which only a first one meets.
    Result<> restart_keep_alive()
    {
        return bus.set_alarm(std::chrono::milliseconds{features.keep_alive()});
    }

    pci::Bus& bus;
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
