// Radix: what devices' accesses leave in the leaves. Included by radix_core.hpp only.
#pragma once

#include "pagetable/radix_core.hpp"

namespace pinfold::pagetable {

template <PageTableFormat F, TableSource Source, class Stores>
auto Radix<F, Source, Stores>::access(Iova iova, Access access) -> std::optional<Leaf>
{
    Top const top = this->top();
    if (iova.raw() > std::min(last_, last_under(top))) return std::nullopt;
    return at_level<F>(top.level, [&]<unsigned L>() {
        for (;;) {
            bool again = false;
            auto const leaf = access_table<L>(top_table<L>(top, iova.raw()), iova.raw(),
                                              Prot::read_write, access, again);
            if (!again) return leaf;
        }
    });
}

// `again`: the leaf changed while it was looked at.
template <PageTableFormat F, TableSource Source, class Stores>
template <unsigned L>
auto Radix<F, Source, Stores>::access_table(Word* table, std::uint64_t iova, Prot prot,
                                            Access access, bool& again) -> std::optional<Leaf>
{
    Word& slot = table[index<F, L>(iova)];
    Word word = load(slot);
    Entry const entry = F::entry(word, L);
    if (entry == Entry::leaf) {
        Leaf const leaf = leaf_at<L>(word, iova, prot);
        if constexpr (TracksDirty<F>) {
            if (tracking_ == Tracking::off || !allows(leaf.prot, access)) return leaf;
            Word const marked =
                access == Access::write ? F::make_dirty(word) : F::make_accessed(word);
            again = marked != word && !Stores::replace(slot, word, marked);
        }
        return leaf;
    }
    if constexpr (L > 0) {
        if (entry != Entry::table) return std::nullopt;
        Word* const below = words(F::table_paddr(word));
        if (below == nullptr) return std::nullopt;
        return access_table<L - 1>(below, iova, prot & F::prot(word, L), access, again);
    } else {
        return std::nullopt;
    }
}

template <PageTableFormat F, TableSource Source, class Stores>
template <class Record>
std::uint64_t Radix<F, Source, Stores>::read_dirty(IovaRange range, Record&& record) const
    requires TracksDirty<F>
{
    return visit_dirty(range,
                       [&](Word*, std::uint64_t, unsigned, IovaRange leaf) { record(leaf); });
}

template <PageTableFormat F, TableSource Source, class Stores>
template <class Record>
std::uint64_t Radix<F, Source, Stores>::read_and_clear_dirty(IovaRange range, Record&& record,
                                                             Removed& removed)
    requires TracksDirty<F>
{
    return visit_dirty(
        range, [&](Word* slots, std::uint64_t count, unsigned level, IovaRange leaf) {
            for (std::uint64_t i = 0; i < count; ++i)
                for (Word now = load(slots[i]);
                     F::dirty(now) && !Stores::replace(slots[i], now, F::make_clean(now));) {
                }
            removed.flush.add_range(leaf);
            removed.flush.add_leaves(level, *PageSize::of(leaf.size()));
            record(leaf);
        });
}

template <PageTableFormat F, TableSource Source, class Stores>
template <class Visit>
std::uint64_t Radix<F, Source, Stores>::visit_dirty(IovaRange range, Visit&& visit) const
{
    Top const top = this->top();
    std::uint64_t const last = std::min({range.last.raw(), last_, last_under(top)});
    if (range.start.raw() > last) return 0;
    return at_level<F>(top.level, [&]<unsigned L>() {
        std::uint64_t dirty = 0;
        for_each_top_table<L>(top, {range.start, Iova{last}}, [&](Word* table, IovaRange part) {
            dirty += visit_dirty_table<L>(table, part, visit);
        });
        return dirty;
    });
}

// The range lies in this table.
template <PageTableFormat F, TableSource Source, class Stores>
template <unsigned L, class Visit>
std::uint64_t Radix<F, Source, Stores>::visit_dirty_table(Word* table, IovaRange range,
                                                          Visit& visit) const
{
    std::uint64_t found = 0;
    std::uint64_t const last = range.last.raw();
    for (std::uint64_t iova = range.start.raw();;) {
        Word const word = load(table[index<F, L>(iova)]);
        Entry const entry = F::entry(word, L);
        IovaRange here = slot_range<F, L>(iova);
        if (entry == Entry::leaf) {
            PageSize const size = F::leaf_size(word, L);
            std::uint64_t const slots = size.bytes() >> kSlotLg2<F, L>;
            Word* const first = table + (index<F, L>(iova) & ~(slots - 1));
            here = {Iova{size.align_down(iova)}, Iova{iova | size.mask()}};
            bool dirty = false;
            for (std::uint64_t i = 0; i < slots; ++i) dirty = dirty || F::dirty(load(first[i]));
            if (dirty) {
                ++found;
                visit(first, slots, L, here);
            }
        }
        if constexpr (L > 0) {
            Paddr const below = F::table_paddr(word);
            if (entry == Entry::table && own(below, L - 1) != nullptr)
                found += visit_dirty_table<L - 1>(
                    words(below), {Iova{iova}, Iova{std::min(here.last.raw(), last)}}, visit);
        }
        if (here.last.raw() >= last) return found;
        iova = here.last.raw() + 1;
    }
}

}  // namespace pinfold::pagetable
