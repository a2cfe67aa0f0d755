// Who watches the IOMMU API of a unit's domains: what the kernel tells in its trace events
// iommu:map and iommu:unmap and in its log. Called by the thread that maps and unmaps; one observer
// may serve several units and containers, and then locks for itself.
#pragma once

#include <cstdint>
#include <optional>

#include "base/address.hpp"
#include "base/page_size.hpp"

namespace pinfold::iommu {

class Observer {
public:
    virtual ~Observer() = default;

    // A map call has succeeded, as it was asked for.
    virtual void mapped(Iova iova, Paddr paddr, std::uint64_t size) = 0;
    // An unmap call has ended: `size` was asked for and `unmapped` went. The roll-back of a map
    // that failed is one too, with what had been mapped (0 perhaps).
    virtual void unmapped(Iova iova, std::uint64_t size, std::uint64_t unmapped) = 0;
    // A call was refused, because something in it is no multiple of the domain's smallest page size
    // (rules ). An unmap has no paddr.
    virtual void unaligned(Iova iova, std::optional<Paddr> paddr, std::uint64_t size,
                           PageSize smallest) = 0;
};

}  // namespace pinfold::iommu
