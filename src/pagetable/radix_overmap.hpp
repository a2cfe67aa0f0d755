// Radix::map() where something stands in the way. Included by radix_core.hpp only.
#pragma once

#include "pagetable/radix_core.hpp"

namespace pinfold::pagetable {

// Makes room for a leaf where a table stands that holds none. The table is out of the tree once the
// slot is empty.
template <PageTableFormat F, TableSource Source, class Stores>
template <unsigned L>
bool Radix<F, Source, Stores>::vacate(Word& slot, std::uint64_t iova, Removed& removed)
{
    if constexpr (L > 0) {
        Word const word = load(slot);
        if (F::entry(word, L) != Entry::table) return false;
        Paddr const table = F::table_paddr(word);
        TableInfo* const info = own(table, L - 1);
        unsigned lowest = L - 1;
        if (info == nullptr || !vacant<L - 1>(words(table), lowest)) return false;
        Stores::store(slot, Word{0});
        retire(table, *info, removed);
        removed.flush.add_range(slot_range<F, L>(iova));
        removed.flush.add_tables(lowest, L - 1);
        return true;
    } else {
        return false;
    }
}

// Whether there is no leaf in a table and below it; `lowest` becomes the lowest level of a table.
template <PageTableFormat F, TableSource Source, class Stores>
template <unsigned L>
bool Radix<F, Source, Stores>::vacant(Word const* table, unsigned& lowest) const
{
    lowest = std::min(lowest, L);
    if (Stores::all_zero(table, kSlots<F, L>)) return true;
    for (std::uint64_t i = 0; i < kSlots<F, L>; ++i) {
        Word const word = load(table[i]);
        Entry const entry = F::entry(word, L);
        if (entry == Entry::empty) continue;
        if constexpr (L == 0) {
            return false;
        } else {
            if (entry != Entry::table) return false;
            Paddr const below = F::table_paddr(word);
            if (own(below, L - 1) == nullptr || !vacant<L - 1>(words(below), lowest)) return false;
        }
    }
    return true;
}

// Where a leaf of `size` is to be, its `slot`th slot is not empty: what Overmap says.
template <PageTableFormat F, TableSource Source, class Stores>
template <unsigned L>
Result<> Radix<F, Source, Stores>::occupied(Word* table, std::uint64_t slot, PageSize size,
                                            Mapping& at)
{
    if (overmap_ == Overmap::refuses) return fail(Errno::addrinuse);
    std::uint64_t const place = index<F, L>(at.iova) + slot;
    std::uint64_t const iova = at.iova + (slot << kSlotLg2<F, L>);
    Word const word = load(table[place]);
    if (overmap_ == Overmap::keeps && F::entry(word, L) == Entry::leaf) {
        if (F::leaf_size(word, L) != size) return fail(Errno::addrinuse);
        at.advance(size.bytes());
        return {};
    }
    if (!tear_down<L>(table, place, iova, at.removed)) return fail(Errno::addrinuse);
    return {};
}

// Removes what stands in a slot, a whole leaf or a whole table. False: it is nothing of ours.
template <PageTableFormat F, TableSource Source, class Stores>
template <unsigned L>
bool Radix<F, Source, Stores>::tear_down(Word* table, std::uint64_t slot, std::uint64_t iova,
                                         Removed& removed)
{
    Word const word = load(table[slot]);
    Entry const entry = F::entry(word, L);
    if (entry == Entry::leaf) {
        PageSize const size = F::leaf_size(word, L);
        std::uint64_t const slots = size.bytes() >> kSlotLg2<F, L>;
        Stores::fill(table + (slot & ~(slots - 1)), slots, Word{0}, Word{0});
        count(size.lg2(), ~std::uint64_t{0});
        removed.flush.add_range({Iova{size.align_down(iova)}, Iova{iova | size.mask()}});
        removed.flush.add_leaves(L, size);
        return true;
    }
    if constexpr (L > 0) {
        if (entry != Entry::table) return false;
        Paddr const below = F::table_paddr(word);
        TableInfo* const info = own(below, L - 1);
        if (info == nullptr) return false;
        Stores::store(table[slot], Word{0});
        uncount<L - 1>(below, removed.flush);
        retire(below, *info, removed);
        removed.flush.add_range(slot_range<F, L>(iova));
        return true;
    } else {
        return false;
    }
}

// The leaves of a table that has left the tree are no longer counted; `flush` gets their levels and
// those of the tables.
template <PageTableFormat F, TableSource Source, class Stores>
template <unsigned L>
void Radix<F, Source, Stores>::uncount(Paddr table, Flush& flush)
{
    flush.add_tables(L, L);
    Word const* const slots = words(table);
    for (std::uint64_t i = 0; i < kSlots<F, L>; ++i) {
        Word const word = load(slots[i]);
        Entry const entry = F::entry(word, L);
        if (entry == Entry::leaf) {
            PageSize const size = F::leaf_size(word, L);
            flush.add_leaves(L, size);
            count(size.lg2(), ~std::uint64_t{0});
            i |= (size.bytes() >> kSlotLg2<F, L>)-1;
        }
        if constexpr (L > 0)
            if (entry == Entry::table && own(F::table_paddr(word), L - 1) != nullptr)
                uncount<L - 1>(F::table_paddr(word), flush);
    }
}

}  // namespace pinfold::pagetable
