// Radix: where tables come from and go to. Included by radix_core.hpp only.
#pragma once

#include "pagetable/radix_core.hpp"

namespace pinfold::pagetable {

// A table of `level`, marked as ours and not in the tree yet; 2^more_lg2 of them side by side.
template <PageTableFormat F, TableSource Source, class Stores>
std::optional<Paddr> Radix<F, Source, Stores>::make_table_of(unsigned level, Content content,
                                                             unsigned more_lg2)
{
    auto const block =
        source_->allocate(std::max(table_lg2<F>(level) + more_lg2, source_->block_lg2()));
    if (!block) return std::nullopt;
    TableInfo& info = own_info(block->paddr);
    marks_.mark(info, level);
    counters_.count_tables(1);
    if (content == Content::zeroes && !block->zeroed)
        Stores::fill(words(block->paddr), std::uint64_t{1} << (F::slots_lg2(level) + more_lg2),
                     Word{0}, Word{0});
    return block->paddr;
}

template <PageTableFormat F, TableSource Source, class Stores>
void Radix<F, Source, Stores>::retire(Paddr table, TableInfo& info, Removed& removed)
{
    Marks::retire(info);
    near_.store(0, std::memory_order_relaxed);
    removed.tables.push(table, info);
}

template <PageTableFormat F, TableSource Source, class Stores>
void Radix<F, Source, Stores>::release(Removed& removed)
{
    removed.flush = {};
    Chain chain;
    while (auto const table = removed.tables.pop(*source_)) {
        chain_tables(*table, Marks::level(own_info(*table)), chain);
    }
    give_back(chain);
}

// Adds a table and all below it, of which there are none if it was filled with leaves of its level
// at once. What raw words have made of a pointer is looked at: only our own tables, each of its
// level and once.
template <PageTableFormat F, TableSource Source, class Stores>
void Radix<F, Source, Stores>::chain_tables(Paddr table, unsigned level, Chain& chain)
{
    TableInfo& info = own_info(table);
    bool const leaves_only = Marks::uniform(info) >= slot_lg2<F>(level);
    Marks::unmark(info);
    if (level > 0 && !leaves_only) {
        Word const* const slots = words(table);
        std::uint64_t const count = std::uint64_t{1} << F::slots_lg2(level);
        for (std::uint64_t i = 0; i < count; ++i) {
            Word const word = load(slots[i]);
            if (F::entry(word, level) != Entry::table) continue;
            Paddr const below = F::table_paddr(word);
            if (own(below, level - 1) != nullptr) chain_tables(below, level - 1, chain);
        }
    }
    chain.add(*source_, table);
}

template <PageTableFormat F, TableSource Source, class Stores>
void Radix<F, Source, Stores>::give_back(Chain const& chain)
{
    if (!chain.first) return;
    counters_.count_tables(0 - chain.count);
    source_->free(*chain.first, chain.last, chain.count, source_->block_lg2());
}

// A table that was never in the tree, and all below it.
template <PageTableFormat F, TableSource Source, class Stores>
void Radix<F, Source, Stores>::discard(Paddr table, unsigned level)
{
    Chain chain;
    chain_tables(table, level, chain);
    give_back(chain);
}

// The root, which may be larger than other tables, and all below it.
template <PageTableFormat F, TableSource Source, class Stores>
void Radix<F, Source, Stores>::free_tables(Paddr root, unsigned level)
{
    unsigned const lg2 =
        std::max(table_lg2<F>(level) + (level == first_level_ ? concatenated_lg2_ : 0),
                 source_->block_lg2());
    Chain chain;
    std::uint64_t const side_by_side = std::uint64_t{1} << concatenated_lg2_;
    Word const* const slots = words(root);
    for (std::uint64_t i = 0; level > 0 && i < side_by_side << F::slots_lg2(level); ++i) {
        Word const word = load(slots[i]);
        if (F::entry(word, level) != Entry::table) continue;
        Paddr const below = F::table_paddr(word);
        if (own(below, level - 1) != nullptr) chain_tables(below, level - 1, chain);
    }
    give_back(chain);
    Marks::unmark(own_info(root));
    counters_.count_tables(~std::uint64_t{0});
    source_->free(root, root, 1, lg2);
}

template <PageTableFormat F, TableSource Source, class Stores>
void Radix<F, Source, Stores>::sweep()
{
    Chain chain;
    source_->each([&](Paddr table, TableInfo& info) {
        if (!marks_.ever_owned(info)) return;
        Marks::unmark(info);
        chain.add(*source_, table);
    });
    give_back(chain);
}

template <PageTableFormat F, TableSource Source, class Stores>
std::uint64_t Radix<F, Source, Stores>::table_bytes() const
{
    unsigned const first =
        std::max(table_lg2<F>(first_level_) + concatenated_lg2_, source_->block_lg2());
    return (std::uint64_t{1} << first) + ((tables() - 1) << source_->block_lg2());
}

}  // namespace pinfold::pagetable
