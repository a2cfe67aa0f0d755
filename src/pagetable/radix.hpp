// The radix page table, for any PageTableFormat: one engine, walked, filled and emptied in single
// passes that keep their place.
//
//     root (level n-1)          a slot is empty, a table or a leaf; a leaf may stand at every level
//      |__ table (level n-2)    that the format gives leaf sizes and the domain's sizes allow
//           |__ ... level 0
//
// A table that does not cover its width yet grows at the top: a new root, whose first slot leads to
// the old one.
//
// Thread safety: one thread maps and unmaps; walk() from any number of threads beside it. A table
// is complete before the word that leads to it is stored (release/acquire), a leaf appears and
// goes by one 64-bit store. A table taken out of the tree keeps its content until
// release_tables(), which the caller delays until no walk can still be in it.
//
// Raw words may be changed behind the engine's back: a table pointer that leads outside the arena
// is a fault to walk(), and map and unmap touch no table but their own.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cassert>
#include <memory>
#include <optional>
#include <utility>

#include "base/range.hpp"
#include "pagetable/format.hpp"
#include "pagetable/table_memory.hpp"

namespace pinfold::pagetable {

// What an unmap does with a leaf that its range covers in part. `takes_all`: the leaf goes as a
// whole if the range begins where it does, and not at all otherwise. `splits`: a table of smaller
// leaves takes its place, and those that are covered go. `refuses`: the unmap ends there.
enum class Partial : std::uint8_t { takes_all, splits, refuses };

template <PageTableFormat F>
struct Shape {
    // To begin with. A leaf as large as all that they cover is made only once the table has grown.
    unsigned levels;
    unsigned width;  // bits of IOVA
    PageSizes page_sizes;
    unsigned paddr_bits = F::kPaddrBits;
    Partial partial = Partial::takes_all;

    // Of a table that covers its width from the start.
    static constexpr Shape fixed(unsigned levels, PageSizes page_sizes)
    {
        return {levels, std::min(F::kGranuleLg2 + F::kSlotsLg2 * levels, 64U), page_sizes};
    }
};

template <PageTableFormat F>
class RadixTable {
public:
    struct Leaf {
        IovaRange iova;
        Paddr paddr;  // where iova.start leads
        Prot prot;
    };
    using LeafCounts = std::array<std::uint64_t, 64>;  // by log2 of the size

    // ENOMEM: no page for the root. REQUIRES: 1 <= levels <= F::kMaxLevels, which cover the width;
    // memory's pages hold 2^F::kSlotsLg2 words.
    static Result<std::unique_ptr<RadixTable>> create(std::shared_ptr<TableMemory> memory,
                                                      Shape<F> const& shape);
    ~RadixTable();
    RadixTable(RadixTable const&) = delete;
    RadixTable& operator=(RadixTable const&) = delete;

    // Maps the whole range. EINVAL: size is 0 or prot none; EOVERFLOW: a range wraps; ERANGE:
    // outside the IOVA width or the paddr bits; ENXIO: no page size fits; EADDRINUSE: something is
    // mapped there; ENOMEM. On error the first `mapped` bytes are mapped and the rest is not;
    // tables made on the way stay, empty. An empty table in the way of a large leaf is retired.
    Result<> map(Iova iova, Paddr paddr, std::uint64_t size, Prot prot, Snoop snoop,
                 std::uint64_t& mapped);

    // Takes leaves away from `iova` on, up to the range's end or the first hole, and returns their
    // bytes: more than `size` if the last leaf reaches beyond and goes as a whole (Partial). 0: a
    // hole, a place inside a leaf that is not split, or a range that is not of this table. Tables
    // that the range covers are retired.
    std::uint64_t unmap(Iova iova, std::uint64_t size);

    // The leaf at `iova`, its permissions ANDed with those of the tables above. nullopt: none.
    std::optional<Leaf> walk(Iova iova) const;

    // Frees the retired tables. REQUIRES: no walk that began before they were retired still runs.
    void release_tables() { memory_->release(retired_); }
    bool tables_retired() const { return !retired_.empty(); }

    IovaRange aperture() const { return {Iova{0}, Iova{last_}}; }
    Paddr root() const { return top().root; }
    unsigned levels() const { return top().level + 1; }
    LeafCounts const& leaves() const { return leaves_; }
    std::uint64_t table_pages() const { return live_.pages() + retired_.pages(); }

private:
    static constexpr std::uint64_t kSlots = std::uint64_t{1} << F::kSlotsLg2;
    static_assert(F::entry(0, 0) == Entry::empty && F::entry(0, F::kMaxLevels - 1) == Entry::empty);
    // The root's address and, in the bits that its alignment leaves, its level: published as one.
    static constexpr std::uint64_t kLevelMask = 7;
    static_assert(F::kMaxLevels <= kLevelMask + 1);

    struct Top {
        Paddr root;
        unsigned level;
    };
    struct Mapping {  // what is still to be mapped
        std::uint64_t iova;
        std::uint64_t paddr;
        std::uint64_t left;
        Word attributes;
    };
    struct Unmapping {
        std::uint64_t iova;
        std::uint64_t last;
        std::uint64_t bytes;  // taken away
        bool finished;
    };
    enum class Go : bool { on, stop };

    RadixTable(std::shared_ptr<TableMemory> memory, Shape<F> const& shape);

    static constexpr unsigned slot_lg2(unsigned level)
    {
        return F::kGranuleLg2 + F::kSlotsLg2 * level;
    }
    // The last address of `bits` bits.
    static constexpr std::uint64_t last_of(unsigned bits)
    {
        return bits >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bits) - 1;
    }
    static constexpr std::uint64_t last_under(Top top) { return last_of(slot_lg2(top.level + 1)); }
    Top top() const
    {
        std::uint64_t const word = top_.load(std::memory_order_acquire);
        return {Paddr{word & ~kLevelMask}, static_cast<unsigned>(word & kLevelMask)};
    }
    void set_top(Top top) { top_.store(top.root.raw() | top.level, std::memory_order_release); }
    static constexpr std::uint64_t index(std::uint64_t iova, unsigned level)
    {
        return (iova >> slot_lg2(level)) & (kSlots - 1);
    }
    // Atomic accesses to a live table's words.
    static Word load(Word& slot) { return std::atomic_ref{slot}.load(std::memory_order_relaxed); }
    static void store(Word& slot, Word word)
    {
        std::atomic_ref{slot}.store(word, std::memory_order_relaxed);
    }
    static void publish(Word& slot, Word word)
    {
        std::atomic_ref{slot}.store(word, std::memory_order_release);
    }

    static bool all_zero(Word* slots, std::uint64_t count)
    {
        Word any = 0;
        for (std::uint64_t i = 0; i < count; ++i) any |= load(slots[i]);
        return any == 0;
    }

    Result<> grow(std::uint64_t last);
    Result<> map_table(Word* table, unsigned level, Mapping& at);
    Result<> put_leaves(Word* table, unsigned level, PageSize size, Mapping& at);
    Result<Word*> descend(Word& slot, unsigned level);
    std::uint64_t run_length(unsigned level, PageSize size, Mapping const& at) const;
    std::uint64_t vacant_run(Word* slots, std::uint64_t wanted, unsigned level);
    bool vacate(Word& slot, unsigned level);
    bool vacant(Word* table, unsigned level) const;
    void retire(Word* table, unsigned level);

    Go unmap_table(Word* table, unsigned level, Unmapping& at);
    Entry entry_to_take(Word& slot, unsigned level, Unmapping const& at);
    bool split(Word& slot, unsigned level);
    Go clear_leaves(Word* table, unsigned level, Unmapping& at);
    Go unmap_below(Word& slot, unsigned level, Unmapping& at);
    Word* own_table(Word word) const;

    std::shared_ptr<TableMemory> memory_;
    std::atomic<std::uint64_t> top_{0};
    std::uint64_t last_;
    std::uint64_t last_paddr_;
    Partial partial_;
    std::array<PageSizes, F::kMaxLevels> leaf_sizes_;
    TableList live_;
    TableList retired_;
    LeafCounts leaves_{};
};

template <PageTableFormat F>
RadixTable<F>::RadixTable(std::shared_ptr<TableMemory> memory, Shape<F> const& shape)
    : memory_{std::move(memory)},
      last_{last_of(shape.width)},
      last_paddr_{last_of(shape.paddr_bits)},
      partial_{shape.partial}
{
    for (unsigned level = 0; level < F::kMaxLevels; ++level)
        leaf_sizes_[level] = F::leaf_sizes(level) & shape.page_sizes;
}

template <PageTableFormat F>
auto RadixTable<F>::create(std::shared_ptr<TableMemory> memory, Shape<F> const& shape)
    -> Result<std::unique_ptr<RadixTable>>
{
    assert(shape.levels >= 1 && shape.levels <= F::kMaxLevels);
    assert(shape.width <= slot_lg2(F::kMaxLevels) && shape.paddr_bits <= F::kPaddrBits);
    assert(memory->page_size().bytes() >= kSlots * sizeof(Word));
    std::unique_ptr<RadixTable> table{new RadixTable{std::move(memory), shape}};
    table->set_top({TRY(table->memory_->allocate(table->live_)), shape.levels - 1});
    return table;
}

template <PageTableFormat F>
RadixTable<F>::~RadixTable()
{
    memory_->release(live_);
    memory_->release(retired_);
}

template <PageTableFormat F>
auto RadixTable<F>::walk(Iova iova) const -> std::optional<Leaf>
{
    Top const top = this->top();
    if (iova.raw() > std::min(last_, last_under(top))) return std::nullopt;
    Prot prot = Prot::read_write;
    Word* table = TableMemory::words(top.root);
    for (unsigned level = top.level;; --level) {
        Word const word =
            std::atomic_ref{table[index(iova.raw(), level)]}.load(std::memory_order_acquire);
        Entry const entry = F::entry(word, level);
        if (entry != Entry::leaf && entry != Entry::table) return std::nullopt;

        prot = prot & F::prot(word, level);
        if (entry == Entry::leaf) {
            PageSize const size = F::leaf_size(word, level);
            std::uint64_t const start = size.align_down(iova.raw());
            return Leaf{{Iova{start}, Iova{start + size.mask()}}, F::leaf_paddr(word, level), prot};
        }
        Paddr const below = F::table_paddr(word);
        if (level == 0 || !memory_->contains(below)) return std::nullopt;
        table = TableMemory::words(below);
    }
}

// A table's words, if it is ours and below the root; nullptr for whatever else a raw word may say.
template <PageTableFormat F>
Word* RadixTable<F>::own_table(Word word) const
{
    Paddr const table = F::table_paddr(word);
    if (table == root() || !memory_->owns(live_, table)) return nullptr;
    return TableMemory::words(table);
}

}  // namespace pinfold::pagetable

#include "pagetable/radix_map.hpp"    // IWYU pragma: export
#include "pagetable/radix_unmap.hpp"  // IWYU pragma: export
