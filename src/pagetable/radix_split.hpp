// Radix::split() and join(). Included by radix_core.hpp only.
#pragma once

#include "pagetable/radix_core.hpp"

namespace pinfold::pagetable {

template <PageTableFormat F, TableSource Source, class Stores>
Result<> Radix<F, Source, Stores>::split(Iova at, Removed& removed)
{
    Top const top = this->top();
    if (at.raw() > std::min(last_, last_under(top))) return {};
    return at_level<F>(top.level, [&]<unsigned L>() {
        return split_table<L>(top_table<L>(top, at.raw()), at.raw(), removed);
    });
}

template <PageTableFormat F, TableSource Source, class Stores>
template <unsigned L>
Result<> Radix<F, Source, Stores>::split_table(Word* table, std::uint64_t at, Removed& removed)
{
    Word const word = load(table[index<F, L>(at)]);
    Entry const entry = F::entry(word, L);
    if (entry == Entry::leaf && !F::leaf_size(word, L).aligned(at))
        return split_leaf<L>(table, word, at, removed);
    if constexpr (L > 0) {
        if (entry != Entry::table) return {};
        Paddr const below = F::table_paddr(word);
        TableInfo* const info = own(below, L - 1);
        if (info == nullptr) return {};
        marks_.changes(*info, at);
        return split_table<L - 1>(words(below), at, removed);
    } else {
        return {};
    }
}

// `word` is a leaf's that begins before `at` and ends beyond: smaller leaves take its place, of
// which one begins there. A leaf of several slots becomes leaves of one slot, word by word; then a
// table of smaller ones takes the place of the slot that `at` lies in. ENOMEM, ENXIO: nothing
// changed.
//
//     | leaf at level 2                        at |         |
//     | leaf ... leaf | table of level 1                    |
//                     | leaf ... | table of level 0 | leaf  |
//                                | leaf .. at leaf  |
template <PageTableFormat F, TableSource Source, class Stores>
template <unsigned L>
Result<> Radix<F, Source, Stores>::split_leaf(Word* table, Word word, std::uint64_t at,
                                              Removed& removed)
{
    PageSize const size = F::leaf_size(word, L);
    bool const several = size.lg2() > kSlotLg2<F, L>;
    bool const inside = (at & kSlotMask<F, L>) != 0;
    if (several && !has_piece<L>()) return fail(Errno::nxio);
    Spare spare{};
    if constexpr (L > 0) {
        if (inside) TRY(reserve_pieces<L - 1>(at, spare));
    } else if (inside) {
        return fail(Errno::nxio);
    }

    removed.flush.add_range({Iova{size.align_down(at)}, Iova{at | size.mask()}});
    removed.flush.add_leaves(L, size);
    if (several) split_run<L>(table, size, at);
    if constexpr (L > 0) {
        if (!inside) return {};
        Word& slot = table[index<F, L>(at)];
        Word now = load(slot);
        // Again if a device marks the leaf meanwhile.
        do write_pieces<L - 1>(spare, at, F::leaf_paddr(now, L), F::leaf_attributes(now, L));
        while (!Stores::replace(slot, now, F::make_table(spare[L - 1], L)));
        count(kSlotLg2<F, L>, ~std::uint64_t{0});
        count_pieces<L - 1>(at);
    }
    return {};
}

// Whether a leaf of one slot of this level is among the domain's sizes.
template <PageTableFormat F, TableSource Source, class Stores>
template <unsigned L>
bool Radix<F, Source, Stores>::has_piece() const
{
    return (leaf_sizes_[L] >> kSlotLg2<F, L> & 1) != 0;
}

// Tables from level L down to where `at` is a boundary between leaves. On error none is kept.
template <PageTableFormat F, TableSource Source, class Stores>
template <unsigned L>
Result<> Radix<F, Source, Stores>::reserve_pieces(std::uint64_t at, Spare& spare)
{
    if (!has_piece<L>()) return fail(Errno::nxio);
    auto const table = make_table_of(L, Content::anything);
    if (!table) return fail(Errno::nomem);
    spare[L] = *table;
    if ((at & kSlotMask<F, L>) == 0) return {};
    Result<> below = fail(Errno::nxio);
    if constexpr (L > 0) below = reserve_pieces<L - 1>(at, spare);
    if (!below) {
        Marks::unmark(own_info(*table));
        give_back({table, *table, 1});
    }
    return below;
}

template <PageTableFormat F, TableSource Source, class Stores>
template <unsigned L>
void Radix<F, Source, Stores>::write_pieces(Spare const& spare, std::uint64_t at, Paddr paddr,
                                            Word attributes)
{
    Word* const slots = words(spare[L]);
    write_leaves<L>(slots, kSlots<F, L>, PageSize::lg2_of(kSlotLg2<F, L>), paddr, attributes);
    if ((at & kSlotMask<F, L>) == 0) {
        Marks::set_uniform(own_info(spare[L]), kSlotLg2<F, L>, paddr);
        return;
    }
    if constexpr (L > 0) {
        Paddr const there = paddr + (index<F, L>(at) << kSlotLg2<F, L>);
        write_pieces<L - 1>(spare, at, there, attributes);
        Stores::store(slots[index<F, L>(at)], F::make_table(spare[L - 1], L));
    }
}

template <PageTableFormat F, TableSource Source, class Stores>
template <unsigned L>
void Radix<F, Source, Stores>::count_pieces(std::uint64_t at)
{
    bool const table_below = (at & kSlotMask<F, L>) != 0;
    count(kSlotLg2<F, L>, kSlots<F, L> - (table_below ? 1 : 0));
    if constexpr (L > 0)
        if (table_below) count_pieces<L - 1>(at);
}

// Each word on its own: between two of them, the leaf's and the new ones lead to the same places.
template <PageTableFormat F, TableSource Source, class Stores>
template <unsigned L>
void Radix<F, Source, Stores>::split_run(Word* table, PageSize size, std::uint64_t at)
{
    std::uint64_t const slots = size.bytes() >> kSlotLg2<F, L>;
    Word* const first = table + (index<F, L>(at) & ~(slots - 1));
    // A mark in one word is about all of the leaf.
    bool dirty = false;
    if constexpr (TracksDirty<F>)
        for (std::uint64_t i = 0; i < slots; ++i) dirty = dirty || F::dirty(load(first[i]));
    for (std::uint64_t i = 0; i < slots; ++i) {
        Word piece;
        Word now = load(first[i]);
        do {
            Word marked = now;
            if constexpr (TracksDirty<F>)
                if (dirty) marked = F::make_dirty(now);
            piece = F::make_leaf(F::leaf_paddr(now, L) + (i << kSlotLg2<F, L>), L,
                                 PageSize::lg2_of(kSlotLg2<F, L>), F::leaf_attributes(marked, L));
        } while (!Stores::replace(first[i], now, piece));
    }
    count(size.lg2(), ~std::uint64_t{0});
    count(kSlotLg2<F, L>, slots);
}

template <PageTableFormat F, TableSource Source, class Stores>
std::uint64_t Radix<F, Source, Stores>::join(IovaRange range, Removed& removed)
{
    Top const top = this->top();
    std::uint64_t const last = std::min({range.last.raw(), last_, last_under(top)});
    if (range.start.raw() > last) return 0;
    return at_level<F>(top.level, [&]<unsigned L>() {
        std::uint64_t made = 0;
        for_each_top_table<L>(top, {range.start, Iova{last}}, [&](Word* table, IovaRange part) {
            made += join_table<L>(table, part, removed);
        });
        return made;
    });
}

// From below upwards, so that what was joined can be joined again. The range lies in this table.
template <PageTableFormat F, TableSource Source, class Stores>
template <unsigned L>
std::uint64_t Radix<F, Source, Stores>::join_table(Word* table, IovaRange range, Removed& removed)
{
    std::uint64_t made = 0;
    if constexpr (L > 0) {
        for_each_slot<F, L>(table, range, [&](Word& slot, IovaRange part) {
            Word const word = load(slot);
            if (F::entry(word, L) != Entry::table) return;
            Paddr const below = F::table_paddr(word);
            TableInfo* const info = own(below, L - 1);
            if (info == nullptr) return;
            std::uint64_t const made_below = join_table<L - 1>(words(below), part, removed);
            if (made_below != 0) marks_.changes(*info, part.start.raw());
            made += made_below;
            bool const whole = part == slot_range<F, L>(part.start.raw());
            if (whole && has_piece<L>() && join_slot<L>(slot, word, part, *info, removed)) ++made;
        });
    }
    return made;
}

template <PageTableFormat F, TableSource Source, class Stores>
template <unsigned L>
bool Radix<F, Source, Stores>::join_slot(Word& slot, Word word, IovaRange part, TableInfo& info,
                                         Removed& removed)
{
    Paddr const below = F::table_paddr(word);
    auto const leaf = joined<L>(words(below));
    if (!leaf || !Stores::replace(slot, word, *leaf)) return false;
    uncount<L - 1>(below, removed.flush);
    count(kSlotLg2<F, L>, 1);
    retire(below, info, removed);
    removed.flush.add_range(part);
    return true;
}

// The one leaf of level L that says what all leaves of a table below say; nullopt: there is none.
template <PageTableFormat F, TableSource Source, class Stores>
template <unsigned L>
auto Radix<F, Source, Stores>::joined(Word const* table) const -> std::optional<Word>
{
    constexpr unsigned kBelow = L - 1;
    auto const unmarked = [](Word word) {
        if constexpr (TracksDirty<F>) word = F::make_clean(F::make_accessed(word));
        return F::leaf_attributes(word, kBelow);
    };
    Word first = load(table[0]);
    if (F::entry(first, kBelow) != Entry::leaf) return std::nullopt;
    Paddr const paddr = F::leaf_paddr(first, kBelow);
    if ((paddr.raw() & kSlotMask<F, L>) != 0) return std::nullopt;
    for (std::uint64_t slot = 0; slot < kSlots<F, kBelow>;) {
        Word const word = load(table[slot]);
        if (F::entry(word, kBelow) != Entry::leaf || unmarked(word) != unmarked(first) ||
            F::leaf_paddr(word, kBelow) != paddr + (slot << kSlotLg2<F, kBelow>))
            return std::nullopt;
        slot += F::leaf_size(word, kBelow).bytes() >> kSlotLg2<F, kBelow>;
    }
    if constexpr (TracksDirty<F>)
        if (tracking_ == Tracking::on) first = F::make_dirty(first);
    return F::make_leaf(paddr, L, PageSize::lg2_of(kSlotLg2<F, L>),
                        F::leaf_attributes(first, kBelow));
}

}  // namespace pinfold::pagetable
