// RadixTable::unmap(). Included by radix.hpp only.
#pragma once

#include "pagetable/radix.hpp"

namespace pinfold::pagetable {

template <PageTableFormat F>
std::uint64_t RadixTable<F>::unmap(Iova iova, std::uint64_t size)
{
    auto const range = IovaRange::of(iova, size);
    if (!range || range->last.raw() > last_) return 0;
    Top const top = this->top();
    if (iova.raw() > last_under(top)) return 0;
    Unmapping at{iova.raw(), range->last.raw(), 0, false};
    unmap_table(TableMemory::words(top.root), top.level, at);
    return at.bytes;
}

// Unmaps the part of the range that this table covers.
template <PageTableFormat F>
auto RadixTable<F>::unmap_table(Word* table, unsigned level, Unmapping& at) -> Go
{
    do {
        Word& slot = table[index(at.iova, level)];
        Entry const entry = entry_to_take(slot, level, at);
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

// What `slot` holds, once a leaf that the range covers in part has been split. Entry::reserved: it
// stays, and the unmap ends here.
template <PageTableFormat F>
Entry RadixTable<F>::entry_to_take(Word& slot, unsigned level, Unmapping const& at)
{
    Word const word = load(slot);
    Entry const entry = F::entry(word, level);
    if (entry != Entry::leaf || partial_ == Partial::takes_all) return entry;
    PageSize const size = F::leaf_size(word, level);
    if (size.aligned(at.iova) && at.last - at.iova >= size.mask()) return entry;
    return partial_ == Partial::splits && split(slot, level) ? Entry::table : Entry::reserved;
}

// Puts a table of leaves one level smaller in the place of a leaf, complete before it is seen.
// False: a leaf has no such pieces, or there is no page for the table.
template <PageTableFormat F>
bool RadixTable<F>::split(Word& slot, unsigned level)
{
    Word const word = load(slot);
    PageSize const size = F::leaf_size(word, level);
    if (level == 0 || size.lg2() != slot_lg2(level)) return false;
    PageSize const piece = PageSize::lg2_of(slot_lg2(level - 1));
    if (!F::leaf_sizes(level - 1).has(piece)) return false;
    auto const table = memory_->allocate(live_);
    if (!table) return false;

    Paddr const paddr = F::leaf_paddr(word, level);
    for (std::uint64_t i = 0; i < kSlots; ++i)
        store(TableMemory::words(*table)[i],
              F::make_leaf(paddr + (i << piece.lg2()), level - 1, piece, F::leaf_attributes(word)));
    publish(slot, F::make_table(*table, level));
    leaves_[size.lg2()] -= std::min<std::uint64_t>(leaves_[size.lg2()], 1);
    leaves_[piece.lg2()] += kSlots;
    return true;
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
    // The last one may be covered in part.
    std::uint64_t const rest = at.last - at.iova;
    bool const last_too = partial_ == Partial::takes_all || (rest & size.mask()) == size.mask();
    std::uint64_t const wanted =
        std::min(room >> slots_lg2, (rest >> size.lg2()) + (last_too ? 1 : 0));

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
