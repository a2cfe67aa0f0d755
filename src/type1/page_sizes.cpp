#include "type1/page_sizes.hpp"

namespace pinfold::type1 {

PageSizes reported_page_sizes(PageSizes common, PageSize host_page)
{
    std::uint64_t const below = common.bitmap() & host_page.mask();
    if (below == 0) return common;
    return PageSizes{(common.bitmap() & ~host_page.mask()) | host_page.bytes()};
}

std::uint64_t granule(PageSizes reported)
{
    return reported.empty() ? 1 : reported.smallest().bytes();
}

}  // namespace pinfold::type1
