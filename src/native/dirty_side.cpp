#include "native/dirty_side.hpp"

#include <algorithm>

namespace pinfold::native {

DirtyHalf* DirtySide::half_at(std::uint64_t raw) const
{
    Halves const* const halves = raw >> kWindowLg2 == 0
                                     ? &lowest_
                                     : windows_[raw >> kWindowLg2].load(std::memory_order_acquire);
    if (halves == nullptr) return nullptr;
    return (*halves)[(raw >> DirtyHalf::kLg2) % kInWindow].load(std::memory_order_acquire);
}

void DirtySide::set_both(DirtyHalf& half, std::size_t word, std::uint64_t low, std::uint64_t high)
{
    half.set_the_clear(word, low);
    if (high != 0) half.set_the_clear(word + 1, high);
}

// Word by word, in whatever block and window.
void DirtySide::mark_far(Iova iova, Iova last)
{
    constexpr std::uint64_t kWordMask = (std::uint64_t{1} << DirtyHalf::kWordLg2) - 1;
    for (std::uint64_t at = iova.raw();;) {
        std::uint64_t const end = std::min(last.raw(), at | kWordMask);
        std::uint64_t const ones = ~std::uint64_t{0} >> (63 - ((end >> 12) - (at >> 12)));
        if (DirtyHalf* const half = half_at(at))
            half->set_the_clear(DirtyHalf::word_of(at), ones << ((at >> 12) % 64));
        if (end == last.raw()) return;
        at = end + 1;
    }
}

}  // namespace pinfold::native
