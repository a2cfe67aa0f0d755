// Our own translation index, for hosts that have no IOMMU hardware to please. The radix is the
// index of mappings too: there is no ordered tree beside it, and map, unmap and look-up cost the
// same among one mapping and a million. A mapping of any size is one entry per slot that it fills,
// and one at each end that fills none, or a line where it is not alone there (entry.hpp, nodes.hpp,
// shape.hpp). Beside that it has a record, unless it is a page among others.
//
// A mapping goes as a whole, unless it is cut first.
//
// Thread safety: look-ups from any thread, without a lock and without waiting, as long as what they
// saw cannot be released under them: inside a section that ends before release() is called. All
// else by one thread at a time. Nothing here waits for readers; the caller does, between what takes
// away and release().
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>

#include "base/address.hpp"
#include "base/function_ref.hpp"
#include "base/prot.hpp"
#include "base/range.hpp"
#include "base/result.hpp"
#include "native/arena.hpp"
#include "native/entry.hpp"
#include "native/memory.hpp"
#include "native/nodes.hpp"
#include "native/shape.hpp"

namespace pinfold::native {

struct Mapping {
    IovaRange iova;
    Entry entry;

    Prot prot() const { return entry.prot(); }
    Paddr paddr() const { return entry.paddr(iova.start); }  // where iova.start leads
};

template <class S>
class BasicIndex {
public:
    // For IOVAs of up to `width` bits. ENOMEM.
    static Result<std::unique_ptr<BasicIndex>> create(unsigned width = pinfold::native::width<S>(),
                                                      Memory& memory = Memory::system());
    ~BasicIndex();
    BasicIndex(BasicIndex const&) = delete;
    BasicIndex& operator=(BasicIndex const&) = delete;

    // What translates `iova`: a leaf, or the empty entry.
    Entry entry(Iova iova) const { return look<false>(iova, AsPlace{}).entry; }
    // The same, and the last address up to which it certainly holds: that of a slot or a segment.
    struct Span {
        Entry entry;
        Iova last;
    };
    Span span(Iova iova) const
    {
        return span(iova, [](Entry entry, std::uint64_t last) { return Span{entry, Iova{last}}; });
    }
    // The same, handed to found(entry, last), which is inlined at each end of the walk; returns
    // what it does.
    template <class Found>
    auto span(Iova iova, Found const& found) const;
    // Shows what translates `range`, span by span, in ascending order, until `visit` says false:
    // visit(entry, first, last). The first hole is shown too, as the empty entry from where it
    // begins to anywhere inside it, and ends the visit.
    template <class Visit>
    void visit(IovaRange range, Visit visit) const;
    // The whole mapping that `iova` belongs to.
    std::optional<Mapping> find(Iova iova) const;
    // For the writer: a mapping, and what the index knows it by until it goes or is cut.
    struct Held {
        Mapping mapping;
        Id id;  // of its record; of a page of its own the tag's second word
        bool own;
    };
    // The first mapping that touches `range`, and the one at `iova`. nullopt: none. REQUIRES:
    // within the width.
    std::optional<Held> first_in(IovaRange range) const;
    std::optional<Held> held_at(Iova iova) const;
    // Two words of the caller's for each mapping. A single page among others takes no memory for
    // them where the first is 0 and the second has 32 bits.
    using Tag = std::array<std::uint64_t, 2>;
    Tag tag(Held const& held) const;

    // A new mapping, all or nothing. EADDRINUSE: something is mapped in `iova`. ENOMEM. REQUIRES:
    // whole pages of 4 KiB, within the width; `leaf` is one.
    Result<> map(IovaRange iova, Entry leaf);
    // Its two steps. The second fails with ENOMEM only. REQUIRES: the first said yes.
    bool vacant(IovaRange iova) const;
    Result<> insert(IovaRange iova, Entry leaf, Tag tag = {});

    // map() and remove() of a mapping of few pages among others, as nearly all are, by its tag and
    // exact bounds. False and nullopt: not this way, and nothing has changed. REQUIRES: within the
    // width.
    bool map_pages(IovaRange iova, Entry leaf, Tag tag);
    struct Removed {
        Entry entry;
        Tag tag;
    };
    std::optional<Removed> remove_pages(IovaRange iova);

    // Takes a mapping away. It is the reader's until release().
    void remove(Held const& held);
    // Takes mappings away from range.start on, up to the range's end or the first hole, and shows
    // each; returns their bytes: more than the range has if the last one reaches beyond (0 stands
    // for 2^64). 0 also if a mapping has range.start inside it. Cannot fail.
    std::uint64_t unmap(IovaRange range, FunctionRef<void(Mapping const&)> removed);
    // Makes two mappings of the one that holds both `at` and the byte before; nothing if there is
    // none. ENOMEM: nothing has changed. REQUIRES: a multiple of 4 KiB.
    Result<> cut(Iova at);
    // A moment in the life of the index: all that was taken away or replaced until then.
    struct Mark {
        std::uint32_t records = 0;
        std::uint32_t segments = 0;
        std::uint32_t tables = 0;
        std::uint32_t roots = 0;
    };
    Mark mark() const
    {
        return {records_.retired_ever(), segments_.retired_ever(), tables_.retired_ever(),
                roots_retired_ever_};
    }
    // What was taken away or replaced until `upto` may be used anew; no matter if it was released
    // before. REQUIRES: no reader is left that looked before that moment.
    void release(Mark upto);
    void release();

    std::uint64_t mappings() const { return mappings_; }
    // Mappings by log2 of their size, rounded down.
    std::array<std::uint64_t, 64> const& sizes() const { return sizes_; }
    // Of nodes and records that are in use, and of memory that is kept for more.
    std::uint64_t bytes_in_use() const;
    std::uint64_t bytes_held() const;

private:
    template <unsigned kLevel>
    using TableAt = Table<S::kTableLg2[kLevel]>;
    using Root = TableAt<2>;
    using Top = TableAt<3>;
    template <unsigned kLevel>
    using SegmentsAt = std::conditional_t<kLevel == 1, Narrow, Wide>;
    template <unsigned kLevel>
    static constexpr unsigned kSlotLg2 = slot_lg2<S, kLevel>();
    // The bits of an address below a slot's block; those of all the index's bits for kLevels.
    template <unsigned kLevel>
    static constexpr std::uint64_t low_mask()
    {
        return kSlotLg2<kLevel> == 64 ? ~std::uint64_t{0}
                                      : (std::uint64_t{1} << (kSlotLg2<kLevel> % 64)) - 1;
    }

    static constexpr std::uint64_t kPage = std::uint64_t{1} << kPageLg2;

    // Whether a slot may hold a part: its pages fit the entry's bits.
    template <unsigned kLevel>
    static constexpr bool kHasParts = kLevel == 1 && S::kTableLg2[0] <= 9 && S::kLanes[1] != 0;

    struct Place {
        Entry entry;
        Id id = 0;
        std::uint64_t last = 0;
    };
    // A piece of a mapping, in bytes, both ends inclusive.
    struct Piece {
        std::uint64_t first;
        std::uint64_t last;
        Entry entry;
        Id id = 0;
    };
    // What one slot holds while it is rebuilt: a full node's lanes, one of them cut, and a new one.
    struct Pieces {
        std::array<Piece, 6> list;
        unsigned count = 0;

        void add(Piece piece) { list[count++] = piece; }
        Piece const* begin() const { return list.data(); }
        Piece const* end() const { return list.data() + count; }
    };

    explicit BasicIndex(Memory& memory)
        : memory_{memory}, records_{memory}, segments_{memory}, tables_{memory}
    {
    }

    static Mapping mapping_of(Record const& record);
    Held held_of(Entry entry, Id id, std::uint64_t raw) const;
    Record& record(Id id) const { return *reinterpret_cast<Record*>(records_.at(id)); }

    // What a walk ends with is handed to found(entry, id, last).
    struct AsPlace {
        Place operator()(Entry entry, Id id, std::uint64_t last) const { return {entry, id, last}; }
    };
    template <bool kWithId, class Found>
    auto look(Iova iova, Found const& found) const;
    template <bool kWithId>
    Place look_high(std::uint64_t raw) const;
    template <bool kWithId, unsigned kLevel, class Found>
    auto look_in(TableAt<kLevel> const& table, std::uint64_t raw, Found const& found) const;
    template <unsigned kLevel, class Found>
    auto look_in_part(Entry part, std::uint64_t raw, Id id, Found const& found) const;
    template <bool kWithId, unsigned kLevel, class Found>
    auto look_in_segments(SegmentsAt<kLevel> const& node, std::uint64_t raw,
                          Found const& found) const;

    template <unsigned kLevel>
    Place look_in_lanes(Entry entry, std::uint64_t raw) const;

    std::uint64_t root_bytes() const;
    bool reserve(IovaRange range);
    bool reserve_roots(unsigned count);
    Root* take_root();
    void give_back(Root* root);
    Id take_record(IovaRange iova, Entry entry, Tag tag);
    void put(Piece const& piece);
    void take_out(Piece const& piece);
    void count(IovaRange range, int change);

    template <unsigned kLevel, class Visit>
    bool visit_in(TableAt<kLevel> const& table, std::uint64_t first, std::uint64_t last,
                  Visit& visit) const;

    TableAt<0>* leaf_table(std::uint64_t first, std::uint64_t last) const;
    static std::size_t leaf_slot(std::uint64_t raw)
    {
        return (raw >> kPageLg2) & (TableAt<0>::kSlots - 1);
    }

    // index_pages.hpp
    static bool one_page(IovaRange iova) { return iova.last.raw() - iova.start.raw() == kPage - 1; }
    void count_page(std::uint64_t change);
    bool map_several(TableAt<0>& table, IovaRange iova, Entry leaf, Tag tag);
    std::optional<Removed> remove_several(TableAt<0>& table, IovaRange iova);

    // index_write.hpp
    template <unsigned kLevel>
    bool empty_in(TableAt<kLevel> const& table, std::uint64_t first, std::uint64_t last) const;
    template <unsigned kLevel>
    bool part_empty(TableAt<kLevel> const& table, std::size_t slot, std::uint64_t first,
                    std::uint64_t last) const;
    template <unsigned kLevel>
    bool slots_empty(TableAt<kLevel> const& table, std::size_t slot, std::size_t end) const;
    template <unsigned kLevel>
    void put_in(TableAt<kLevel>& table, Piece const& piece);
    template <unsigned kLevel>
    void put_part(TableAt<kLevel>& table, std::size_t slot, Piece const& piece);
    template <unsigned kLevel>
    void fill(TableAt<kLevel>& table, std::size_t slot, std::size_t end, Piece const& piece);
    template <unsigned kLevel>
    void clear(TableAt<kLevel>& table, std::size_t slot, std::size_t end, Piece const& piece);
    template <unsigned kLevel>
    void set(TableAt<kLevel>& table, std::size_t slot, Entry entry);
    template <unsigned kLevel>
    Entry build(Pieces const& pieces);
    template <unsigned kLevel>
    Pieces pieces_at(TableAt<kLevel> const& table, std::size_t slot, std::uint64_t block) const;
    template <unsigned kLevel>
    void replace(TableAt<kLevel>& table, std::size_t slot, Pieces const& pieces);
    template <unsigned kLevel>
    Pieces pieces_of(SegmentsAt<kLevel> const& node, std::uint64_t block) const;
    template <unsigned kLevel>
    void remove_in(TableAt<kLevel>& table, Piece const& piece);
    template <unsigned kLevel>
    void remove_part(TableAt<kLevel>& table, std::size_t slot, Piece const& piece);
    template <class Node>
    static bool remove_lanes(Node& node, Id id);
    template <unsigned kLevel>
    void retire_node(Entry node);
    template <unsigned kLevel>
    void break_at(TableAt<kLevel>& table, std::uint64_t at);
    template <unsigned kLevel>
    void relabel_in(TableAt<kLevel>& table, Piece const& piece, Id id);
    template <unsigned kLevel>
    void relabel_part(TableAt<kLevel>& table, std::size_t slot, Piece const& piece, Id id);
    template <unsigned kLevel>
    std::optional<Held> first_in(TableAt<kLevel> const& table, std::uint64_t first,
                                 std::uint64_t last) const;
    template <unsigned kLevel>
    std::optional<Held> first_in_slot(TableAt<kLevel> const& table, std::size_t slot,
                                      std::uint64_t first, std::uint64_t last) const;
    template <unsigned kLevel>
    TableAt<kLevel>* take_table();

    Root* root_ = nullptr;  // of the lowest window: it is always there
    Top* top_ = nullptr;    // nullptr: there is but one window
    Memory& memory_;
    Arena<sizeof(Record)> records_;
    Arena<sizeof(Narrow)> segments_;  // of both kinds; apart, because look-ups need no records
    Arena<std::max(sizeof(TableAt<0>), sizeof(TableAt<1>))> tables_;
    Root* spare_roots_ = nullptr;
    Root* retired_roots_ = nullptr;  // in the order in which they went
    std::uint32_t retired_root_count_ = 0;
    std::uint32_t roots_retired_ever_ = 0;
    std::uint64_t root_groups_ = 0;  // of slots in roots and the top that are not all empty
    std::uint64_t mappings_ = 0;
    std::array<std::uint64_t, 64> sizes_{};
};

using Index = BasicIndex<FullShape>;

}  // namespace pinfold::native

#include "native/index_look.hpp"

namespace pinfold::native {

extern template class BasicIndex<FullShape>;

}  // namespace pinfold::native
