// What a page-table format is to the engine (radix.hpp): a struct of constants and pure functions
// over 64-bit table words. Levels count upwards: level 0 holds leaves only. Every function is
// constexpr, so each format proves itself by static_asserts at the foot of its file.
#pragma once

#include <concepts>
#include <cstdint>

#include "base/address.hpp"
#include "base/page_size.hpp"
#include "base/prot.hpp"

namespace pinfold::pagetable {

using Word = std::uint64_t;

// What a word says. `reserved` is neither empty nor usable: a walk through it faults, nothing is
// mapped over it, an unmap stops there.
enum class Entry : std::uint8_t { empty, table, leaf, reserved };

// Whether a leaf makes the device's accesses snoop the caches whatever the device asks.
enum class Snoop : bool { as_asked, always };

// A leaf larger than its slot (a contiguous run) takes 2^n slots, each written with make_leaf() of
// the address that this slot stands for.
template <class F>
concept PageTableFormat =
    requires(Word word, unsigned level, Paddr paddr, PageSize size, Prot prot, Snoop snoop) {
        { F::kGranuleLg2 } -> std::convertible_to<unsigned>;  // bytes behind a slot of level 0
        { F::kSlotsLg2 } -> std::convertible_to<unsigned>;    // slots of a table
        { F::kMaxLevels } -> std::convertible_to<unsigned>;
        { F::kPaddrBits } -> std::convertible_to<unsigned>;

        { F::leaf_sizes(level) } -> std::same_as<PageSizes>;  // that a level may hold
        { F::entry(word, level) } -> std::same_as<Entry>;
        // The part of a leaf that does not depend on its address, made once for each map call.
        { F::attributes(prot, snoop) } -> std::same_as<Word>;
        { F::make_leaf(paddr, level, size, word) } -> std::same_as<Word>;
        { F::leaf_size(word, level) } -> std::same_as<PageSize>;
        { F::leaf_paddr(word, level) } -> std::same_as<Paddr>;  // where the whole leaf starts
        // What attributes() gave when the leaf was made.
        { F::leaf_attributes(word) } -> std::same_as<Word>;
        // For a slot of `level`: the table is one of the level below.
        { F::make_table(paddr, level) } -> std::same_as<Word>;
        { F::table_paddr(word) } -> std::same_as<Paddr>;
        { F::prot(word, level) } -> std::same_as<Prot>;  // of a leaf or a table
    };

}  // namespace pinfold::pagetable
