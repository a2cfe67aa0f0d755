// What caches of translations must let go, and how it is said to each unit: VT-d 6.5.2, AMD IOMMU
// 2.4, SMMUv3 4.4, virtio-iommu 5.13.6.6. Pure functions: a command is words, and goes where the
// caller's `issue` puts it.
#pragma once

#include <array>
#include <cstdint>

#include "base/address.hpp"
#include "base/function_ref.hpp"
#include "base/page_size.hpp"
#include "base/prot.hpp"
#include "base/range.hpp"

namespace pinfold::iommu {

struct Invalidation {
    IovaRange range;
    PageSizes leaves;     // as in Gather; empty: any
    bool tables = false;  // pointers to tables that translated in `range` must go too

    // `range` out to the ends of the largest leaves that may overlap it: all, if they are not
    // known.
    IovaRange covered() const;
};

// As the unit reads it from its queue: little-endian words, of which the last may be half used.
struct Command {
    std::array<std::uint64_t, 5> words{};
    unsigned bytes = 16;

    bool operator==(Command const&) const = default;
};
using Issue = FunctionRef<void(Command const&)>;

// Who gets a unit's commands: told by whichever thread maps or unmaps, and locks for itself.
class CommandQueue {
public:
    virtual ~CommandQueue() = default;
    virtual void submit(Command const& command) = 0;
};

// How a unit knows a domain: VT-d domain id, AMD domain id, SMMU ASID, virtio domain.
using DomainTag = std::uint16_t;

namespace vtd {
struct Abilities {
    bool page_selective = true;
    unsigned most_pages_lg2 = 18;  // MAMV
};
// One page-selective invalidation of the naturally aligned block that covers it all, or one of the
// domain; with the hint that only leaves went, if so.
void invalidate(DomainTag domain, Invalidation const& what, Abilities abilities, Issue issue);
void wait(Issue issue);  // a wait descriptor with the fence flag
}  // namespace vtd

namespace amd {
// One INVALIDATE_IOMMU_PAGES, its size coded in the address.
void invalidate(DomainTag domain, Invalidation const& what, Issue issue);
void wait(Issue issue);  // COMPLETION_WAIT
}  // namespace amd

namespace smmu {
struct Abilities {
    PageSize granule = k4K;
    bool by_range = true;  // IDR3.RIL
};
// TLBI_NH_VA by ranges or page by page; TLBI_NH_ASID where that would be more than 512 commands.
void invalidate(DomainTag asid, Invalidation const& what, Abilities abilities, Issue issue);
void wait(Issue issue);  // CMD_SYNC
}  // namespace smmu

namespace virtio {
// Requests of the driver; there is no cache to be told of.
void map(DomainTag domain, IovaRange iova, Paddr paddr, Prot prot, Issue issue);
void unmap(DomainTag domain, IovaRange iova, Issue issue);
}  // namespace virtio

}  // namespace pinfold::iommu
