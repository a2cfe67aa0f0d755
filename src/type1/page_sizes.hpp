// Which page sizes a container reports and what a mapping must be aligned to: all that the policies
// on IOMMU pages below the host page differ in. Rules I-4, T-1 to T-6; docs/subpage.md.
#pragma once

#include <cstdint>

#include "base/page_size.hpp"

namespace pinfold::type1 {

// The positions that were ever taken on IOMMU pages smaller than the host's. `merged` is Linux
// since 4.4; docs/subpage.md tells the story of the others.
enum class SubpagePolicy : std::uint8_t { merged, pre_2015, rfc_2015, subpage };

// What every use of a page size in Type1 asks. A value.
class PageRules {
public:
    PageRules(SubpagePolicy policy, PageSize host_page) : policy_{policy}, host_page_{host_page} {}

    // R, the container's pgsize_bitmap. `common` is what all of its domains support, all ones when
    // it has none.
    PageSizes reported(PageSizes common) const;

    // G in bytes: what MAP, UNMAP and GET_BITMAP are aligned to and a dirty bit stands for. 1 for
    // the empty set, which domains without a size in common leave (rule T-4).
    std::uint64_t granule(PageSizes reported) const;

    // What the pages of one mapping must be multiples of whatever G is: pages are pinned whole, and
    // only `subpage` maps parts of them.
    std::uint64_t least_mapping(std::uint64_t granule) const;

    // The steps in which an unmap asks a domain with these pages where IOVAs lead (rule U-13).
    PageSize unmap_step(PageSizes domain) const;

    // A host page is charged once for all mappings of a container that share it.
    bool shares_pages() const { return policy_ == SubpagePolicy::subpage; }

    // Linux warns in its log at each MAP and UNMAP (rule T-3).
    bool warns(std::uint64_t granule) const;

private:
    SubpagePolicy policy_;
    PageSize host_page_;
};

}  // namespace pinfold::type1
