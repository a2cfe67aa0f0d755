#include "type1/iova_ranges.hpp"

#include <algorithm>

namespace pinfold::type1 {

bool binding(iommu::ReservedRegion const& region)
{
    return region.type != iommu::ReservedType::direct_relaxable;
}

bool IovaRanges::admits(IovaRange range) const
{
    return ranges_.empty() ||
           std::ranges::any_of(ranges_, [&](IovaRange valid) { return valid.contains(range); });
}

bool IovaRanges::conflicts(IovaRange aperture, Dmas& dmas) const
{
    if (ranges_.empty()) return false;
    Iova const first = ranges_.front().start;
    Iova const last = ranges_.back().last;
    if (aperture.start > last || aperture.last < first) return true;
    if (aperture.start > first && overlapping(dmas, {first, aperture.start - 1})) return true;
    return aperture.last < last && overlapping(dmas, {aperture.last + 1, last});
}

void IovaRanges::narrow(IovaRange aperture)
{
    if (ranges_.empty()) {
        ranges_.push_back(aperture);
        return;
    }
    // A range that keeps a single byte only is dropped, as the kernel drops it.
    std::erase_if(ranges_, [&](IovaRange range) { return range.last <= aperture.start; });
    if (!ranges_.empty()) ranges_.front().start = std::max(ranges_.front().start, aperture.start);
    std::erase_if(ranges_, [&](IovaRange range) { return aperture.last <= range.start; });
    if (!ranges_.empty()) ranges_.back().last = std::min(ranges_.back().last, aperture.last);
}

void IovaRanges::widen(IovaRange aperture)
{
    if (ranges_.empty()) return;
    ranges_.front().start = aperture.start;
    ranges_.back().last = aperture.last;
}

void IovaRanges::close_holes()
{
    if (ranges_.empty()) return;
    ranges_.front().last = ranges_.back().last;
    ranges_.resize(1, ranges_.front());
}

void IovaRanges::exclude(std::span<iommu::ReservedRegion const> regions)
{
    for (iommu::ReservedRegion const& region : regions)
        if (binding(region)) exclude(region.range);
}

// A region lies in the middle of one range, which it splits, or it eats ranges from their ends.
void IovaRanges::exclude(IovaRange region)
{
    for (auto range = ranges_.begin(); range != ranges_.end();) {
        if (!range->overlaps(region)) {
            ++range;
            continue;
        }
        bool const keeps_head = range->start < region.start;
        bool const keeps_tail = region.last < range->last;
        if (keeps_head && keeps_tail) {
            IovaRange const tail{region.last + 1, range->last};
            range->last = region.start - 1;
            ranges_.insert(range + 1, tail);
            return;
        }
        if (keeps_head)
            range->last = region.start - 1;
        else if (keeps_tail)
            range->start = region.last + 1;
        if (keeps_head || keeps_tail)
            ++range;
        else
            range = ranges_.erase(range);
    }
}

}  // namespace pinfold::type1
