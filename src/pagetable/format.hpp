// What a page-table format is to the engine (radix_core.hpp): a struct of constants and pure
// functions over table words. Levels count upwards: level 0 holds leaves only. Every function is
// constexpr, so each format proves itself by static_asserts at the foot of its file.
#pragma once

#include <concepts>
#include <cstdint>

#include "base/address.hpp"
#include "base/errno.hpp"
#include "base/page_size.hpp"
#include "base/prot.hpp"

namespace pinfold::pagetable {

// Of the formats whose descriptors have 64 bits, which are all but Arm v7s.
using Word = std::uint64_t;

// What a word says. `reserved` is neither empty nor usable: a walk through it faults, nothing is
// mapped over it, an unmap stops there.
enum class Entry : std::uint8_t { empty, table, leaf, reserved };

// Whether a leaf makes the device's accesses snoop the caches whatever the device asks.
enum class Snoop : bool { as_asked, always };

// What a mapping asks of its leaves. A format writes what it can say of it and leaves the rest.
// The defaults are Type1's: cached memory (rule M-10), unprivileged accesses, execution as it
// comes.
struct Asked {
    Prot prot = Prot::none;
    Snoop snoop = Snoop::as_asked;
    bool cached = true;
    bool device = false;  // memory-mapped registers, a doorbell
    bool no_execute = false;
    bool privileged = false;
    bool tracked = false;  // a device's first write is to be seen: see TracksDirty
};

// A leaf larger than its slot (a contiguous run) takes 2^n slots, each written with make_leaf() of
// the address that this slot stands for.
template <class F>
concept PageTableFormat =
    std::unsigned_integral<typename F::Word> &&
    requires(typename F::Word word, unsigned level, Paddr paddr, PageSize size, Asked asked) {
        { F::kGranuleLg2 } -> std::convertible_to<unsigned>;  // bytes behind a slot of level 0
        { F::kMaxLevels } -> std::convertible_to<unsigned>;
        { F::kPaddrBits } -> std::convertible_to<unsigned>;

        { F::slots_lg2(level) } -> std::same_as<unsigned>;    // slots of a table
        { F::leaf_sizes(level) } -> std::same_as<PageSizes>;  // that a level may hold
        { F::entry(word, level) } -> std::same_as<Entry>;
        // The part of a leaf that does not depend on its address, made once for each map call.
        { F::attributes(asked) } -> std::same_as<typename F::Word>;
        { F::make_leaf(paddr, level, size, word) } -> std::same_as<typename F::Word>;
        { F::leaf_size(word, level) } -> std::same_as<PageSize>;
        { F::leaf_paddr(word, level) } -> std::same_as<Paddr>;  // where the whole leaf starts
        // What attributes() gave when the leaf was made, and what hardware has set since:
        // make_leaf() of it gives the same word.
        { F::leaf_attributes(word, level) } -> std::same_as<typename F::Word>;
        // For a slot of `level`: the table is one of the level below.
        { F::make_table(paddr, level) } -> std::same_as<typename F::Word>;
        { F::table_paddr(word) } -> std::same_as<Paddr>;
        { F::prot(word, level) } -> std::same_as<Prot>;  // of a leaf or a table
    };

// A format whose leaves say whether a device has written through them. Leaves that track nothing
// (Asked::tracked where a format needs it) stay as they are and are never dirty. In a leaf of
// several slots each word has a bit of its own: one that is set makes the leaf dirty.
template <class F>
concept TracksDirty = PageTableFormat<F> && requires(typename F::Word leaf) {
    { F::dirty(leaf) } -> std::same_as<bool>;
    { F::make_clean(leaf) } -> std::same_as<typename F::Word>;
    // What hardware makes of a leaf when it lets a read or a write through.
    { F::make_accessed(leaf) } -> std::same_as<typename F::Word>;
    { F::make_dirty(leaf) } -> std::same_as<typename F::Word>;
};

// log2 of the bytes behind a slot of a table of `level`.
template <PageTableFormat F>
constexpr unsigned slot_lg2(unsigned level)
{
    unsigned lg2 = F::kGranuleLg2;
    for (unsigned below = 0; below < level; ++below) lg2 += F::slots_lg2(below);
    return lg2;
}

// The error of a mapping that asks for no rights.
template <PageTableFormat F>
constexpr Errno no_rights()
{
    if constexpr (requires { F::kNoRights; }) return F::kNoRights;
    return Errno::inval;
}

}  // namespace pinfold::pagetable
