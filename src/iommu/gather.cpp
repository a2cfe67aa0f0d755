#include "iommu/gather.hpp"

#include <algorithm>

namespace pinfold::iommu {

void Gather::add(IovaRange removed)
{
    if (!range)
        range = removed;
    else
        range =
            IovaRange{std::min(range->start, removed.start), std::max(range->last, removed.last)};
}

}  // namespace pinfold::iommu
