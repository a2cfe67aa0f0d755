// Radix::walk() and visit(). Included by radix_core.hpp only.
#pragma once

#include "pagetable/radix_core.hpp"

namespace pinfold::pagetable {

template <PageTableFormat F, TableSource Source, class Stores>
auto Radix<F, Source, Stores>::walk(Iova iova) const -> std::optional<Leaf>
{
    Top const top = this->top();
    if (iova.raw() > std::min(last_, last_under(top))) return std::nullopt;
    return at_level<F>(top.level, [&]<unsigned L>() {
        return walk_table<L>(top_table<L>(top, iova.raw()), iova.raw(), Prot::read_write);
    });
}

template <PageTableFormat F, TableSource Source, class Stores>
template <unsigned L>
auto Radix<F, Source, Stores>::walk_table(Word const* table, std::uint64_t iova, Prot prot) const
    -> std::optional<Leaf>
{
    Word const word = load(table[index<F, L>(iova)]);
    Entry const entry = F::entry(word, L);
    if (entry == Entry::leaf) return leaf_at<L>(word, iova, prot);
    if constexpr (L > 0) {
        if (entry != Entry::table) return std::nullopt;
        Word const* const below = words(F::table_paddr(word));
        if (below == nullptr) return std::nullopt;
        return walk_table<L - 1>(below, iova, prot & F::prot(word, L));
    } else {
        return std::nullopt;
    }
}

template <PageTableFormat F, TableSource Source, class Stores>
template <unsigned L>
auto Radix<F, Source, Stores>::leaf_at(Word word, std::uint64_t iova, Prot above) -> Leaf
{
    PageSize const size = F::leaf_size(word, L);
    std::uint64_t const start = size.align_down(iova);
    return {
        {Iova{start}, Iova{start + size.mask()}}, F::leaf_paddr(word, L), above & F::prot(word, L)};
}

template <PageTableFormat F, TableSource Source, class Stores>
template <class Visit>
void Radix<F, Source, Stores>::visit(IovaRange range, Visit&& visit) const
{
    Top const top = this->top();
    std::uint64_t const last = std::min(last_, last_under(top));
    std::uint64_t iova = range.start.raw();
    at_level<F>(top.level, [&]<unsigned L>() {
        while (iova <= last && visit_table<L>(top_table<L>(top, iova), iova, range.last.raw(),
                                              Prot::read_write, visit) == Go::on) {
        }
    });
}

// The part of the range that this table covers, from `iova` on, which goes along.
template <PageTableFormat F, TableSource Source, class Stores>
template <unsigned L, class Visit>
auto Radix<F, Source, Stores>::visit_table(Word const* table, std::uint64_t& iova,
                                           std::uint64_t last, Prot prot, Visit& visit) const -> Go
{
    do {
        Word const word = load(table[index<F, L>(iova)]);
        Entry const entry = F::entry(word, L);
        if (entry == Entry::leaf) {
            Leaf const leaf = leaf_at<L>(word, iova, prot);
            if (!visit(leaf) || leaf.iova.last.raw() >= last) return Go::stop;
            iova = leaf.iova.last.raw() + 1;
            continue;
        }
        if constexpr (L > 0) {
            if (entry != Entry::table) return Go::stop;
            Word const* const below = words(F::table_paddr(word));
            if (below == nullptr ||
                visit_table<L - 1>(below, iova, last, prot & F::prot(word, L), visit) == Go::stop)
                return Go::stop;
        } else {
            return Go::stop;  // a hole
        }
    } while (index<F, L>(iova) != 0);
    return Go::on;
}

}  // namespace pinfold::pagetable
