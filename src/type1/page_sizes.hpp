// Which page sizes a container reports and what a mapping must be aligned to: all that the policies
// on IOMMU pages below the host page differ in. Rules I-4, T-1 to T-5.
#pragma once

#include <cstdint>

#include "base/page_size.hpp"

namespace pinfold::type1 {

// The positions that were ever taken on IOMMU pages smaller than the host's. `merged` is Linux since
// 4.4; docs/subpage.md tells the story of the others.
enum class SubpagePolicy : std::uint8_t { merged, pre_2015, rfc_2015, subpage };

// R, the container's pgsize_bitmap. `common` is what all of its domains support, all ones when it
// has none. Sizes below the host page are hidden behind the host page, which stands in for them:
// pages are pinned and charged whole, and the IOMMU API cuts them up.
PageSizes reported_page_sizes(PageSizes common, PageSize host_page);

// G in bytes, the smallest reported size: what MAP, UNMAP and GET_BITMAP are aligned to. 1 for the
// empty set, which domains without a size in common leave (rule T-4).
std::uint64_t granule(PageSizes reported);

}  // namespace pinfold::type1
