// The slots of BasicIndex's tables: what a change does at each level. Included by index_write.hpp.
//
//   put      empty slots get leaves; a slot that a mapping fills in part gets segments, and a table
//            when they are full
//   replace  the one way in which a slot's pieces become others: one mapping in part of 2 MiB is
//            the entry itself, few are segments, more are a table
#pragma once

#include "native/index_write.hpp"

namespace pinfold::native {

template <class S>
template <unsigned kLevel>
void BasicIndex<S>::put_in(TableAt<kLevel>& table, Piece const& piece)
{
    by_slot<kSlotLg2<kLevel>, TableAt<kLevel>::kSlots>(
        piece.first, piece.last,
        [&](std::size_t slot, std::uint64_t first, std::uint64_t last) {
            put_part<kLevel>(table, slot, {first, last, piece.entry, piece.id});
        },
        [&](std::size_t slot, std::size_t end) { fill<kLevel>(table, slot, end, piece); });
}

template <class S>
template <unsigned kLevel>
void BasicIndex<S>::put_part(TableAt<kLevel>& table, std::size_t slot, Piece const& piece)
{
    if constexpr (kLevel > 0) {
        Entry const entry = table.at(slot);
        if (entry.table())
            return put_in<kLevel - 1>(*entry.template node<TableAt<kLevel - 1>>(), piece);
        Pieces pieces = pieces_at<kLevel>(table, slot, piece.first);
        pieces.add(piece);
        replace<kLevel>(table, slot, pieces);
    }
}

template <class S>
template <unsigned kLevel>
void BasicIndex<S>::fill(TableAt<kLevel>& table, std::size_t slot, std::size_t end,
                         Piece const& piece)
{
    if constexpr (kLevel == 3)
        if (is_lowest_window<kLevel>(slot)) {
            constexpr std::uint64_t kLast = (std::uint64_t{1} << kSlotLg2<3>)-1;
            put_in<2>(*root_, {0, kLast, piece.entry, piece.id});
            ++slot;
        }
    while (slot < end) {
        std::size_t const group = slot / TableAt<kLevel>::kGroup;
        std::size_t const group_end = std::min(end, (group + 1) * TableAt<kLevel>::kGroup);
        auto const added = static_cast<std::uint32_t>(group_end - slot);
        for (; slot < group_end; ++slot) {
            table.ids[slot].store(piece.id, std::memory_order_relaxed);
            table.slots[slot].store(piece.entry.raw(), std::memory_order_release);
        }
        if (kLevel >= 2 && table.used[group] == 0) ++root_groups_;
        table.add_used(group, added);
    }
}

// The one store that readers see.
template <class S>
template <unsigned kLevel>
inline void BasicIndex<S>::set(TableAt<kLevel>& table, std::size_t slot, Entry entry)
{
    std::size_t const group = slot / TableAt<kLevel>::kGroup;
    bool const was_empty = table.slots[slot].load(std::memory_order_relaxed) == 0;
    table.slots[slot].store(entry.raw(), std::memory_order_release);
    if (was_empty == entry.empty()) return;
    table.add_used(group, was_empty ? 1U : ~0U);
    if constexpr (kLevel >= 2) {
        if (was_empty && table.used[group] == 1) ++root_groups_;
        if (!was_empty && table.used[group] == 0) --root_groups_;
    }
}

// Pieces of a slot that has no table: those of `block`, which is any address in it.
template <class S>
template <unsigned kLevel>
auto BasicIndex<S>::pieces_at(TableAt<kLevel> const& table, std::size_t slot,
                              std::uint64_t block) const -> Pieces
{
    Entry const entry = table.at(slot);
    Pieces pieces;
    if (entry.leaf()) {
        pieces.add(
            {block & ~low_mask<kLevel>(), block | low_mask<kLevel>(), entry, table.id(slot)});
    } else if (entry.part()) {
        std::uint64_t const start =
            (block & ~low_mask<kLevel>()) + (entry.part_first() << kPageLg2);
        std::uint64_t const last = start + ((entry.part_more() + 1) << kPageLg2) - 1;
        pieces.add({start, last, entry.part_leaf(), table.id(slot)});
    } else if constexpr (S::kLanes[kLevel] != 0) {
        if (entry.segments())
            return pieces_of<kLevel>(*entry.template node<SegmentsAt<kLevel>>(), block);
    }
    return pieces;
}

template <class S>
template <unsigned kLevel>
void BasicIndex<S>::replace(TableAt<kLevel>& table, std::size_t slot, Pieces const& pieces)
{
    Entry const before = table.at(slot);
    Entry after;
    if constexpr (kHasParts<kLevel>) {
        if (pieces.count == 1) {
            Piece const& only = pieces.list[0];
            std::uint64_t const more = (only.last - only.first) >> kPageLg2;
            after = only.entry.part_of((only.first & low_mask<kLevel>()) >> kPageLg2, more);
            table.ids[slot].store(only.id, std::memory_order_relaxed);
        }
    }
    if (after.empty()) after = build<kLevel>(pieces);
    set<kLevel>(table, slot, after);
    retire_node<kLevel>(before);
}

// A node for what a slot of this level holds.
template <class S>
template <unsigned kLevel>
Entry BasicIndex<S>::build(Pieces const& pieces)
{
    if (pieces.count <= S::kLanes[kLevel]) {
        if constexpr (S::kLanes[kLevel] != 0) {
            using Node = SegmentsAt<kLevel>;
            using Page = decltype(Node::kFree);
            constexpr std::uint64_t kMask = (std::uint64_t{1} << (kSlotLg2<kLevel> - kPageLg2)) - 1;
            auto* const node = reinterpret_cast<Node*>(segments_.at(segments_.take()));
            for (unsigned lane = 0; lane < node->first.size(); ++lane) {
                bool const taken = lane < pieces.count;
                Piece const piece = taken ? pieces.list[lane] : Piece{};
                auto const first = static_cast<Page>((piece.first >> kPageLg2) & kMask);
                auto const last = static_cast<Page>((piece.last >> kPageLg2) & kMask);
                node->first[lane].store(taken ? first : Node::kFree, std::memory_order_relaxed);
                node->last[lane].store(last, std::memory_order_relaxed);
                node->entries[lane].store(piece.entry.raw(), std::memory_order_relaxed);
                node->ids[lane].store(piece.id, std::memory_order_relaxed);
            }
            return Entry::of(node);
        }
    }
    auto* const table = take_table<kLevel - 1>();
    for (Piece const& piece : pieces) put_in<kLevel - 1>(*table, piece);
    return Entry::of(table);
}

// `block` is any address in the block of the slot.
template <class S>
template <unsigned kLevel>
auto BasicIndex<S>::pieces_of(SegmentsAt<kLevel> const& node, std::uint64_t block) const -> Pieces
{
    constexpr std::uint64_t kMask = (std::uint64_t{1} << kSlotLg2<kLevel>)-1;
    using Node = SegmentsAt<kLevel>;
    Pieces pieces;
    for (unsigned lane = 0; lane < node.first.size(); ++lane) {
        std::uint64_t const first = node.first[lane].load(std::memory_order_relaxed);
        if (first == Node::kFree) continue;
        std::uint64_t const last = node.last[lane].load(std::memory_order_relaxed);
        pieces.add({(block & ~kMask) + (first << kPageLg2),
                    (block & ~kMask) + ((last + 1) << kPageLg2) - 1,
                    Entry{node.entries[lane].load(std::memory_order_relaxed)},
                    node.ids[lane].load(std::memory_order_relaxed)});
    }
    return pieces;
}

}  // namespace pinfold::native
