// Radix: the short way of calls about one page. Included by radix_core.hpp only.
#pragma once

#include "pagetable/radix_core.hpp"

namespace pinfold::pagetable {

// The slot of level 0 for `iova` in a table of ours that is not uniform: the near one, whatever the
// words above it have become, or one to which they lead by way of such tables. nullptr: neither.
template <PageTableFormat F, TableSource Source, class Stores>
auto Radix<F, Source, Stores>::page_slot(std::uint64_t iova) -> Word*
{
    if (Word* const near = near_slot(iova)) return near;
    Top const top = this->top();
    if (iova > last_under(top)) return nullptr;
    return at_level<F>(top.level, [&]<unsigned L>() {
        return find_page_slot<L>(top.root, top_table<L>(top, iova), iova);
    });
}

// A table of ours that says that it is where `iova` belongs is in the tree, whatever else it has
// been since it was the near one. It says so only once it is there; who takes it out, by itself or
// with a table above it, has all of its IOVAs, and makes the near one forgotten, before or after a
// call about `iova` but not meanwhile.
template <PageTableFormat F, TableSource Source, class Stores>
auto Radix<F, Source, Stores>::near_slot(std::uint64_t iova) const -> Word*
{
    Paddr const near{near_.load(std::memory_order_relaxed)};
    TableInfo const* const info = source_->info(near);
    if (info == nullptr || !marks_.is_at(*info, iova)) return nullptr;
    return own_words(near) + index<F, 0>(iova);
}

// In the table `at`, whose words are `table`, and below.
template <PageTableFormat F, TableSource Source, class Stores>
template <unsigned L>
auto Radix<F, Source, Stores>::find_page_slot(Paddr at, Word* table, std::uint64_t iova) -> Word*
{
    if constexpr (L == 0) {
        near_.store(at.raw(), std::memory_order_relaxed);
        return table + index<F, 0>(iova);
    } else {
        Word const word = load(table[index<F, L>(iova)]);
        if (F::entry(word, L) != Entry::table) return nullptr;
        Paddr const below = F::table_paddr(word);
        TableInfo const* const info = source_->info(below);
        if (info == nullptr || !marks_.owns_mixed(*info, L - 1)) return nullptr;
        return find_page_slot<L - 1>(below, own_words(below), iova);
    }
}

}  // namespace pinfold::pagetable
