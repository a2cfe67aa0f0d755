#include "type1/page_sizes.hpp"

#include <algorithm>

namespace pinfold::type1 {

PageSizes PageRules::reported(PageSizes common) const
{
    std::uint64_t const below = common.bitmap() & host_page_.mask();
    PageSizes const from_host_page{common.bitmap() & ~host_page_.mask()};
    bool const no_domain = ~common.bitmap() == 0;
    switch (policy_) {
        // Sizes below the host page are hidden behind the host page, which stands in for them: the
        // IOMMU API cuts it up.
        case SubpagePolicy::merged:
            if (below == 0) return common;
            return from_host_page | PageSizes{host_page_.bytes()};
        case SubpagePolicy::pre_2015: return from_host_page;
        case SubpagePolicy::rfc_2015: return common;
        // Without a domain there is no smaller page to offer.
        case SubpagePolicy::subpage: return no_domain ? from_host_page : common;
    }
    return common;
}

std::uint64_t PageRules::granule(PageSizes reported) const
{
    std::uint64_t const least = reported.empty() ? 1 : reported.smallest().bytes();
    return policy_ == SubpagePolicy::rfc_2015 ? std::max(least, host_page_.bytes()) : least;
}

std::uint64_t PageRules::least_mapping(std::uint64_t granule) const
{
    if (policy_ == SubpagePolicy::subpage && granule != 1) return granule;
    return std::max(granule, host_page_.bytes());
}

PageSize PageRules::unmap_step(PageSizes domain) const
{
    if (policy_ != SubpagePolicy::subpage) return host_page_;
    return std::min(host_page_, domain.smallest());
}

bool PageRules::warns(std::uint64_t granule) const
{
    return policy_ != SubpagePolicy::rfc_2015 && granule > host_page_.bytes();
}

}  // namespace pinfold::type1
