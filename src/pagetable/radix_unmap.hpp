// RadixTable::unmap(). Included by radix.hpp only.
#pragma once

#include "pagetable/radix.hpp"

namespace pinfold::pagetable {

template <PageTableFormat F>
std::uint64_t RadixTable<F>::unmap(Iova iova, std::uint64_t size)
{
    auto const range = IovaRange::of(iova, size);
    if (!range || range->last.raw() > last_) return 0;
    Unmapping at{iova.raw(), range->last.raw(), 0, false};
    unmap_table(TableMemory::words(root_), top_, at);
    return at.bytes;
}

// Unmaps the part of the range that this table covers.
template <PageTableFormat F>
auto RadixTable<F>::unmap_table(Word* table, unsigned level, Unmapping& at) -> Go
{
    do {
        Word& slot = table[index(at.iova, level)];
        Entry const entry = F::entry(load(slot), level);
        if (entry == Entry::leaf) {
            if (clear_leaves(table, level, at) == Go::stop) return Go::stop;
        } else if (entry == Entry::table && level > 0) {
            if (unmap_below(slot, level, at) == Go::stop) return Go::stop;
        } else {
            return Go::stop;  // a hole
        }
    } while (!at.finished && index(at.iova, level) != 0);
    return Go::on;
}

// A run of leaves of one size, to the end of the table, of the range, or of the run.
template <PageTableFormat F>
auto RadixTable<F>::clear_leaves(Word* table, unsigned level, Unmapping& at) -> Go
{
    Word* const first = table + index(at.iova, level);
    PageSize const size = F::leaf_size(load(*first), level);
    if (!size.aligned(at.iova)) return Go::stop;
    unsigned const slots_lg2 = size.lg2() - slot_lg2(level);  // slots of one leaf
    std::uint64_t const room = kSlots - index(at.iova, level);
    std::uint64_t const wanted =
        std::min(room >> slots_lg2, ((at.last - at.iova) >> size.lg2()) + 1);

    std::uint64_t leaves = 1;
    for (; leaves < wanted; ++leaves) {
        Word const word = load(first[leaves << slots_lg2]);
        if (F::entry(word, level) != Entry::leaf || F::leaf_size(word, level) != size) break;
    }
    for (std::uint64_t i = 0; i < leaves << slots_lg2; ++i) store(first[i], 0);

    // A raw word may have made a leaf that was never counted.
    leaves_[size.lg2()] -= std::min(leaves_[size.lg2()], leaves);
    std::uint64_t const bytes = leaves << size.lg2();
    at.bytes += bytes;
    at.finished = at.last - at.iova < bytes;
    at.iova += bytes;
    return Go::on;
}

template <PageTableFormat F>
auto RadixTable<F>::unmap_below(Word& slot, unsigned level, Unmapping& at) -> Go
{
    Word* const below = own_table(load(slot));
    if (below == nullptr) return Go::stop;
    PageSize const covered = PageSize::lg2_of(slot_lg2(level));
    bool const whole = covered.aligned(at.iova) && at.last - at.iova >= covered.mask();

    if (unmap_table(below, level - 1, at) == Go::stop) return Go::stop;
    if (whole) {
        store(slot, 0);
        memory_->move(Paddr{reinterpret_cast<std::uint64_t>(below)}, live_, retired_);
    }
    return Go::on;
}

}  // namespace pinfold::pagetable
