// Small mappings among many others: their pages are slots of one table of pages, which is there.
// Such a mapping comes and goes in one walk, and changes nothing but these slots and its record, or
// its slot alone if it is one page.
// All else takes the general way. Included by index_write.hpp, and where both are inlined.
#pragma once

#include "native/index_write.hpp"

namespace pinfold::native {

template <class S>
inline bool BasicIndex<S>::map_pages(IovaRange iova, Entry leaf, Tag tag)
{
    std::uint64_t const first = iova.start.raw();
    auto* const table = leaf_table(first, iova.last.raw());
    if (table == nullptr) [[unlikely]]
        return false;
    if (!one_page(iova) || tag[0] != 0 || tag[1] >> 32 != 0) [[unlikely]]
        return map_several(*table, iova, leaf, tag);

    std::size_t const slot = leaf_slot(first);
    if (!table->at(slot).empty()) [[unlikely]]
        return false;
    table->ids[slot].store(static_cast<Id>(tag[1]), std::memory_order_relaxed);
    table->slots[slot].store(leaf.as_own().raw(), std::memory_order_release);
    table->add_used(0, 1);
    count_page(1);
    return true;
}

// A table that goes empty has to be taken out of the one above: that is not for here.
template <class S>
inline auto BasicIndex<S>::remove_pages(IovaRange iova) -> std::optional<Removed>
{
    std::uint64_t const first = iova.start.raw();
    auto* const table = leaf_table(first, iova.last.raw());
    if (table == nullptr) [[unlikely]]
        return std::nullopt;
    std::size_t const slot = leaf_slot(first);
    Entry const entry = table->at(slot);
    if (!entry.own() || !one_page(iova)) [[unlikely]]
        return remove_several(*table, iova);
    if (table->total() == 1) [[unlikely]]
        return std::nullopt;

    Id const tag = table->id(slot);
    table->slots[slot].store(0, std::memory_order_release);
    table->add_used(0, ~0U);
    count_page(~std::uint64_t{0});
    return Removed{entry.not_own(), {0, tag}};
}

template <class S>
[[gnu::noinline]] bool BasicIndex<S>::map_several(TableAt<0>& table, IovaRange iova, Entry leaf,
                                                  Tag tag)
{
    std::size_t const first = leaf_slot(iova.start.raw());
    std::size_t const end = leaf_slot(iova.last.raw()) + 1;
    if (!slots_empty<0>(table, first, end) || !records_.ensure(1)) return false;
    Piece const piece{iova.start.raw(), iova.last.raw(), leaf, take_record(iova, leaf, tag)};
    fill<0>(table, first, end, piece);
    count(iova, 1);
    return true;
}

template <class S>
[[gnu::noinline]] auto BasicIndex<S>::remove_several(TableAt<0>& table, IovaRange iova)
    -> std::optional<Removed>
{
    std::size_t const first = leaf_slot(iova.start.raw());
    std::size_t const end = leaf_slot(iova.last.raw()) + 1;
    Entry const entry = table.at(first);
    if (!entry.leaf() || table.total() == end - first) return std::nullopt;
    Held const held = held_of(entry, table.id(first), iova.start.raw());
    if (held.mapping.iova != iova) return std::nullopt;

    Removed const removed{held.mapping.entry, tag(held)};
    for (std::size_t slot = first; slot < end; ++slot)
        table.slots[slot].store(0, std::memory_order_release);
    table.add_used(0, static_cast<std::uint32_t>(first - end));
    records_.retire(held.id);
    count(iova, -1);
    return removed;
}

// count() of one page.
template <class S>
inline void BasicIndex<S>::count_page(std::uint64_t change)
{
    sizes_[kPageLg2] += change;
    mappings_ += change;
}

}  // namespace pinfold::native
