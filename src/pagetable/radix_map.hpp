// RadixTable::map(). Included by radix.hpp only.
#pragma once

#include "pagetable/radix.hpp"

namespace pinfold::pagetable {

template <PageTableFormat F>
Result<> RadixTable<F>::map(Iova iova, Paddr paddr, std::uint64_t size, Prot prot, Snoop snoop,
                            std::uint64_t& mapped)
{
    mapped = 0;
    if (prot == Prot::none) return fail(Errno::inval);
    auto const iovas = TRY(IovaRange::of(iova, size));
    auto const paddrs = TRY(PaddrRange::of(paddr, size));
    if (iovas.last.raw() > last_ || paddrs.last.raw() > last_paddr_) return fail(Errno::range);
    TRY(grow(iovas.last.raw()));

    Mapping at{iova.raw(), paddr.raw(), size, F::attributes(prot, snoop)};
    Top const top = this->top();
    auto const done = map_table(TableMemory::words(top.root), top.level, at);
    mapped = size - at.left;
    return done;
}

// Adds levels until the table covers `last`. A walk that still has the old root finds all that it
// could find before.
template <PageTableFormat F>
Result<> RadixTable<F>::grow(std::uint64_t last)
{
    for (Top old = top(); last_under(old) < last; old = top()) {
        Paddr const root = TRY(memory_->allocate(live_));
        store(*TableMemory::words(root), F::make_table(old.root, old.level + 1));
        set_top({root, old.level + 1});
    }
    return {};
}

// Maps the part of the range that this table covers.
template <PageTableFormat F>
Result<> RadixTable<F>::map_table(Word* table, unsigned level, Mapping& at)
{
    do {
        auto const size = leaf_sizes_[level].best(at.iova | at.paddr, at.left);
        if (size) {
            TRY(put_leaves(table, level, *size, at));
        } else {
            if (level == 0) return fail(Errno::nxio);
            Word* const below = TRY(descend(table[index(at.iova, level)], level));
            TRY(map_table(below, level - 1, at));
        }
    } while (at.left != 0 && index(at.iova, level) != 0);
    return {};
}

// A run of leaves of one size, to the end of the table, of the range, or to where a larger size of
// this level fits.
template <PageTableFormat F>
Result<> RadixTable<F>::put_leaves(Word* table, unsigned level, PageSize size, Mapping& at)
{
    std::uint64_t const first = index(at.iova, level);
    unsigned const slots_lg2 = size.lg2() - slot_lg2(level);  // slots of one leaf
    std::uint64_t const wanted = run_length(level, size, at) << slots_lg2;

    std::uint64_t const vacant = vacant_run(table + first, wanted, level);
    std::uint64_t const leaves = vacant >> slots_lg2;
    std::uint64_t const slots = leaves << slots_lg2;
    for (std::uint64_t i = 0; i < slots; ++i) {
        Paddr const paddr{at.paddr + (i << slot_lg2(level))};
        publish(table[first + i], F::make_leaf(paddr, level, size, at.attributes));
    }

    leaves_[size.lg2()] += leaves;
    std::uint64_t const bytes = leaves << size.lg2();
    at.iova += bytes;
    at.paddr += bytes;
    at.left -= bytes;
    if (vacant < wanted) return fail(Errno::addrinuse);
    return {};
}

// How many of the next `wanted` slots are empty, or are so now. Most are zero, and passed in steps.
template <PageTableFormat F>
std::uint64_t RadixTable<F>::vacant_run(Word* slots, std::uint64_t wanted, unsigned level)
{
    constexpr std::uint64_t kStep = 8;
    std::uint64_t vacant = 0;
    while (vacant < wanted) {
        if (wanted - vacant >= kStep && all_zero(slots + vacant, kStep)) {
            vacant += kStep;
            continue;
        }
        Word& slot = slots[vacant];
        if (F::entry(load(slot), level) != Entry::empty && !vacate(slot, level)) break;
        ++vacant;
    }
    return vacant;
}

// How many leaves of `size` to write now. Rule X-2 within one table.
template <PageTableFormat F>
std::uint64_t RadixTable<F>::run_length(unsigned level, PageSize size, Mapping const& at) const
{
    std::uint64_t const slots = kSlots - index(at.iova, level);
    std::uint64_t const leaves =
        std::min(slots >> (size.lg2() - slot_lg2(level)), at.left >> size.lg2());

    std::uint64_t const larger = leaf_sizes_[level].bitmap() & ~(size.bytes() | size.mask());
    if (larger == 0) return leaves;
    PageSize const next = PageSizes{larger}.smallest();
    if (!next.aligned(at.iova ^ at.paddr)) return leaves;
    std::uint64_t const to_next = next.bytes() - (at.iova & next.mask());
    if (at.left < to_next || at.left - to_next < next.bytes()) return leaves;
    return std::min(leaves, to_next >> size.lg2());
}

// The table below `slot`, made if there is none. EADDRINUSE: a leaf stands there, or a raw word
// that leads nowhere of ours.
template <PageTableFormat F>
Result<Word*> RadixTable<F>::descend(Word& slot, unsigned level)
{
    Word const word = load(slot);
    switch (F::entry(word, level)) {
        case Entry::empty: {
            Paddr const table = TRY(memory_->allocate(live_));
            publish(slot, F::make_table(table, level));
            return TableMemory::words(table);
        }
        case Entry::table: {
            Word* const table = own_table(word);
            if (table == nullptr) return fail(Errno::addrinuse);
            return table;
        }
        case Entry::leaf:
        case Entry::reserved: break;
    }
    return fail(Errno::addrinuse);
}

// Makes room for a leaf where a table stands that holds none. The table is out of the tree once the
// leaf is stored over it.
template <PageTableFormat F>
bool RadixTable<F>::vacate(Word& slot, unsigned level)
{
    Word const word = load(slot);
    if (F::entry(word, level) != Entry::table) return false;
    Word* const table = own_table(word);
    if (table == nullptr || !vacant(table, level - 1)) return false;
    store(slot, 0);
    retire(table, level - 1);
    return true;
}

template <PageTableFormat F>
bool RadixTable<F>::vacant(Word* table, unsigned level) const
{
    for (std::uint64_t i = 0; i < kSlots; ++i) {
        Word const word = load(table[i]);
        Entry const entry = F::entry(word, level);
        if (entry == Entry::empty) continue;
        if (entry != Entry::table || level == 0) return false;
        Word* const below = own_table(word);
        if (below == nullptr || !vacant(below, level - 1)) return false;
    }
    return true;
}

template <PageTableFormat F>
void RadixTable<F>::retire(Word* table, unsigned level)
{
    for (std::uint64_t i = 0; level > 0 && i < kSlots; ++i) {
        Word const word = load(table[i]);
        if (F::entry(word, level) != Entry::table) continue;
        if (Word* const below = own_table(word)) retire(below, level - 1);
    }
    memory_->move(Paddr{reinterpret_cast<std::uint64_t>(table)}, live_, retired_);
}

}  // namespace pinfold::pagetable
