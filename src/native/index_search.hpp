// What a writer asks of BasicIndex's tables: whether a range is vacant, and what is mapped first in
// one. Included by index_write.hpp.
#pragma once

#include "native/index_write.hpp"

namespace pinfold::native {

template <class S>
template <unsigned kLevel>
bool BasicIndex<S>::empty_in(TableAt<kLevel> const& table, std::uint64_t first,
                             std::uint64_t last) const
{
    bool empty = true;
    by_slot<kSlotLg2<kLevel>, TableAt<kLevel>::kSlots>(
        first, last,
        [&](std::size_t slot, std::uint64_t from, std::uint64_t to) {
            empty = empty && part_empty<kLevel>(table, slot, from, to);
        },
        [&](std::size_t slot, std::size_t end) {
            empty = empty && slots_empty<kLevel>(table, slot, end);
        });
    return empty;
}

template <class S>
template <unsigned kLevel>
bool BasicIndex<S>::part_empty(TableAt<kLevel> const& table, std::size_t slot, std::uint64_t first,
                               std::uint64_t last) const
{
    Entry const entry = table.at(slot);
    if (entry.empty()) return true;
    if (entry.leaf()) return false;
    if constexpr (kLevel > 0) {
        if (entry.table())
            return empty_in<kLevel - 1>(*entry.template node<TableAt<kLevel - 1>>(), first, last);
        if constexpr (S::kLanes[kLevel] != 0) {
            for (Piece const& piece : pieces_at<kLevel>(table, slot, first))
                if (piece.first <= last && first <= piece.last) return false;
        }
    }
    return true;
}

template <class S>
template <unsigned kLevel>
bool BasicIndex<S>::slots_empty(TableAt<kLevel> const& table, std::size_t slot,
                                std::size_t end) const
{
    using Here = TableAt<kLevel>;
    while (slot < end) {
        std::size_t const group_end = std::min(end, (slot / Here::kGroup + 1) * Here::kGroup);
        if (table.used[slot / Here::kGroup] == 0) {
            slot = group_end;
            continue;
        }
        for (; slot < group_end; ++slot) {
            if (table.at(slot).empty()) continue;
            if constexpr (kLevel == 3)
                if (is_lowest_window<kLevel>(slot) && root_->total() == 0) continue;
            return false;
        }
    }
    return true;
}

template <class S>
template <unsigned kLevel>
auto BasicIndex<S>::first_in(TableAt<kLevel> const& table, std::uint64_t first,
                             std::uint64_t last) const -> std::optional<Held>
{
    using Here = TableAt<kLevel>;
    std::uint64_t const table_start = first & ~low_mask<kLevel + 1>();
    std::size_t slot = (first >> kSlotLg2<kLevel>)&(Here::kSlots - 1);
    std::size_t const end = ((last >> kSlotLg2<kLevel>)&(Here::kSlots - 1)) + 1;
    while (slot < end) {
        if (table.used[slot / Here::kGroup] == 0) {
            slot = (slot / Here::kGroup + 1) * Here::kGroup;
            continue;
        }
        if (!table.at(slot).empty()) {
            std::uint64_t const start = table_start + (std::uint64_t{slot} << kSlotLg2<kLevel>);
            auto const found = first_in_slot<kLevel>(table, slot, std::max(first, start),
                                                     std::min(last, start | low_mask<kLevel>()));
            if (found) return found;
        }
        ++slot;
    }
    return std::nullopt;
}

template <class S>
template <unsigned kLevel>
auto BasicIndex<S>::first_in_slot(TableAt<kLevel> const& table, std::size_t slot,
                                  std::uint64_t first, std::uint64_t last) const
    -> std::optional<Held>
{
    Entry const entry = table.at(slot);
    if (entry.leaf()) return held_of(entry, table.id(slot), first);
    if constexpr (kLevel > 0) {
        if (entry.table())
            return first_in<kLevel - 1>(*entry.template node<TableAt<kLevel - 1>>(), first, last);
        if constexpr (S::kLanes[kLevel] != 0) {
            Piece best{.first = ~std::uint64_t{0}, .last = 0, .entry = {}, .id = 0};
            for (Piece const& piece : pieces_at<kLevel>(table, slot, first))
                if (piece.first <= last && first <= piece.last && piece.first <= best.first)
                    best = piece;
            if (best.id != 0) return held_of(best.entry, best.id, best.first);
        }
    }
    return std::nullopt;
}

}  // namespace pinfold::native
