// The slots of BasicIndex's tables: what a change does at each level. Included by index_write.hpp.
//
//   put      empty slots get leaves; a slot that a mapping fills in part gets segments, and a table
//            when they are full
//   remove   lanes and slots go by one store; a node that nothing is left in goes too
//   cut      break_at() makes a border in the nodes, relabel_in() names what is beyond it anew
#pragma once

#include "native/index_write.hpp"

namespace pinfold::native {

// The lowest window's root is never let go and never becomes a leaf, so that readers can begin
// there.
template <unsigned kLevel>
constexpr bool is_lowest_window(std::size_t slot)
{
    return kLevel == 3 && slot == 0;
}

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
            for (Piece const& piece :
                 pieces_of<kLevel>(*entry.template node<SegmentsAt<kLevel>>(), first))
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
                if (is_lowest_window<kLevel>(slot) && root_->total == 0) continue;
            return false;
        }
    }
    return true;
}

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
        Pieces pieces;
        if constexpr (S::kLanes[kLevel] != 0) {
            if (entry.segments())
                pieces = pieces_of<kLevel>(*entry.template node<SegmentsAt<kLevel>>(), piece.first);
        }
        pieces.add(piece);
        set<kLevel>(table, slot, build<kLevel>(pieces));
        retire_node<kLevel>(entry);
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
        auto const added = static_cast<std::uint16_t>(group_end - slot);
        for (; slot < group_end; ++slot) {
            table.ids[slot].store(piece.id, std::memory_order_relaxed);
            table.slots[slot].store(piece.entry.raw(), std::memory_order_release);
        }
        if (kLevel >= 2 && table.used[group] == 0) ++root_groups_;
        table.used[group] = static_cast<std::uint16_t>(table.used[group] + added);
        table.total += added;
    }
}

// The one store that readers see.
template <class S>
template <unsigned kLevel>
inline void BasicIndex<S>::set(TableAt<kLevel>& table, std::size_t slot, Entry entry)
{
    auto& used = table.used[slot / TableAt<kLevel>::kGroup];
    bool const was_empty = table.slots[slot].load(std::memory_order_relaxed) == 0;
    table.slots[slot].store(entry.raw(), std::memory_order_release);
    if (was_empty == entry.empty()) return;
    used = static_cast<std::uint16_t>(was_empty ? used + 1 : used - 1);
    table.total += was_empty ? 1U : ~0U;
    if constexpr (kLevel >= 2) {
        if (was_empty && used == 1) ++root_groups_;
        if (!was_empty && used == 0) --root_groups_;
    }
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
            if (below.total != 0 || is_lowest_window<kLevel>(slot)) return;
        } else if constexpr (S::kLanes[kLevel] != 0) {
            using Node = SegmentsAt<kLevel>;
            auto& node = *entry.template node<Node>();
            bool left = false;
            for (unsigned lane = 0; lane < node.first.size(); ++lane) {
                if (node.first[lane].load(std::memory_order_relaxed) == Node::kFree) continue;
                if (node.ids[lane].load(std::memory_order_relaxed) == piece.id)
                    node.first[lane].store(Node::kFree, std::memory_order_release);
                else
                    left = true;
            }
            if (left) return;
        }
        set<kLevel>(table, slot, {});
        retire_node<kLevel>(entry);
    }
}

// Of what a slot of this level held: it has been replaced.
template <class S>
template <unsigned kLevel>
void BasicIndex<S>::retire_node(Entry node)
{
    if (node.final()) return;
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
        Pieces held;
        if (entry.leaf())
            held.add({at & ~low_mask<kLevel>(), at | low_mask<kLevel>(), entry, table.id(slot)});
        else if constexpr (S::kLanes[kLevel] != 0)
            held = pieces_of<kLevel>(*entry.template node<SegmentsAt<kLevel>>(), at);
        Pieces broken;
        for (Piece const& piece : held)
            if (piece.first < at && at <= piece.last) {
                broken.add({piece.first, at - 1, piece.entry, piece.id});
                broken.add({at, piece.last, piece.entry, piece.id});
            } else {
                broken.add(piece);
            }
        if (broken.count == held.count) return;
        set<kLevel>(table, slot, build<kLevel>(broken));
        retire_node<kLevel>(entry);
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

template <class S>
template <unsigned kLevel>
Id BasicIndex<S>::first_in(TableAt<kLevel> const& table, std::uint64_t first,
                           std::uint64_t last) const
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
            Id const found = first_in_slot<kLevel>(table, slot, std::max(first, start),
                                                   std::min(last, start | low_mask<kLevel>()));
            if (found != 0) return found;
        }
        ++slot;
    }
    return 0;
}

template <class S>
template <unsigned kLevel>
Id BasicIndex<S>::first_in_slot(TableAt<kLevel> const& table, std::size_t slot, std::uint64_t first,
                                std::uint64_t last) const
{
    Entry const entry = table.at(slot);
    if (entry.leaf()) return table.id(slot);
    if constexpr (kLevel > 0) {
        if (entry.table())
            return first_in<kLevel - 1>(*entry.template node<TableAt<kLevel - 1>>(), first, last);
        if constexpr (S::kLanes[kLevel] != 0) {
            Piece best{.first = ~std::uint64_t{0}, .last = 0, .entry = {}, .id = 0};
            for (Piece const& piece :
                 pieces_of<kLevel>(*entry.template node<SegmentsAt<kLevel>>(), first))
                if (piece.first <= last && first <= piece.last && piece.first <= best.first)
                    best = piece;
            return best.id;
        }
    }
    return 0;
}

}  // namespace pinfold::native
