// How much of a request the IOMMU API hands to a driver in one call: rules. Tables that
// are filled in one pass come out the same and need not ask.
#pragma once

#include <cstdint>

#include "base/address.hpp"
#include "base/page_size.hpp"

namespace pinfold::iommu {

// Bytes from `iova` on, a multiple of the one page size that the call is about. An unmap passes its
// iova as the paddr (rule X-3). REQUIRES: size is not 0, and all are multiples of sizes.smallest().
constexpr std::uint64_t driver_round(PageSizes sizes, Iova iova, Paddr paddr, std::uint64_t size)
{
    PageSize const page = sizes.best(iova.raw() | paddr.raw(), size).value();
    PageSizes const larger{sizes.bitmap() & ~(page.bytes() | page.mask())};
    if (!larger.empty() && larger.smallest().aligned(iova.raw() ^ paddr.raw())) {
        PageSize const next = larger.smallest();
        std::uint64_t const to_next = next.bytes() - (iova.raw() & next.mask());
        if (to_next <= size && next.bytes() <= size - to_next) return to_next;
    }
    return page.align_down(size);
}

}  // namespace pinfold::iommu
