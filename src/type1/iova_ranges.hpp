// The IOVAs that a container's groups can all use: sorted, disjoint, inclusive ranges. Rules A-12
// to A-21. A value; the container works on a copy and swaps it in.
#pragma once

#include <span>
#include <vector>

#include "base/range.hpp"
#include "iommu/iommu.hpp"
#include "type1/dma.hpp"

namespace pinfold::type1 {

class IovaRanges {
public:
    std::span<IovaRange const> ranges() const { return ranges_; }
    bool empty() const { return ranges_.empty(); }

    // True if `range` lies inside a single range, or if there is nothing to lie in (rule A-21).
    bool admits(IovaRange range) const;

    // True if a domain with this aperture could not hold what is mapped (rule A-15).
    bool conflicts(IovaRange aperture, Dmas& dmas) const;

    // Cuts down to `aperture` (rule A-16).
    void narrow(IovaRange aperture);
    // Moves the outer ends to those of `aperture` (rule A-12).
    void widen(IovaRange aperture);
    // One range from the first start to the last end, with no holes (rule A-13).
    void close_holes();
    // Takes the reserved regions out (rules ).
    void exclude(std::span<iommu::ReservedRegion const> regions);

    // Until there are more than `ranges`, nothing above allocates.
    void reserve(std::size_t ranges) { ranges_.reserve(ranges); }

private:
    void exclude(IovaRange region);

    std::vector<IovaRange> ranges_;
};

// Whether a reserved region keeps a client off its IOVAs: all but direct_relaxable (rule A-17).
bool binding(iommu::ReservedRegion const& region);

}  // namespace pinfold::type1
