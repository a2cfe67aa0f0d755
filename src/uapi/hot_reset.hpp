// VFIO_DEVICE_GET_PCI_HOT_RESET_INFO and VFIO_DEVICE_PCI_HOT_RESET: the functions behind one root
// port, which it resets together (rules V-15 and V-16). Stateless.
#pragma once

#include <cstdint>
#include <vector>

#include "base/kernel.hpp"
#include "pci/function.hpp"
#include "uapi/file.hpp"

namespace pinfold::uapi {

// What is behind one root port.
struct ResetDomain {
    struct Member {
        pci::Function* function;
        unsigned group;
        std::uint16_t segment;
        std::uint8_t bus;
        std::uint8_t devfn;  // device << 3 | function
    };
    std::vector<Member> members;
};

// `domain`: that of the function whose file is asked; nullptr: it is on the root bus, which nothing
// resets, ENODEV.
Reply device_get_hot_reset_info(Client& client, Kernel kernel, ResetDomain const* domain,
                                std::uint64_t arg);
Reply device_hot_reset(Client& client, Kernel kernel, Files& files, ResetDomain const* domain,
                       std::uint64_t arg);

}  // namespace pinfold::uapi
