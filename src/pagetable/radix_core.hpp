// The radix page table, for any PageTableFormat: one engine, walked, filled and emptied in single
// passes that keep their place. Needs no hosted library: memory comes from a TableSource, nothing
// throws. radix.hpp has the same with memory of its own.
//
//     root (level n-1)          a slot is empty, a table or a leaf; a leaf may stand at every level
//      |__ table (level n-2)    that the format gives leaf sizes and the domain's sizes allow
//           |__ ... level 0
//
// A table that does not cover its width yet grows at the top: a new root, whose first slot leads to
// the old one.
//
// Thread safety: walk() and access() from any number of threads, beside everything. Others: one
// thread at a time, or (Writers::many) any number, each with Removed of its own and on IOVAs that
// are its alone. Nobody waits for anybody: tables are put in by compare-exchange, and who comes
// second frees its own. A table is complete before the word that leads to it is stored, a leaf
// appears and goes by one store of a word. A table taken out of the tree keeps its content until
// release(), which the caller delays until no walk can still be in it. Walkers see memory as we do,
// so no cache is cleaned and no table marked as cleaned.
//
// Raw words may be changed behind the engine's back: a table pointer that leads outside the source
// is a fault to walk(), and map and unmap touch no table but their own. A call about one page may
// go straight to the table where the engine has put it, whatever the words above have become.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cassert>
#include <optional>
#include <utility>

#include "base/range.hpp"
#include "base/result.hpp"
#include "pagetable/counters.hpp"
#include "pagetable/format.hpp"
#include "pagetable/radix_geometry.hpp"
#include "pagetable/radix_shape.hpp"
#include "pagetable/removed.hpp"
#include "pagetable/table_marks.hpp"
#include "pagetable/table_source.hpp"
#include "pagetable/words.hpp"

namespace pinfold::pagetable {

template <PageTableFormat F, TableSource Source, class Stores = Words>
class Radix {
public:
    using Word = typename F::Word;
    struct Leaf {
        IovaRange iova;
        Paddr paddr;  // where iova.start leads
        Prot prot;
    };
    using LeafCounts = pagetable::LeafCounts;

    // Takes a root from `source`, which outlives the table; ready() is false if there was none, and
    // nothing else may be called. REQUIRES: 1 <= levels <= F::kMaxLevels, which cover the width;
    // tables but the root fit the source's blocks.
    Radix(Source& source, Shape<F> const& shape);
    ~Radix();
    Radix(Radix const&) = delete;
    Radix& operator=(Radix const&) = delete;
    bool ready() const { return top_.load(std::memory_order_relaxed) != 0; }

    // Maps the whole range. EINVAL: size is 0 or prot none (or what the format says); EOVERFLOW: a
    // range wraps; ERANGE: outside the IOVA width or the paddr bits; ENXIO: no page size fits;
    // EADDRINUSE: something is mapped there; ENOMEM. On error the first `mapped` bytes are mapped
    // and the rest is not; tables made on the way stay, empty. What went to make room (an empty
    // table in the way of a large leaf, for one) is added to `removed`.
    [[gnu::flatten]] Result<> map(Iova iova, Paddr paddr, std::uint64_t size, Asked const& asked,
                                  std::uint64_t& mapped, Removed& removed);

    // Takes leaves away from `iova` on, up to the range's end or the first hole, and returns their
    // bytes: more than `size` if the last leaf reaches beyond and goes as a whole (Partial). 0: a
    // hole, a place inside a leaf that is not split, or a range that is not of this table. Tables
    // that the range covers go too. `sink` is told what went while it goes: nothing of it may be
    // used anew before `removed` is invalidated. What is said of a table that goes at once is what
    // was mapped there, whatever its words have become.
    template <RunSink Sink>
    [[gnu::flatten]] std::uint64_t unmap(Iova iova, std::uint64_t size, Removed& removed,
                                         Sink&& sink);
    std::uint64_t unmap(Iova iova, std::uint64_t size, Removed& removed)
    {
        return unmap(iova, size, removed, NoRuns{});
    }

    // The leaf at `iova`, its permissions ANDed with those of the tables above. nullopt: none.
    [[gnu::flatten]] std::optional<Leaf> walk(Iova iova) const;

    // Calls visit(Leaf) for each leaf that `range` touches, whole, in ascending order, from the one
    // at range.start to the first hole or until it says false.
    template <class Visit>
    void visit(IovaRange range, Visit&& visit) const;

    // Makes a leaf begin at `at`, if there is one around it: smaller leaves take its place, which
    // lead where it did and permit what it did; each step of the change translates the same. The
    // old leaf is added to `removed`. ENOMEM: not all tables were to be had; ENXIO: the domain has
    // no smaller size. On error all is as it was.
    Result<> split(Iova at, Removed& removed);

    // The reverse: tables in the range whose leaves are all there, alike and in a row are replaced
    // by one leaf each, if the domain has its size. Returns how many leaves that made. A leaf made
    // so is dirty where devices leave marks, since a mark may come late.
    std::uint64_t join(IovaRange range, Removed& removed);

    // A device's access: as walk(), and if it is allowed and Tracking is on, the leaf is marked as
    // accessed, or as written too, in one step that does not touch a leaf that changed meanwhile.
    std::optional<Leaf> access(Iova iova, Access access);

    // Calls record(IovaRange) for each dirty leaf that the range touches, in full even where it
    // reaches beyond. Returns how many. What is cleared is added to `removed`: only once that is
    // invalidated, the next write marks the leaf again.
    template <class Record>
    std::uint64_t read_dirty(IovaRange range, Record&& record) const
        requires TracksDirty<F>;
    template <class Record>
    std::uint64_t read_and_clear_dirty(IovaRange range, Record&& record, Removed& removed)
        requires TracksDirty<F>;

    // Frees the tables in it. REQUIRES: no walk that began before they were removed still runs.
    void release(Removed& removed);

    // The same for one thread that does not look closer: what is removed stays here until
    // release_tables().
    Result<> map(Iova iova, Paddr paddr, std::uint64_t size, Prot prot, Snoop snoop,
                 std::uint64_t& mapped)
    {
        return map(iova, paddr, size, {.prot = prot, .snoop = snoop}, mapped, removed_);
    }
    std::uint64_t unmap(Iova iova, std::uint64_t size) { return unmap(iova, size, removed_); }
    void release_tables() { release(removed_); }
    bool tables_retired() const { return !removed_.tables.empty(); }

    IovaRange aperture() const { return {Iova{0}, Iova{last_}}; }
    Paddr root() const { return top().root; }
    unsigned levels() const { return top().level + 1; }
    // Exact while no call is under way.
    LeafCounts leaves() const { return counters_.leaves(); }
    // Retired ones that were not released yet are among them.
    std::uint64_t tables() const { return counters_.tables(); }
    std::uint64_t table_bytes() const;

private:
    static_assert(F::entry(0, 0) == Entry::empty && F::entry(0, F::kMaxLevels - 1) == Entry::empty);
    // The root's address and, in the bits that its alignment leaves, its level: published as one.
    static constexpr std::uint64_t kLevelMask = 7;
    static_assert(F::kMaxLevels <= kLevelMask);
    using Marks = TableMarks<kReachLg2<F>[0]>;
    static_assert(std::min(slot_lg2<F>(F::kMaxLevels), 64U) <=
                  kReachLg2<F>[0] + Marks::kNumberBits);

    struct Top {
        Paddr root;
        unsigned level;
    };
    struct Mapping;  // what is still to be mapped
    template <class Sink>
    struct Unmapping;
    enum class Go : bool { on, stop };

    Top top() const
    {
        std::uint64_t const word = top_.load(std::memory_order_acquire);
        return {Paddr{word & ~kLevelMask}, static_cast<unsigned>(word & kLevelMask)};
    }
    std::uint64_t last_under(Top top) const
    {
        return last_of(kReachLg2<F>[top.level] + concatenated_lg2_);
    }
    // Of a root of level L, the one of the tables side by side that has `iova`.
    template <unsigned L>
    Word* top_table(Top top, std::uint64_t iova) const
    {
        Word* const root = own_words(top.root);
        if constexpr (kSlotLg2<F, L> + F::slots_lg2(L) >= 64)
            return root;
        else
            return root + ((iova >> (kSlotLg2<F, L> + F::slots_lg2(L))) << F::slots_lg2(L));
    }
    // body(table, part) for each table side by side in the root that the range meets.
    template <unsigned L, class Body>
    void for_each_top_table(Top top, IovaRange range, Body&& body) const
    {
        std::uint64_t const reach = last_of(kSlotLg2<F, L> + F::slots_lg2(L));
        for (std::uint64_t iova = range.start.raw();;) {
            std::uint64_t const last = std::min(iova | reach, range.last.raw());
            body(top_table<L>(top, iova), IovaRange{Iova{iova}, Iova{last}});
            if (last == range.last.raw()) return;
            iova = last + 1;
        }
    }
    // Of a table that has an info, and the info.
    Word* own_words(Paddr table) const
    {
        return static_cast<Word*>(static_cast<void*>(source_->words_of_table(table)));
    }
    TableInfo& own_info(Paddr table) const
    {
        TableInfo* const info = source_->info(table);
        if (info == nullptr) __builtin_unreachable();
        return *info;
    }
    // nullptr: outside the source.
    Word* words(Paddr table) const
    {
        return static_cast<Word*>(static_cast<void*>(source_->words(table)));
    }

    Word attributes(Asked const& asked) const
    {
        Asked wanted = asked;
        wanted.tracked = wanted.tracked || tracking_ == Tracking::on;
        return F::attributes(wanted);
    }

    static Word load(Word const& slot) { return Stores::load(slot); }

    // Of the table that a word of the level above leads to, if it is ours and in the tree; nullptr
    // for whatever else a raw word may say.
    TableInfo* own(Paddr table, unsigned level) const
    {
        TableInfo* const info = source_->info(table);
        return info != nullptr && marks_.owns(*info, level) ? info : nullptr;
    }
    void count(unsigned lg2, std::uint64_t n) { counters_.count_leaves(lg2, n); }

    // radix_page.hpp
    Word* page_slot(std::uint64_t iova);
    Word* near_slot(std::uint64_t iova) const;
    template <unsigned L>
    Word* find_page_slot(Paddr at, Word* table, std::uint64_t iova);
    // What is about more than a page, or meets more than a page's way has.
    [[gnu::noinline]] Result<> map_long(Iova iova, Paddr paddr, std::uint64_t size,
                                        Asked const& asked, std::uint64_t& mapped,
                                        Removed& removed);
    template <class Sink>
    [[gnu::noinline]] std::uint64_t unmap_long(Iova iova, std::uint64_t size, Removed& removed,
                                               Sink& sink);

    // radix_tables.hpp
    enum class Content : bool { zeroes, anything };
    std::optional<Paddr> make_table_of(unsigned level, Content content, unsigned more_lg2 = 0);
    void retire(Paddr table, TableInfo& info, Removed& removed);
    void free_tables(Paddr table, unsigned level);
    struct Chain {
        std::optional<Paddr> first;
        Paddr last{};
        std::uint64_t count = 0;

        void add(Source const& source, Paddr table)
        {
            if (first)
                source.info(last)->link.store(table.raw(), std::memory_order_relaxed);
            else
                first = table;
            last = table;
            ++count;
        }
    };
    void chain_tables(Paddr table, unsigned level, Chain& chain);
    void give_back(Chain const& chain);
    void discard(Paddr table, unsigned level);
    void sweep();

    // radix_walk.hpp
    template <unsigned L>
    std::optional<Leaf> walk_table(Word const* table, std::uint64_t iova, Prot prot) const;
    template <unsigned L>
    static Leaf leaf_at(Word word, std::uint64_t iova, Prot above);
    template <unsigned L, class Visit>
    Go visit_table(Word const* table, std::uint64_t& iova, std::uint64_t last, Prot prot,
                   Visit& visit) const;

    // radix_map.hpp
    Result<> grow(std::uint64_t last);
    template <unsigned L>
    std::optional<PageSize> leaf_that_fits(Mapping const& at) const;
    template <unsigned L>
    Result<> map_table(Word* table, Mapping& at);
    template <unsigned L>
    Result<> map_below(Word* table, Mapping& at);
    template <unsigned L>
    Result<> build_below(Word& slot, Word& word, Mapping& at);
    template <unsigned L>
    Result<> fill_table(Paddr table, Mapping& at);
    template <unsigned L>
    Result<> put_leaves(Word* table, PageSize size, Mapping& at);
    template <unsigned L>
    static void write_leaves(Word* slots, std::uint64_t count, PageSize size, Paddr paddr,
                             Word attributes);
    template <unsigned L>
    std::uint64_t run_length(PageSize size, Mapping const& at) const;
    template <unsigned L>
    std::uint64_t vacant_run(Word* slots, std::uint64_t wanted, Mapping& at);
    template <unsigned L>
    bool vacate(Word& slot, std::uint64_t iova, Removed& removed);
    template <unsigned L>
    bool vacant(Word const* table, unsigned& lowest) const;
    template <unsigned L>
    Result<> occupied(Word* table, std::uint64_t slot, PageSize size, Mapping& at);
    template <unsigned L>
    bool tear_down(Word* table, std::uint64_t slot, std::uint64_t iova, Removed& removed);
    template <unsigned L>
    void uncount(Paddr table, Flush& flush);

    // radix_unmap.hpp
    template <unsigned L, class Sink>
    Go unmap_table(Word* table, Unmapping<Sink>& at);
    template <unsigned L, class Sink>
    Entry entry_to_take(Word* table, Word& word, Unmapping<Sink>& at);
    template <unsigned L, class Sink>
    Go clear_leaves(Word* table, Word word, Unmapping<Sink>& at);
    template <unsigned L>
    static std::uint64_t row_of_leaves(Word const* slots, Word first, std::uint64_t most,
                                       PageSize size);
    template <unsigned L, class Sink>
    Go unmap_below(Word& slot, Word word, Unmapping<Sink>& at);

    // radix_split.hpp
    template <unsigned L>
    Result<> split_table(Word* table, std::uint64_t at, Removed& removed);
    template <unsigned L>
    Result<> split_leaf(Word* table, Word word, std::uint64_t at, Removed& removed);
    template <unsigned L>
    void split_run(Word* table, PageSize size, std::uint64_t at);
    template <unsigned L>
    bool has_piece() const;
    using Spare = std::array<Paddr, F::kMaxLevels>;  // by level
    template <unsigned L>
    Result<> reserve_pieces(std::uint64_t at, Spare& spare);
    template <unsigned L>
    void write_pieces(Spare const& spare, std::uint64_t at, Paddr paddr, Word attributes);
    template <unsigned L>
    void count_pieces(std::uint64_t at);
    template <unsigned L>
    std::uint64_t join_table(Word* table, IovaRange range, Removed& removed);
    template <unsigned L>
    bool join_slot(Word& slot, Word word, IovaRange part, TableInfo& info, Removed& removed);
    template <unsigned L>
    std::optional<Word> joined(Word const* table) const;

    // radix_dirty.hpp
    template <unsigned L>
    std::optional<Leaf> access_table(Word* table, std::uint64_t iova, Prot prot, Access access,
                                     bool& again);
    // visit(first word, words, level, leaf) for each dirty leaf; returns how many.
    template <class Visit>
    std::uint64_t visit_dirty(IovaRange range, Visit&& visit) const;
    template <unsigned L, class Visit>
    std::uint64_t visit_dirty_table(Word* table, IovaRange range, Visit& visit) const;

    Source* source_;
    std::atomic<std::uint64_t> top_{0};
    std::uint64_t last_;
    std::uint64_t last_paddr_;
    Marks marks_;
    unsigned concatenated_lg2_;
    unsigned first_level_;  // of the root that this began with
    Partial partial_;
    Overmap overmap_;
    Tracking tracking_;
    std::array<std::uint64_t, F::kMaxLevels> leaf_sizes_;  // bitmaps
    std::uint64_t page_;  // bytes behind a slot of level 0, if a leaf can be so small; else 0
    Counters counters_;
    // A table of level 0 of the tree, which the last call about one page met: as a rule the next
    // one meets it too. 0: none.
    std::atomic<std::uint64_t> near_{0};
    Removed removed_;
};

template <PageTableFormat F, TableSource Source, class Stores>
Radix<F, Source, Stores>::Radix(Source& source, Shape<F> const& shape)
    : source_{&source},
      last_{last_of(shape.width)},
      last_paddr_{last_of(shape.paddr_bits)},
      marks_{source.new_owner()},
      concatenated_lg2_{shape.concatenated_lg2},
      first_level_{shape.levels - 1},
      partial_{shape.partial},
      overmap_{shape.overmap},
      tracking_{shape.tracking},
      counters_{shape.writers}
{
    assert(shape.levels >= 1 && shape.levels <= F::kMaxLevels);
    assert(shape.width <= slot_lg2<F>(F::kMaxLevels) + shape.concatenated_lg2);
    assert(shape.concatenated_lg2 == 0 ||
           shape.width <= slot_lg2<F>(shape.levels) + shape.concatenated_lg2);
    assert(shape.paddr_bits <= F::kPaddrBits);
    for (unsigned level = 0; level < F::kMaxLevels; ++level) {
        assert(level + 1 >= F::kMaxLevels || table_lg2<F>(level) <= source.block_lg2());
        leaf_sizes_[level] = (F::leaf_sizes(level) & shape.page_sizes).bitmap();
    }
    page_ = leaf_sizes_[0] & (std::uint64_t{1} << kSlotLg2<F, 0>);
    if (auto const root = make_table_of(first_level_, Content::zeroes, concatenated_lg2_)) {
        if (first_level_ == 0) marks_.settle(own_info(*root), 0);
        top_.store(root->raw() | first_level_, std::memory_order_release);
    }
}

template <PageTableFormat F, TableSource Source, class Stores>
Radix<F, Source, Stores>::~Radix()
{
    if (!ready()) return;
    release(removed_);
    free_tables(root(), top().level);
    // What raw words have hidden, and what somebody removed and did not release.
    if (tables() != 0) sweep();
}

}  // namespace pinfold::pagetable

#include "pagetable/radix_dirty.hpp"   // IWYU pragma: export
#include "pagetable/radix_map.hpp"     // IWYU pragma: export
#include "pagetable/radix_page.hpp"    // IWYU pragma: export
#include "pagetable/radix_split.hpp"   // IWYU pragma: export
#include "pagetable/radix_tables.hpp"  // IWYU pragma: export
#include "pagetable/radix_unmap.hpp"   // IWYU pragma: export
#include "pagetable/radix_walk.hpp"    // IWYU pragma: export
