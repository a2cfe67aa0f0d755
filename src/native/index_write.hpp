// How BasicIndex is changed. Included where one is instantiated (index.cpp, and tests of small
// shapes); its users include index.hpp.
//
// Every change reserves what it can need at most, and cannot fail after that. A slot is changed by
// one store, when what it leads to is complete.
#pragma once

#include <bit>
#include <cassert>

#include "native/index.hpp"

namespace pinfold::native {

// Visits the slots of a table that [first, last] touches: part(slot, first, last) for one that is
// touched in part, whole(slot, end) for those between.
template <unsigned kSlotLg2, std::size_t kSlots, class Part, class Whole>
inline void by_slot(std::uint64_t first, std::uint64_t last, Part part, Whole whole)
{
    constexpr std::uint64_t kMask = (std::uint64_t{1} << kSlotLg2) - 1;
    std::size_t slot = (first >> kSlotLg2) & (kSlots - 1);
    std::size_t end = ((last >> kSlotLg2) & (kSlots - 1)) + 1;
    bool const head = (first & kMask) != 0;
    bool const tail = (~last & kMask) != 0;
    if (head && slot + 1 == end) return part(slot, first, last);
    if (head) part(slot++, first, first | kMask);
    if (tail) part(--end, last & ~kMask, last);
    if (slot < end) whole(slot, end);
}

// The lowest window's root is never let go and never becomes a leaf, so that readers can begin
// there.
template <unsigned kLevel>
constexpr bool is_lowest_window(std::size_t slot)
{
    return kLevel == 3 && slot == 0;
}

template <class S>
Result<std::unique_ptr<BasicIndex<S>>> BasicIndex<S>::create(unsigned width, Memory& memory)
{
    std::unique_ptr<BasicIndex> index{new BasicIndex{memory}};
    if (!index->reserve_roots(1)) return fail(Errno::nomem);
    index->root_ = index->take_root();
    if (width <= kSlotLg2<3>) return index;
    index->top_ = static_cast<Top*>(memory.take(sizeof(Top), alignof(Top)));
    if (index->top_ == nullptr) return fail(Errno::nomem);
    index->template set<3>(*index->top_, 0, Entry::of(index->root_));
    return index;
}

template <class S>
BasicIndex<S>::~BasicIndex()
{
    release();
    if (top_ != nullptr) {
        for (std::size_t slot = 1; slot < Top::kSlots; ++slot)
            if (top_->used[slot / Top::kGroup] != 0 && top_->at(slot).table())
                memory_.give_back(top_->at(slot).template node<Root>(), sizeof(Root));
        memory_.give_back(top_, sizeof(Top));
    }
    if (root_ != nullptr) memory_.give_back(root_, sizeof(Root));
    while (spare_roots_ != nullptr) memory_.give_back(take_root(), sizeof(Root));
}

template <class S>
Result<> BasicIndex<S>::map(IovaRange iova, Entry leaf)
{
    if (map_pages(iova, leaf, {})) [[likely]]
        return {};
    if (!vacant(iova)) return fail(Errno::addrinuse);
    return insert(iova, leaf);
}

template <class S>
Result<> BasicIndex<S>::insert(IovaRange iova, Entry leaf, Tag tag)
{
    if (!reserve(iova)) return fail(Errno::nomem);

    Id const id = take_record(iova, leaf, tag);
    put({iova.start.raw(), iova.last.raw(), leaf, id});
    count(iova, 1);
    return {};
}

template <class S>
inline Id BasicIndex<S>::take_record(IovaRange iova, Entry entry, Tag tag)
{
    Id const id = records_.take();
    Record& fresh = record(id);
    fresh.start.store(iova.start.raw(), std::memory_order_relaxed);
    fresh.last.store(iova.last.raw(), std::memory_order_relaxed);
    fresh.entry.store(entry.raw(), std::memory_order_relaxed);
    fresh.tag[0].store(tag[0], std::memory_order_relaxed);
    fresh.tag[1].store(tag[1], std::memory_order_relaxed);
    return id;
}

template <class S>
void BasicIndex<S>::remove(Held const& held)
{
    auto const& [iova, entry] = held.mapping;
    take_out({iova.start.raw(), iova.last.raw(), entry, held.id});
    if (!held.own) records_.retire(held.id);
    count(iova, -1);
}

template <class S>
std::uint64_t BasicIndex<S>::unmap(IovaRange range, FunctionRef<void(Mapping const&)> removed)
{
    if (auto const gone = remove_pages(range)) [[likely]] {
        removed({range, gone->entry});
        return range.size();
    }
    std::uint64_t bytes = 0;
    for (Iova at = range.start;;) {
        auto const held = held_at(at);
        if (!held || held->mapping.iova.start != at) return bytes;
        bytes += held->mapping.iova.size();
        remove(*held);
        removed(held->mapping);
        if (held->mapping.iova.last >= range.last) return bytes;
        at = held->mapping.iova.last + 1;
    }
}

template <class S>
Result<> BasicIndex<S>::cut(Iova at)
{
    auto const left = held_at(at);
    if (!left || left->mapping.iova.start == at) return {};
    Mapping const whole = left->mapping;
    if (!reserve({at - 1, at})) return fail(Errno::nomem);

    Id const right = take_record({at, whole.iova.last}, whole.entry, tag(*left));
    Piece const piece{at.raw(), whole.iova.last.raw(), whole.entry, left->id};
    if (piece.last >> kSlotLg2<3> == 0) {
        break_at<2>(*root_, at.raw());
        relabel_in<2>(*root_, piece, right);
    } else {
        break_at<3>(*top_, at.raw());
        relabel_in<3>(*top_, piece, right);
    }
    record(left->id).last.store(at.raw() - 1, std::memory_order_release);
    count(whole.iova, -1);
    count({whole.iova.start, at - 1}, 1);
    count({at, whole.iova.last}, 1);
    return {};
}

template <class S>
auto BasicIndex<S>::first_in(IovaRange range) const -> std::optional<Held>
{
    std::uint64_t const first = range.start.raw();
    std::uint64_t const last = range.last.raw();
    if (top_ == nullptr || last >> kSlotLg2<3> == 0) return first_in<2>(*root_, first, last);
    return first_in<3>(*top_, first, last);
}

template <class S>
void BasicIndex<S>::release(Mark upto)
{
    records_.release(upto.records);
    segments_.release(upto.segments);
    tables_.release(upto.tables);
    std::uint32_t const keep = roots_retired_ever_ - upto.roots;
    for (; retired_root_count_ > keep; --retired_root_count_) {
        Root* const root = retired_roots_;
        retired_roots_ = root->next;
        give_back(root);
    }
}

template <class S>
void BasicIndex<S>::release()
{
    records_.release();
    segments_.release();
    tables_.release();
    if (retired_root_count_ != 0) release(mark());
}

template <class S>
std::uint64_t BasicIndex<S>::bytes_in_use() const
{
    return records_.bytes_in_use() + segments_.bytes_in_use() + tables_.bytes_in_use() +
           root_bytes();
}

template <class S>
std::uint64_t BasicIndex<S>::bytes_held() const
{
    return records_.bytes_held() + segments_.bytes_held() + tables_.bytes_held() + root_bytes();
}

// Roots are touched where they are used.
template <class S>
std::uint64_t BasicIndex<S>::root_bytes() const
{
    return root_groups_ * Root::kGroup * (sizeof(std::uint64_t) + sizeof(Id));
}

template <class S>
bool BasicIndex<S>::vacant(IovaRange range) const
{
    std::uint64_t const first = range.start.raw();
    std::uint64_t const last = range.last.raw();
    if (auto const* const leaves = leaf_table(first, last)) [[likely]]
        return slots_empty<0>(*leaves, leaf_slot(first), leaf_slot(last) + 1);
    if (last >> kSlotLg2<3> == 0) return empty_in<2>(*root_, first, last);
    return empty_in<3>(*top_, first, last);
}

template <class S>
void BasicIndex<S>::put(Piece const& piece)
{
    if (auto* const leaves = leaf_table(piece.first, piece.last)) [[likely]]
        return fill<0>(*leaves, leaf_slot(piece.first), leaf_slot(piece.last) + 1, piece);
    if (piece.last >> kSlotLg2<3> == 0) return put_in<2>(*root_, piece);
    put_in<3>(*top_, piece);
}

// A table that goes empty has to be taken out of the one above.
template <class S>
void BasicIndex<S>::take_out(Piece const& piece)
{
    auto* const leaves = leaf_table(piece.first, piece.last);
    if (leaves != nullptr) [[likely]] {
        std::size_t const slot = leaf_slot(piece.first);
        std::size_t const end = leaf_slot(piece.last) + 1;
        if (leaves->total() > end - slot) return clear<0>(*leaves, slot, end, piece);
    }
    if (piece.last >> kSlotLg2<3> == 0) return remove_in<2>(*root_, piece);
    remove_in<3>(*top_, piece);
}

// A size of 0 is 2^64.
template <class S>
void BasicIndex<S>::count(IovaRange range, int change)
{
    std::uint64_t const size = range.size();
    unsigned const lg2 = size == 0 ? 63 : static_cast<unsigned>(std::bit_width(size)) - 1;
    sizes_[lg2] += static_cast<std::uint64_t>(change);
    mappings_ += static_cast<std::uint64_t>(change);
}

// Windows that `range` touches in part may need a root each: one at either end.
template <class S>
bool BasicIndex<S>::reserve(IovaRange range)
{
    if (!records_.ensure(1) || !segments_.ensure(S::kMostSegments) ||
        !tables_.ensure(S::kMostTables))
        return false;
    if (top_ == nullptr || range.last.raw() >> kSlotLg2<3> == 0) return true;
    return reserve_roots(2);
}

template <class S>
bool BasicIndex<S>::reserve_roots(unsigned count)
{
    for (Root* root = spare_roots_; root != nullptr && count != 0; root = root->next) --count;
    for (; count != 0; --count) {
        auto* const root = static_cast<Root*>(memory_.take(sizeof(Root), alignof(Root)));
        if (root == nullptr) return false;
        give_back(root);
    }
    return true;
}

template <class S>
auto BasicIndex<S>::take_root() -> Root*
{
    Root* const root = spare_roots_;
    assert(root != nullptr);
    spare_roots_ = root->next;
    return root;
}

// To the reserve, or to where it came from if that is well filled. All its slots are empty.
template <class S>
void BasicIndex<S>::give_back(Root* root)
{
    if (spare_roots_ != nullptr && spare_roots_->next != nullptr)
        return memory_.give_back(root, sizeof(Root));
    root->next = spare_roots_;
    spare_roots_ = root;
}

template <class S>
template <unsigned kLevel>
auto BasicIndex<S>::take_table() -> TableAt<kLevel>*
{
    if constexpr (kLevel == 2)
        return take_root();
    else
        return reinterpret_cast<TableAt<kLevel>*>(tables_.at(tables_.take()));
}

}  // namespace pinfold::native

#include "native/index_cut.hpp"
#include "native/index_pages.hpp"
#include "native/index_remove.hpp"
#include "native/index_search.hpp"
#include "native/index_slots.hpp"
