#include "type1/backend.hpp"

#include <algorithm>

namespace pinfold::type1 {

Backend::Backend(Settings const& settings, Version version)
    : settings_{settings},
      version_{version},
      domains_{settings.memory.page_size()},
      dma_avail_{settings.dma_entry_limit},
      batch_(settings.memory.page_size().bytes() / sizeof(void*))
{
    update_page_sizes();
}

Backend::~Backend()
{
    while (!groups_.empty()) detach(*groups_.back());
}

Info Backend::info() const
{
    auto const ranges = iova_ranges_.ranges();
    return {page_sizes_, granule_, dma_avail_, {ranges.begin(), ranges.end()}};
}

void Backend::validate_vaddr(Dma& dma)
{
    if (dma.vaddr_invalid) --invalid_vaddrs_;
    dma.vaddr_invalid = false;
}

}  // namespace pinfold::type1
