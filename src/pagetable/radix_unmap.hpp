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

// A run of leaves, to the end of the table, of the range, or the first slot that is none.
template <PageTableFormat F>
auto RadixTable<F>::clear_leaves(Word* table, unsigned level, Unmapping& at) -> Go
{
    std::uint64_t i = index(at.iova, level);
    do {
        Word const word = load(table[i]);
        if (F::entry(word, level) != Entry::leaf) return Go::on;
        PageSize const size = F::leaf_size(word, level);
        if (!size.aligned(at.iova)) return Go::stop;

        std::uint64_t const end = i + (size.bytes() >> slot_lg2(level));
        while (i < end) store(table[i++], 0);

        // A raw word may make a leaf that was never counted.
        if (leaves_[size.lg2()] != 0) --leaves_[size.lg2()];
        at.bytes += size.bytes();
        at.finished = at.last - at.iova <= size.mask();
        at.iova += size.bytes();
    } while (!at.finished && i < kSlots);
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
