// How one mapping of BasicIndex becomes two: break_at() makes a border in the nodes, relabel_in()
// names what is beyond it anew. Included by index_write.hpp.
#pragma once

#include "native/index_write.hpp"

namespace pinfold::native {

template <class S>
template <unsigned kLevel>
void BasicIndex<S>::break_at(TableAt<kLevel>& table, std::uint64_t at)
{
    if constexpr (kLevel > 0) {
        if ((at & low_mask<kLevel>()) == 0) return;
        std::size_t const slot = (at >> kSlotLg2<kLevel>)&(TableAt<kLevel>::kSlots - 1);
        Entry const entry = table.at(slot);
        if (entry.table())
            return break_at<kLevel - 1>(*entry.template node<TableAt<kLevel - 1>>(), at);
        Pieces const held = pieces_at<kLevel>(table, slot, at);
        Pieces broken;
        for (Piece const& piece : held)
            if (piece.first < at && at <= piece.last) {
                broken.add({piece.first, at - 1, piece.entry, piece.id});
                broken.add({at, piece.last, piece.entry, piece.id});
            } else {
                broken.add(piece);
            }
        if (broken.count != held.count) replace<kLevel>(table, slot, broken);
    }
}

template <class S>
template <unsigned kLevel>
void BasicIndex<S>::relabel_in(TableAt<kLevel>& table, Piece const& piece, Id id)
{
    by_slot<kSlotLg2<kLevel>, TableAt<kLevel>::kSlots>(
        piece.first, piece.last,
        [&](std::size_t slot, std::uint64_t first, std::uint64_t last) {
            relabel_part<kLevel>(table, slot, {first, last, piece.entry, piece.id}, id);
        },
        [&](std::size_t slot, std::size_t end) {
            std::uint64_t const table_start = piece.first & ~low_mask<kLevel + 1>();
            for (; slot < end; ++slot) {
                std::uint64_t const first = table_start + (std::uint64_t{slot} << kSlotLg2<kLevel>);
                if (table.at(slot).leaf())
                    table.ids[slot].store(id, std::memory_order_release);
                else
                    relabel_part<kLevel>(table, slot,
                                         {first, first | low_mask<kLevel>(), piece.entry, piece.id},
                                         id);
            }
        });
}

template <class S>
template <unsigned kLevel>
void BasicIndex<S>::relabel_part(TableAt<kLevel>& table, std::size_t slot, Piece const& piece,
                                 Id id)
{
    if constexpr (kLevel > 0) {
        Entry const entry = table.at(slot);
        if (entry.table())
            return relabel_in<kLevel - 1>(*entry.template node<TableAt<kLevel - 1>>(), piece, id);
        if (entry.part()) {
            if (table.id(slot) == piece.id) table.ids[slot].store(id, std::memory_order_release);
            return;
        }
        if constexpr (S::kLanes[kLevel] != 0) {
            auto& node = *entry.template node<SegmentsAt<kLevel>>();
            auto const page =
                static_cast<std::uint64_t>((piece.first & low_mask<kLevel>()) >> kPageLg2);
            for (unsigned lane = 0; lane < node.first.size(); ++lane)
                if (node.first[lane].load(std::memory_order_relaxed) >= page &&
                    node.ids[lane].load(std::memory_order_relaxed) == piece.id)
                    node.ids[lane].store(id, std::memory_order_release);
        }
    }
}

}  // namespace pinfold::native
