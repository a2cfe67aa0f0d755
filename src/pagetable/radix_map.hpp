// Radix::map(). Included by radix_core.hpp only.
#pragma once

#include "pagetable/radix_core.hpp"

namespace pinfold::pagetable {

template <PageTableFormat F, TableSource Source, class Stores>
struct Radix<F, Source, Stores>::Mapping {
    std::uint64_t iova;
    std::uint64_t paddr;
    std::uint64_t left;
    Word attributes;
    std::uint64_t fitting;  // bit n: 2^n bytes divide iova and paddr and are left
    Removed& removed;

    void fit()
    {
        std::uint64_t const alignment = iova | paddr;
        fitting = ((alignment & -alignment) << 1) - 1;
        if (left != 0) fitting &= ~std::uint64_t{0} >> std::countl_zero(left);
    }
    void advance(std::uint64_t bytes)
    {
        iova += bytes;
        paddr += bytes;
        left -= bytes;
        fit();
    }
};

template <PageTableFormat F, TableSource Source, class Stores>
Result<> Radix<F, Source, Stores>::map(Iova iova, Paddr paddr, std::uint64_t size,
                                       Asked const& asked, std::uint64_t& mapped, Removed& removed)
{
    bool const one_page = size == page_ && page_ != 0 &&
                          ((iova.raw() | paddr.raw()) & (size - 1)) == 0 && iova.raw() <= last_ &&
                          paddr.raw() <= last_paddr_;
    if (one_page && asked.prot != Prot::none) {
        Word* const slot = page_slot(iova.raw());
        if (slot != nullptr && load(*slot) == 0) {
            PageSize const page = PageSize::lg2_of(kSlotLg2<F, 0>);
            Stores::store(*slot, F::make_leaf(paddr, 0, page, attributes(asked)));
            count(page.lg2(), 1);
            mapped = size;
            return {};
        }
    }
    return map_long(iova, paddr, size, asked, mapped, removed);
}

template <PageTableFormat F, TableSource Source, class Stores>
Result<> Radix<F, Source, Stores>::map_long(Iova iova, Paddr paddr, std::uint64_t size,
                                            Asked const& asked, std::uint64_t& mapped,
                                            Removed& removed)
{
    mapped = 0;
    if (asked.prot == Prot::none) return fail(no_rights<F>());
    auto const iovas = TRY(IovaRange::of(iova, size));
    auto const paddrs = TRY(PaddrRange::of(paddr, size));
    if (iovas.last.raw() > last_ || paddrs.last.raw() > last_paddr_) return fail(Errno::range);
    TRY(grow(iovas.last.raw()));

    Mapping at{iova.raw(), paddr.raw(), size, attributes(asked), 0, removed};
    at.fit();
    Top const top = this->top();
    auto const done = at_level<F>(top.level, [&]<unsigned L>() -> Result<> {
        do TRY(map_table<L>(top_table<L>(top, at.iova), at));
        while (at.left != 0);
        return {};
    });
    mapped = size - at.left;
    return done;
}

// Adds levels until the table covers `last`. A walk that still has the old root finds all that it
// could find before.
template <PageTableFormat F, TableSource Source, class Stores>
Result<> Radix<F, Source, Stores>::grow(std::uint64_t last)
{
    for (Top old = top(); last_under(old) < last; old = top()) {
        auto const root = make_table_of(old.level + 1, Content::zeroes);
        if (!root) return fail(Errno::nomem);
        Stores::store(*words(*root), F::make_table(old.root, old.level + 1));
        std::uint64_t expected = old.root.raw() | old.level;
        if (top_.compare_exchange_strong(expected, root->raw() | (old.level + 1),
                                         std::memory_order_acq_rel))
            continue;
        Stores::store(*words(*root), Word{0});
        free_tables(*root, old.level + 1);  // another thread was first
    }
    return {};
}

// The largest leaf of this level that fits where the map is. Rule X-1.
template <PageTableFormat F, TableSource Source, class Stores>
template <unsigned L>
std::optional<PageSize> Radix<F, Source, Stores>::leaf_that_fits(Mapping const& at) const
{
    if constexpr (F::leaf_sizes(L).empty()) return std::nullopt;
    std::uint64_t const sizes = leaf_sizes_[L] & at.fitting;
    if (sizes == 0) return std::nullopt;
    return PageSize::lg2_of(63U - static_cast<unsigned>(std::countl_zero(sizes)));
}

// Maps the part of the range that this table covers.
template <PageTableFormat F, TableSource Source, class Stores>
template <unsigned L>
Result<> Radix<F, Source, Stores>::map_table(Word* table, Mapping& at)
{
    do {
        if (auto const size = leaf_that_fits<L>(at)) {
            TRY(put_leaves<L>(table, *size, at));
        } else if constexpr (L == 0) {
            return fail(Errno::nxio);
        } else {
            TRY(map_below<L>(table, at));
        }
    } while (at.left != 0 && index<F, L>(at.iova) != 0);
    return {};
}

// A run of leaves of one size, to the end of the table, of the range, or to where a larger size of
// this level fits.
template <PageTableFormat F, TableSource Source, class Stores>
template <unsigned L>
Result<> Radix<F, Source, Stores>::put_leaves(Word* table, PageSize size, Mapping& at)
{
    Word* const first = table + index<F, L>(at.iova);
    unsigned const slots_lg2 = size.lg2() - kSlotLg2<F, L>;  // slots of one leaf
    std::uint64_t const wanted = run_length<L>(size, at) << slots_lg2;

    std::uint64_t const vacant = vacant_run<L>(first, wanted, at);
    std::uint64_t const leaves = vacant >> slots_lg2;
    if (leaves != 0) {
        write_leaves<L>(first, leaves << slots_lg2, size, Paddr{at.paddr}, at.attributes);
        count(size.lg2(), leaves);
        at.advance(leaves << size.lg2());
    }
    if (vacant < wanted) return occupied<L>(table, vacant - (leaves << slots_lg2), size, at);
    return {};
}

// How many leaves of `size` to write now. Rule X-2 within one table.
template <PageTableFormat F, TableSource Source, class Stores>
template <unsigned L>
std::uint64_t Radix<F, Source, Stores>::run_length(PageSize size, Mapping const& at) const
{
    std::uint64_t const slots = kSlots<F, L> - index<F, L>(at.iova);
    std::uint64_t const leaves =
        std::min(slots >> (size.lg2() - kSlotLg2<F, L>), at.left >> size.lg2());

    std::uint64_t const larger = leaf_sizes_[L] & ~(size.bytes() | size.mask());
    if (leaves == 1 || larger == 0) return leaves;
    PageSize const next = PageSizes{larger}.smallest();
    if (!next.aligned(at.iova ^ at.paddr)) return leaves;
    std::uint64_t const to_next = next.bytes() - (at.iova & next.mask());
    if (at.left < to_next || at.left - to_next < next.bytes()) return leaves;
    return std::min(leaves, to_next >> size.lg2());
}

// Leaves at consecutive paddrs in empty slots. As a rule the words grow by the same step from slot
// to slot; where not (a field of high address bits steps, leaves whose words are all alike), each
// leaf by itself has such a step.
template <PageTableFormat F, TableSource Source, class Stores>
template <unsigned L>
void Radix<F, Source, Stores>::write_leaves(Word* slots, std::uint64_t count, PageSize size,
                                            Paddr paddr, Word attributes)
{
    auto const leaf = [&](std::uint64_t slot) {
        return F::make_leaf(paddr + (slot << kSlotLg2<F, L>), L, size, attributes);
    };
    Word const first = leaf(0);
    if (count == 1) return Stores::store(*slots, first);
    Word const step = static_cast<Word>(leaf(1) - first);
    if (leaf(count - 1) == static_cast<Word>(first + step * (count - 1)))
        return Stores::fill(slots, count, first, step);
    std::uint64_t const slots_of_leaf = size.bytes() >> kSlotLg2<F, L>;
    for (std::uint64_t slot = 0; slot < count; slot += slots_of_leaf)
        Stores::fill(slots + slot, slots_of_leaf, leaf(slot),
                     slots_of_leaf == 1 ? Word{0} : static_cast<Word>(leaf(slot + 1) - leaf(slot)));
}

// How many of the next `wanted` slots are empty, or are so now. Most are zero, and passed in steps.
template <PageTableFormat F, TableSource Source, class Stores>
template <unsigned L>
std::uint64_t Radix<F, Source, Stores>::vacant_run(Word* slots, std::uint64_t wanted, Mapping& at)
{
    constexpr std::uint64_t kStep = 128;
    std::uint64_t vacant = 0;
    while (vacant < wanted) {
        std::uint64_t const step = std::min(wanted - vacant, kStep);
        if (step > 1 && Stores::all_zero(slots + vacant, step)) {
            vacant += step;
            continue;
        }
        for (std::uint64_t const end = vacant + step; vacant < end; ++vacant)
            if (F::entry(load(slots[vacant]), L) != Entry::empty &&
                !vacate<L>(slots[vacant], at.iova + (vacant << kSlotLg2<F, L>), at.removed))
                return vacant;
    }
    return vacant;
}

// The table below the slot where the map is, made if there is none, and mapped. EADDRINUSE: a leaf
// stands there, or a raw word that leads nowhere of ours.
template <PageTableFormat F, TableSource Source, class Stores>
template <unsigned L>
Result<> Radix<F, Source, Stores>::map_below(Word* table, Mapping& at)
{
    Word& slot = table[index<F, L>(at.iova)];
    for (Word word = load(slot);;) {
        switch (F::entry(word, L)) {
            case Entry::table: {
                Paddr const below = F::table_paddr(word);
                TableInfo* const info = own(below, L - 1);
                if (info == nullptr) return fail(Errno::addrinuse);
                marks_.changes(*info, at.iova);
                return map_table<L - 1>(words(below), at);
            }
            case Entry::empty: {
                std::uint64_t const before = at.left;
                auto const done = build_below<L>(slot, word, at);
                if (!done || at.left != before) return done;
                break;  // `word` is what stands there now
            }
            case Entry::leaf:
                if (overmap_ != Overmap::replaces) return fail(Errno::addrinuse);
                if (!tear_down<L>(table, index<F, L>(at.iova), at.iova, at.removed))
                    return fail(Errno::addrinuse);
                word = load(slot);
                break;
            case Entry::reserved: return fail(Errno::addrinuse);
        }
    }
}

// Maps into a new table for `slot`, which holds `word`, and puts it there. If another thread's is
// there by then, ours goes, nothing is mapped, and `word` is the new one.
template <PageTableFormat F, TableSource Source, class Stores>
template <unsigned L>
Result<> Radix<F, Source, Stores>::build_below(Word& slot, Word& word, Mapping& at)
{
    bool const whole = (at.iova & kSlotMask<F, L>) == 0 && at.left > kSlotMask<F, L>;
    auto const table = make_table_of(L - 1, whole ? Content::anything : Content::zeroes);
    if (!table) return fail(Errno::nomem);
    Mapping const before = at;
    Result<> done{};
    // Nobody sees a table that will be full before it is.
    if (whole) done = fill_table<L - 1>(*table, at);
    bool const useful = !whole || at.left != before.left;
    if (useful && Stores::replace(slot, word, F::make_table(*table, L))) {
        if (whole) return done;
        if constexpr (L == 1) marks_.settle(own_info(*table), at.iova);
        return map_table<L - 1>(words(*table), at);
    }
    Flush unseen;
    if (whole) uncount<L - 1>(*table, unseen);
    discard(*table, L - 1);
    if (!useful) return done;
    at.iova = before.iova;
    at.paddr = before.paddr;
    at.left = before.left;
    at.fit();
    return {};
}

// Fills a table that nobody sees, all of which is to be mapped and none of which holds anything
// defined. On error the rest is empty.
template <PageTableFormat F, TableSource Source, class Stores>
template <unsigned L>
Result<> Radix<F, Source, Stores>::fill_table(Paddr table, Mapping& at)
{
    Word* const slots = words(table);
    Paddr const first{at.paddr};
    // Since the table starts at a multiple of its reach, what fits here fits throughout.
    if (auto const size = leaf_that_fits<L>(at)) {
        write_leaves<L>(slots, kSlots<F, L>, *size, first, at.attributes);
        count(size->lg2(), kSlots<F, L> >> (size->lg2() - kSlotLg2<F, L>));
        at.advance(kSlots<F, L> << kSlotLg2<F, L>);
        Marks::set_uniform(own_info(table), size->lg2(), first);
        return {};
    }
    Errno error = Errno::nxio;
    std::uint64_t slot = 0;
    if constexpr (L > 0) {
        unsigned leaf_lg2 = 0;
        for (error = Errno{}; slot < kSlots<F, L> && error == Errno{}; ++slot) {
            auto const below = make_table_of(L - 1, Content::anything);
            if (!below) {
                error = Errno::nomem;
                break;
            }
            std::uint64_t const before = at.left;
            if (auto const done = fill_table<L - 1>(*below, at); !done) error = done.error();
            if (at.left == before) {
                discard(*below, L - 1);
                break;
            }
            Stores::store(slots[slot], F::make_table(*below, L));
            leaf_lg2 = Marks::uniform(own_info(*below));
        }
        if (error == Errno{}) {
            Marks::set_uniform(own_info(table), leaf_lg2, first);
            return {};
        }
    }
    Stores::fill(slots + slot, kSlots<F, L> - slot, Word{0}, Word{0});
    return fail(error);
}

}  // namespace pinfold::pagetable

#include "pagetable/radix_overmap.hpp"  // IWYU pragma: export
