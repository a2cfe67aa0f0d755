// Small mappings among many others: their pages are slots of one table of pages, which is there.
// Such a mapping comes and goes in one walk, and changes nothing but these slots and its record.
// All else takes the general way. Included by index_write.hpp.
#pragma once

#include "native/index_write.hpp"

namespace pinfold::native {

template <class S>
Id BasicIndex<S>::map_pages(IovaRange iova, Entry leaf, Tag tag)
{
    auto const run = run_of(iova);
    if (run.table == nullptr || !records_.ensure(1)) [[unlikely]]
        return 0;
    for (std::size_t slot = run.slot; slot < run.end; ++slot)
        if (run.table->slots[slot].load(std::memory_order_relaxed) != 0) return 0;

    Id const id = take_record(iova, leaf, tag);
    for (std::size_t slot = run.slot; slot < run.end; ++slot) {
        run.table->ids[slot].store(id, std::memory_order_relaxed);
        run.table->slots[slot].store(leaf.raw(), std::memory_order_release);
    }
    add_used(*run.table, static_cast<std::uint16_t>(run.end - run.slot));
    count(iova, 1);
    return id;
}

// A table that goes empty has to be taken out of the one above: that is not for here.
template <class S>
auto BasicIndex<S>::remove_pages(IovaRange iova) -> std::optional<Tag>
{
    auto const run = run_of(iova);
    if (run.table == nullptr || !run.table->at(run.slot).leaf()) return std::nullopt;
    Id const id = run.table->ids[run.slot].load(std::memory_order_relaxed);
    Record const& gone = record(id);
    auto const pages = static_cast<std::uint16_t>(run.end - run.slot);
    if (gone.start.load(std::memory_order_relaxed) != iova.start.raw() ||
        gone.last.load(std::memory_order_relaxed) != iova.last.raw() || run.table->total == pages)
        return std::nullopt;

    Tag const its_tag{gone.tag[0].load(std::memory_order_relaxed),
                      gone.tag[1].load(std::memory_order_relaxed)};
    for (std::size_t slot = run.slot; slot < run.end; ++slot)
        run.table->slots[slot].store(0, std::memory_order_release);
    add_used(*run.table, static_cast<std::uint16_t>(-pages));
    records_.retire(id);
    count(iova, -1);
    return its_tag;
}

template <class S>
inline auto BasicIndex<S>::run_of(IovaRange iova) const -> Run
{
    std::uint64_t const first = iova.start.raw();
    std::uint64_t const last = iova.last.raw();
    return {leaf_table(first, last), leaf_slot(first), leaf_slot(last) + 1};
}

template <class S>
inline void BasicIndex<S>::add_used(TableAt<0>& table, std::uint16_t change)
{
    static_assert(TableAt<0>::kSlots == TableAt<0>::kGroup);
    table.used[0] = static_cast<std::uint16_t>(table.used[0] + change);
    table.total = table.used[0];
}

}  // namespace pinfold::native
