// One IOMMU unit: what it offers (page sizes, width, reserved regions) and the domains it makes.
// Thread safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/kernel.hpp"
#include "base/page_size.hpp"
#include "base/range.hpp"
#include "base/result.hpp"
#include "iommu/domain.hpp"
#include "iommu/observer.hpp"

namespace pinfold::iommu {

// As in /sys/kernel/iommu_groups/N/reserved_regions. direct_relaxable is ignored by VFIO (rule
//
enum class ReservedType { direct, direct_relaxable, reserved, msi, sw_msi };
struct ReservedRegion {
    IovaRange range;
    ReservedType type;
};

// vtd: VT-d second stage. amdvi: AMD v1. smmuv3: Arm LPAE, stage 1. virtio: a list of records, as a
// virtio-iommu keeps it. native: our own index. A further model adds a value, a file model_*.cpp
// and a line in iommu.cpp.
enum class Model { vtd, amdvi, smmuv3, virtio, native };

class Iommu {
public:
    struct Options {
        Model model = Model::vtd;
        PageSizes page_sizes{0x40201000};
        // Bits of IOVA. amdvi: drivers before 7.3 do not look at it and have 64. smmuv3: of these,
        // tables of 4K and 16K use 48 at the most.
        unsigned address_width = 39;
        std::vector<ReservedRegion> reserved;
        // Most table pages that all domains together may have; for failing allocations in tests.
        std::uint64_t table_budget = ~std::uint64_t{0};
        // Whether DMA_CC can be promised (rule C-7). vtd: ECAP.SC; amdvi and native always can,
        // smmuv3 and virtio never, and do not look at this.
        bool enforces_coherency = true;
        // Whether it keeps a message interrupt that a device forges from reaching others (rule
        // Nothing here looks at it: it is for whoever makes groups.
        bool remaps_interrupts = true;
        // Whether the unit marks leaves as accessed and dirty, and its driver lets it. vtd, amdvi
        // and smmuv3 only; Linux's Type1 never does.
        bool tracks_dirty = false;
        // Whose driver it is, where drivers differ.
        Kernel kernel = Kernel::v7_3;
        // Of the host that the driver runs on: smmuv3 chooses its granule by it, virtio must have
        // pages that are no larger.
        PageSize host_page = k4K;
        // Bits of paddr that the unit puts out. Only smmuv3 has a choice.
        unsigned paddr_width = 48;
        // Told of the map and unmap calls of all domains. nullptr: nobody is. Outlives the Iommu.
        Observer* observer = nullptr;
        // Gets the commands that the unit would be given. nullptr: nobody does. Outlives the Iommu.
        CommandQueue* commands = nullptr;
        // What Domain::sync() leaves out: for tests that prove that others would notice.
        struct Omit {
            bool invalidation = false;
            bool grace_period = false;
        };
        Omit omit{};
    };
    // EINVAL: the model cannot have that width or those page sizes, or a reserved region is no
    // range. vtd: 30 to 57 bits, a subset of 4K|2M|1G with 4K in it. amdvi: 32 to 64 bits, any
    // sizes from 4K up but 512G, with 4K among them. smmuv3: 32 to 52 bits, a subset of 4K|2M|1G,
    // 16K|32M and 64K|512M|4T of which the granule that Linux chooses is 4K, 16K or 64K. virtio: 32
    // to 64 bits, any sizes from 4K up of which the smallest is no larger than the host's page.
    // native: 16 to 64 bits, any sizes from 4K up of which the smallest is below the width.
    static Result<std::unique_ptr<Iommu>> create(Options options);
    ~Iommu();

    Options const& options() const;
    PageSizes page_sizes() const;
    std::vector<ReservedRegion> const& reserved_regions() const;
    // How wide a paddr its domains can hold.
    unsigned paddr_bits() const;

    // Each domain's own, until 65535 have been made.
    DomainTag next_tag() const;

    // iommu_domain_alloc(). ENOMEM. The Iommu outlives its domains.
    Result<std::unique_ptr<Domain>> create_domain();

private:
    struct Impl;
    explicit Iommu(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace pinfold::iommu
