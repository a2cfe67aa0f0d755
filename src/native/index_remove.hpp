// How mappings leave BasicIndex's tables: lanes and slots go by one store, and a node that nothing
// is left in goes too. Included by index_write.hpp.
#pragma once

#include "native/index_write.hpp"

namespace pinfold::native {

template <class S>
template <unsigned kLevel>
void BasicIndex<S>::remove_in(TableAt<kLevel>& table, Piece const& piece)
{
    by_slot<kSlotLg2<kLevel>, TableAt<kLevel>::kSlots>(
        piece.first, piece.last,
        [&](std::size_t slot, std::uint64_t first, std::uint64_t last) {
            remove_part<kLevel>(table, slot, {first, last, piece.entry, piece.id});
        },
        [&](std::size_t slot, std::size_t end) { clear<kLevel>(table, slot, end, piece); });
}

template <class S>
template <unsigned kLevel>
void BasicIndex<S>::clear(TableAt<kLevel>& table, std::size_t slot, std::size_t end,
                          Piece const& piece)
{
    for (; slot < end; ++slot) {
        std::uint64_t const first =
            (piece.first & ~low_mask<kLevel + 1>()) + (std::uint64_t{slot} << kSlotLg2<kLevel>);
        if (table.at(slot).leaf())
            set<kLevel>(table, slot, {});
        else
            remove_part<kLevel>(table, slot,
                                {first, first | low_mask<kLevel>(), piece.entry, piece.id});
    }
}

template <class S>
template <unsigned kLevel>
void BasicIndex<S>::remove_part(TableAt<kLevel>& table, std::size_t slot, Piece const& piece)
{
    if constexpr (kLevel > 0) {
        Entry const entry = table.at(slot);
        if (entry.table()) {
            auto& below = *entry.template node<TableAt<kLevel - 1>>();
            remove_in<kLevel - 1>(below, piece);
            if (below.total() != 0 || is_lowest_window<kLevel>(slot)) return;
        } else if constexpr (S::kLanes[kLevel] != 0) {
            if (entry.segments() &&
                !remove_lanes(*entry.template node<SegmentsAt<kLevel>>(), piece.id))
                return;
        }
        set<kLevel>(table, slot, {});
        retire_node<kLevel>(entry);
    }
}

// Whether no other mapping is left in it.
template <class S>
template <class Node>
bool BasicIndex<S>::remove_lanes(Node& node, Id id)
{
    bool left = false;
    for (unsigned lane = 0; lane < node.first.size(); ++lane) {
        if (node.first[lane].load(std::memory_order_relaxed) == Node::kFree) continue;
        if (node.ids[lane].load(std::memory_order_relaxed) == id)
            node.first[lane].store(Node::kFree, std::memory_order_release);
        else
            left = true;
    }
    return !left;
}

// Of what a slot of this level held: it has been replaced.
template <class S>
template <unsigned kLevel>
void BasicIndex<S>::retire_node(Entry node)
{
    if (!node.has_node()) return;
    if (node.segments()) {
        segments_.retire(segments_.id_of(node.template node<Narrow>()));
    } else if constexpr (kLevel == 3) {
        auto* const root = node.template node<Root>();
        root->next = nullptr;
        Root** behind = &retired_roots_;
        while (*behind != nullptr) behind = &(*behind)->next;
        *behind = root;
        ++retired_root_count_;
        ++roots_retired_ever_;
    } else {
        tables_.retire(tables_.id_of(node.template node<TableAt<0>>()));
    }
}

}  // namespace pinfold::native
