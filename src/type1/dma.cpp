#include "type1/dma.hpp"

#include <iterator>

namespace pinfold::type1 {

Dmas::iterator first_ending_from(Dmas& dmas, Iova iova)
{
    auto const above = dmas.upper_bound(iova);
    if (above == dmas.begin()) return above;
    auto const below = std::prev(above);
    return below->second.range.last >= iova ? below : above;
}

Dma* overlapping(Dmas& dmas, IovaRange range)
{
    auto const found = first_ending_from(dmas, range.start);
    if (found == dmas.end() || found->second.range.start > range.last) return nullptr;
    return &found->second;
}

bool bisects(Dmas& dmas, IovaRange range)
{
    Dma const* const first = overlapping(dmas, {range.start, range.start});
    if (first != nullptr && first->range.start != range.start) return true;
    Dma const* const last = overlapping(dmas, {range.last, range.last});
    return last != nullptr && last->range.last != range.last;
}

}  // namespace pinfold::type1
