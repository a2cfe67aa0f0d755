// The walks of BasicIndex, and what they find. Included by index.hpp.
#pragma once

#include "native/index.hpp"

namespace pinfold::native {

// Inlined into the device's loop as a whole, but for the windows above the lowest. Each way out of
// the walk goes on by itself in `found`, so that what it knows of its level is a constant there.
template <class S>
template <bool kWithId, class Found>
[[gnu::always_inline]] inline auto BasicIndex<S>::look(Iova iova, Found const& found) const
{
    std::uint64_t const raw = iova.raw();
    if (raw >> kSlotLg2<3> == 0) [[likely]]
        return look_in<kWithId, 2>(*root_, raw, found);
    Place const place = look_high<kWithId>(raw);
    return found(place.entry, place.id, place.last);
}

template <class S>
template <bool kWithId>
[[gnu::noinline, gnu::cold]] auto BasicIndex<S>::look_high(std::uint64_t raw) const -> Place
{
    if (top_ == nullptr) return {};
    return look_in<kWithId, 3>(*top_, raw, AsPlace{});
}

template <class S>
template <bool kWithId, unsigned kLevel, class Found>
[[gnu::always_inline]] inline auto BasicIndex<S>::look_in(TableAt<kLevel> const& table,
                                                          std::uint64_t raw,
                                                          Found const& found) const
{
    std::size_t const slot = (raw >> kSlotLg2<kLevel>)&(TableAt<kLevel>::kSlots - 1);
    Entry const entry = table.at(slot);
    if constexpr (kLevel > 0) {
        if (entry.table())
            return look_in<kWithId, kLevel - 1>(*entry.node<TableAt<kLevel - 1>>(), raw, found);
        if constexpr (S::kLanes[kLevel] != 0) {
            if (!entry.final()) {
                if (kHasParts<kLevel> && entry.part())
                    return look_in_part<kLevel>(entry, raw, kWithId ? table.id(slot) : 0, found);
                return look_in_segments<kWithId, kLevel>(*entry.node<SegmentsAt<kLevel>>(), raw,
                                                         found);
            }
        }
    }
    Id const id = kWithId && !entry.empty() ? table.id(slot) : 0;
    return found(entry, id, raw | low_mask<kLevel>());
}

template <class S>
template <unsigned kLevel, class Found>
[[gnu::always_inline]] inline auto BasicIndex<S>::look_in_part(Entry part, std::uint64_t raw, Id id,
                                                               Found const& found) const
{
    std::uint64_t const block = raw & ~low_mask<kLevel>();
    std::uint64_t const first = part.part_first();
    std::uint64_t const more = part.part_more();
    if (((raw - block) >> kPageLg2) - first > more) return found(Entry{}, 0, raw);
    return found(part.part_leaf(), id, block + ((first + more + 1) << kPageLg2) - 1);
}

template <class S>
template <bool kWithId, unsigned kLevel, class Found>
[[gnu::always_inline]] inline auto BasicIndex<S>::look_in_segments(SegmentsAt<kLevel> const& node,
                                                                   std::uint64_t raw,
                                                                   Found const& found) const
{
    using Page = decltype(SegmentsAt<kLevel>::kFree);
    std::uint64_t const block = raw & ~low_mask<kLevel>();
    auto const page = static_cast<Page>((raw - block) >> kPageLg2);
    for (unsigned lane = 0; lane < node.first.size(); ++lane) {
        if (node.first[lane].load(std::memory_order_acquire) > page) continue;
        std::uint64_t const last = node.last[lane].load(std::memory_order_relaxed);
        if (page > last) continue;
        return found(Entry{node.entries[lane].load(std::memory_order_relaxed)},
                     kWithId ? node.ids[lane].load(std::memory_order_acquire) : 0,
                     block + ((last + 1) << kPageLg2) - 1);
    }
    return found(Entry{}, 0, raw);
}

template <class S>
template <class Found>
[[gnu::always_inline]] inline auto BasicIndex<S>::span(Iova iova, Found const& found) const
{
    return look<false>(iova, [&](Entry entry, Id, std::uint64_t last)
                                 __attribute__((always_inline)) { return found(entry, last); });
}

template <class S>
template <class Visit>
inline void BasicIndex<S>::visit(IovaRange range, Visit visit) const
{
    std::uint64_t const first = range.start.raw();
    std::uint64_t const last = range.last.raw();
    auto to_the_first_hole = [&visit](Entry entry, std::uint64_t from, std::uint64_t to) {
        return visit(entry, from, to) && !entry.empty();
    };
    if (last >> kSlotLg2<3> == 0) {
        visit_in<2>(*root_, first, last, to_the_first_hole);
    } else if (top_ != nullptr) {
        visit_in<3>(*top_, first, last, to_the_first_hole);
    } else {
        std::uint64_t const end = low_mask<3>();  // of the only window
        if (first > end || visit_in<2>(*root_, first, end, to_the_first_hole))
            visit(Entry{}, std::max(first, end + 1), last);
    }
}

// The table whose slots a range fills without touching any other: where small mappings lie among
// many. nullptr: none.
template <class S>
inline auto BasicIndex<S>::leaf_table(std::uint64_t first, std::uint64_t last) const -> TableAt<0>*
{
    if (last >> kSlotLg2<3> != 0 || (first ^ last) >> kSlotLg2<1> != 0) return nullptr;
    Entry const middle = root_->at(first >> kSlotLg2<2>);
    if (!middle.table()) return nullptr;
    Entry const leaves =
        middle.node<TableAt<1>>()->at((first >> kSlotLg2<1>)&(TableAt<1>::kSlots - 1));
    return leaves.table() ? leaves.node<TableAt<0>>() : nullptr;
}

// In a part or in segments.
template <class S>
template <unsigned kLevel>
inline auto BasicIndex<S>::look_in_lanes(Entry entry, std::uint64_t raw) const -> Place
{
    if (kHasParts<kLevel> && entry.part()) return look_in_part<kLevel>(entry, raw, 0, AsPlace{});
    return look_in_segments<false, kLevel>(*entry.node<SegmentsAt<kLevel>>(), raw, AsPlace{});
}

// A range that goes on in the next slot is walked from where this table is.
template <class S>
template <unsigned kLevel, class Visit>
inline bool BasicIndex<S>::visit_in(TableAt<kLevel> const& table, std::uint64_t first,
                                    std::uint64_t last, Visit& visit) const
{
    for (;;) {
        std::size_t const slot = (first >> kSlotLg2<kLevel>)&(TableAt<kLevel>::kSlots - 1);
        std::uint64_t const slot_last = std::min(last, first | low_mask<kLevel>());
        Entry const entry = table.at(slot);
        if (kLevel == 0 || entry.final()) {
            if (!visit(entry, first, slot_last)) return false;
        } else if constexpr (kLevel > 0) {
            if (entry.table()) {
                auto const& below = *entry.node<TableAt<kLevel - 1>>();
                if (!visit_in<kLevel - 1>(below, first, slot_last, visit)) return false;
            } else if constexpr (S::kLanes[kLevel] != 0) {
                for (std::uint64_t at = first;; ++at) {
                    Place const place = look_in_lanes<kLevel>(entry, at);
                    std::uint64_t const end = std::min(slot_last, place.last);
                    if (!visit(place.entry, at, end)) return false;
                    at = end;
                    if (at == slot_last) break;
                }
            }
        }
        if (slot_last == last) return true;
        first = slot_last + 1;
    }
}

template <class S>
inline Mapping BasicIndex<S>::mapping_of(Record const& record)
{
    return {{Iova{record.start.load(std::memory_order_acquire)},
             Iova{record.last.load(std::memory_order_acquire)}},
            Entry{record.entry.load(std::memory_order_acquire)}};
}

// `raw` is any address of what `entry` translates.
template <class S>
inline auto BasicIndex<S>::held_of(Entry entry, Id id, std::uint64_t raw) const -> Held
{
    if (!entry.own()) return {mapping_of(record(id)), id, false};
    IovaRange const page{Iova{raw & ~low_mask<0>()}, Iova{raw | low_mask<0>()}};
    return {{page, entry.not_own()}, id, true};
}

template <class S>
inline auto BasicIndex<S>::held_at(Iova iova) const -> std::optional<Held>
{
    Place const place = look<true>(iova, AsPlace{});
    if (place.entry.empty()) return std::nullopt;
    return held_of(place.entry, place.id, iova.raw());
}

template <class S>
inline auto BasicIndex<S>::tag(Held const& held) const -> Tag
{
    if (held.own) return {0, held.id};
    auto const& tag = record(held.id).tag;
    return {tag[0].load(std::memory_order_relaxed), tag[1].load(std::memory_order_relaxed)};
}

// A cut gives the slots new ids first and shortens the record then: who had the old id looks again.
template <class S>
inline std::optional<Mapping> BasicIndex<S>::find(Iova iova) const
{
    while (auto const held = held_at(iova))
        if (held->mapping.iova.contains(iova)) return held->mapping;
    return std::nullopt;
}

}  // namespace pinfold::native
