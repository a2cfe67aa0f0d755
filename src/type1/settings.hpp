// What a container is made of and held to: the host's memory, and the parameters of the kernel
// module vfio_iommu_type1 (rules K-1 to K-3).
#pragma once

#include "base/kernel.hpp"
#include "host/memory.hpp"
#include "type1/activity.hpp"
#include "type1/log.hpp"
#include "type1/page_sizes.hpp"

namespace pinfold::type1 {

struct Settings {
    host::Memory& memory;  // outlives every container
    // Whose rules apply, where kernels differ.
    Kernel kernel = Kernel::v7_3;
    // What becomes of IOMMU pages smaller than the host's.
    SubpagePolicy policy = SubpagePolicy::merged;
    // Most mappings that a container may have; sampled by SET_IOMMU (rule K-3).
    unsigned dma_entry_limit = 65535;
    // Groups without isolated message interrupts are accepted; read at each attach (rule K-1).
    bool allow_unsafe_interrupts = false;
    // Every page is a chunk of its own; read at each MAP (rule K-2).
    bool disable_hugepages = false;
    // Where mappings are counted; nullptr: nowhere. Outlives every container.
    Activity* activity = nullptr;
    // Where the kernel's log lines go; nullptr: nowhere. Outlives every container.
    Log* log = nullptr;
};

}  // namespace pinfold::type1
