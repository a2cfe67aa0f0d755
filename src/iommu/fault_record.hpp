// A fault as the unit writes it into its own queue, for a driver to read: VT-d 10.4.14 (legacy
// mode), AMD IOMMU 2.5.3, SMMUv3 7.3, virtio-iommu 5.13.6.11. Pure functions.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "iommu/fault_log.hpp"
#include "iommu/invalidation.hpp"
#include "iommu/iommu.hpp"

namespace pinfold::iommu {

struct FaultRecord {
    std::array<std::uint64_t, 4> words{};  // little-endian
    unsigned bytes = 16;

    bool operator==(FaultRecord const&) const = default;
};

// `requester`: bus, device and function as 16 bits; `domain`: what it is attached to, 0 for none.
// nullopt: the unit records no such fault, because it is the device's own, or happens behind it, or
// because the model has no queue.
std::optional<FaultRecord> fault_record(Model model, std::uint16_t requester, DomainTag domain,
                                        Fault const& fault);

}  // namespace pinfold::iommu
