// Radix::unmap(). Included by radix_core.hpp only.
#pragma once

#include "pagetable/radix_core.hpp"

namespace pinfold::pagetable {

template <PageTableFormat F, TableSource Source, class Stores>
template <class Sink>
struct Radix<F, Source, Stores>::Unmapping {
    std::uint64_t iova;
    std::uint64_t last;
    std::uint64_t bytes;  // taken away
    bool finished;
    Removed& removed;
    RunMerger<Sink> runs;
    Counters& counters;
    // Leaves that went and are not counted yet, all of one size: counting may cost a locked
    // instruction.
    unsigned leaf_lg2 = 0;
    std::uint64_t leaves = 0;

    void count(unsigned lg2, std::uint64_t went)
    {
        if (lg2 != leaf_lg2) {
            finish_count();
            leaf_lg2 = lg2;
        }
        leaves += went;
    }
    void finish_count()
    {
        if (leaves != 0) counters.count_leaves(leaf_lg2, 0 - leaves);
        leaves = 0;
    }

    void advance(std::uint64_t went)
    {
        bytes += went;
        finished = last - iova < went;
        iova += went;
    }
};

template <PageTableFormat F, TableSource Source, class Stores>
template <RunSink Sink>
std::uint64_t Radix<F, Source, Stores>::unmap(Iova iova, std::uint64_t size, Removed& removed,
                                              Sink&& sink)
{
    if (size == page_ && page_ != 0 && (iova.raw() & (size - 1)) == 0 && iova.raw() <= last_) {
        Word* const slot = page_slot(iova.raw());
        Word const word = slot == nullptr ? Word{0} : load(*slot);
        PageSize const page = PageSize::lg2_of(kSlotLg2<F, 0>);
        if (F::entry(word, 0) == Entry::leaf && F::leaf_size(word, 0) == page) {
            Stores::store(*slot, Word{0});
            count(page.lg2(), ~std::uint64_t{0});
            removed.flush.add_range({iova, Iova{iova.raw() + (size - 1)}});
            removed.flush.add_leaves(0, page);
            sink(Run{iova, F::leaf_paddr(word, 0), size});
            return size;
        }
    }
    return unmap_long(iova, size, removed, sink);
}

template <PageTableFormat F, TableSource Source, class Stores>
template <class Sink>
std::uint64_t Radix<F, Source, Stores>::unmap_long(Iova iova, std::uint64_t size, Removed& removed,
                                                   Sink& sink)
{
    auto const range = IovaRange::of(iova, size);
    if (!range || range->last.raw() > last_) return 0;
    Top const top = this->top();
    if (iova.raw() > last_under(top)) return 0;
    Unmapping<Sink> at{iova.raw(), range->last.raw(),     0,        false,
                       removed,    RunMerger<Sink>{sink}, counters_};
    at_level<F>(top.level, [&]<unsigned L>() {
        std::uint64_t const last = std::min(at.last, last_under(top));
        while (!at.finished && at.iova <= last)
            if (unmap_table<L>(top_table<L>(top, at.iova), at) == Go::stop) break;
    });
    at.finish_count();
    at.runs.finish();
    if (at.bytes != 0) removed.flush.add_range({iova, Iova{iova.raw() + (at.bytes - 1)}});
    return at.bytes;
}

// Unmaps the part of the range that this table covers.
template <PageTableFormat F, TableSource Source, class Stores>
template <unsigned L, class Sink>
auto Radix<F, Source, Stores>::unmap_table(Word* table, Unmapping<Sink>& at) -> Go
{
    do {
        Word& slot = table[index<F, L>(at.iova)];
        Word word = load(slot);
        Entry const entry = entry_to_take<L>(table, word, at);
        if (entry == Entry::leaf) {
            if (clear_leaves<L>(table, word, at) == Go::stop) return Go::stop;
            continue;
        }
        if constexpr (L > 0) {
            if (entry == Entry::table) {
                if (unmap_below<L>(slot, word, at) == Go::stop) return Go::stop;
                continue;
            }
        }
        return Go::stop;  // a hole
    } while (!at.finished && index<F, L>(at.iova) != 0);
    return Go::on;
}

// What `word` says, and becomes once a leaf that the range covers in part has been split.
// Entry::reserved: it stays, and the unmap ends here.
template <PageTableFormat F, TableSource Source, class Stores>
template <unsigned L, class Sink>
Entry Radix<F, Source, Stores>::entry_to_take(Word* table, Word& word, Unmapping<Sink>& at)
{
    Entry const entry = F::entry(word, L);
    if (entry != Entry::leaf || partial_ == Partial::takes_all) return entry;
    PageSize const size = F::leaf_size(word, L);
    bool const from_the_start = size.aligned(at.iova);
    if (from_the_start && at.last - at.iova >= size.mask()) return entry;
    if (partial_ != Partial::splits) return Entry::reserved;
    std::uint64_t const boundary = from_the_start ? at.last + 1 : at.iova;
    if (!split_leaf<L>(table, word, boundary, at.removed)) return Entry::reserved;
    word = load(table[index<F, L>(at.iova)]);
    return entry_to_take<L>(table, word, at);
}

// A run of leaves of one size, to the end of the table, of the range, or of the run.
template <PageTableFormat F, TableSource Source, class Stores>
template <unsigned L, class Sink>
auto Radix<F, Source, Stores>::clear_leaves(Word* table, Word word, Unmapping<Sink>& at) -> Go
{
    PageSize const size = F::leaf_size(word, L);
    if (!size.aligned(at.iova)) return Go::stop;
    Word* const first = table + index<F, L>(at.iova);
    unsigned const slots_lg2 = size.lg2() - kSlotLg2<F, L>;  // slots of one leaf
    std::uint64_t const room = kSlots<F, L> - index<F, L>(at.iova);
    // The last one may be covered in part.
    std::uint64_t const rest = at.last - at.iova;
    bool const last_too = partial_ == Partial::takes_all || (rest & size.mask()) == size.mask();
    std::uint64_t const wanted =
        std::min(room >> slots_lg2, (rest >> size.lg2()) + (last_too ? 1 : 0));

    std::uint64_t leaves = 0;
    do {
        std::uint64_t const row =
            row_of_leaves<L>(first + (leaves << slots_lg2), word, wanted - leaves, size);
        at.runs.add(at.iova + (leaves << size.lg2()), F::leaf_paddr(word, L).raw(),
                    row << size.lg2());
        leaves += row;
        if (leaves == wanted) break;
        word = load(first[leaves << slots_lg2]);
    } while (F::entry(word, L) == Entry::leaf && F::leaf_size(word, L) == size);
    if (leaves == 1 && slots_lg2 == 0)
        Stores::store(*first, Word{0});
    else
        Stores::fill(first, leaves << slots_lg2, Word{0}, Word{0});

    at.count(size.lg2(), leaves);
    at.removed.flush.add_leaves(L, size);
    at.advance(leaves << size.lg2());
    return Go::on;
}

// How many leaves, of `most`, lead where one call would have mapped them: their words grow by the
// same step, until an address outgrows its field. One at least, whose word is `first`.
template <PageTableFormat F, TableSource Source, class Stores>
template <unsigned L>
std::uint64_t Radix<F, Source, Stores>::row_of_leaves(Word const* slots, Word first,
                                                      std::uint64_t most, PageSize size)
{
    Paddr const paddr = F::leaf_paddr(first, L);
    Word const attributes = F::leaf_attributes(first, L);
    if (most == 1 || F::make_leaf(paddr, L, size, attributes) != first) return 1;
    Word const second = F::make_leaf(paddr + size.bytes(), L, size, attributes);
    Word const step = static_cast<Word>(second - first);
    unsigned const slots_lg2 = size.lg2() - kSlotLg2<F, L>;  // slots of one leaf
    constexpr std::uint64_t kStep = 64;
    std::uint64_t row = 0;
    auto const next = [&] { return static_cast<Word>(first + row * step); };
    while (slots_lg2 == 0 && most - row >= kStep && Stores::holds(slots + row, kStep, next(), step))
        row += kStep;
    if (row == 0) row = 1;
    while (row < most && load(slots[row << slots_lg2]) == next()) ++row;
    Word const last = static_cast<Word>(next() - step);
    return F::leaf_paddr(last, L) == paddr + ((row - 1) << size.lg2()) ? row : 1;
}

template <PageTableFormat F, TableSource Source, class Stores>
template <unsigned L, class Sink>
auto Radix<F, Source, Stores>::unmap_below(Word& slot, Word word, Unmapping<Sink>& at) -> Go
{
    Paddr const below = F::table_paddr(word);
    TableInfo* const info = own(below, L - 1);
    if (info == nullptr) return Go::stop;
    bool const whole = (at.iova & kSlotMask<F, L>) == 0 && at.last - at.iova >= kSlotMask<F, L>;

    unsigned const leaf_lg2 = Marks::uniform(*info);
    if (whole && leaf_lg2 != 0) {
        Stores::store(slot, Word{0});
        at.runs.add(at.iova, Marks::first_paddr(*info).raw(), kSlotMask<F, L> + 1);
        at.count(leaf_lg2, (kSlotMask<F, L> + 1) >> leaf_lg2);
        at.removed.flush.add_leaves(level_of<F>(leaf_lg2), PageSize::lg2_of(leaf_lg2));
        at.removed.flush.add_tables(level_of<F>(leaf_lg2), L - 1);
        at.advance(kSlotMask<F, L> + 1);
    } else {
        marks_.changes(*info, at.iova);
        if (unmap_table<L - 1>(words(below), at) == Go::stop) return Go::stop;
        if (!whole) return Go::on;
        Stores::store(slot, Word{0});
        at.removed.flush.add_tables(L - 1, L - 1);
    }
    retire(below, *info, at.removed);
    return Go::on;
}

}  // namespace pinfold::pagetable
