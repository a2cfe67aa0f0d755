// Where an IOVA's slots are: the arithmetic of a format's levels, all of it at compile time.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <utility>

#include "base/range.hpp"
#include "pagetable/format.hpp"

namespace pinfold::pagetable {

// Of a table of level L: its slots, and what is behind one of them.
template <class F, unsigned L>
inline constexpr std::uint64_t kSlots = std::uint64_t{1} << F::slots_lg2(L);
template <class F, unsigned L>
inline constexpr unsigned kSlotLg2 = slot_lg2<F>(L);
template <class F, unsigned L>
inline constexpr std::uint64_t kSlotMask = (std::uint64_t{1} << kSlotLg2<F, L>)-1;

// log2 of the bytes that a table covers, by its level.
template <class F>
inline constexpr auto kReachLg2 = [] {
    std::array<unsigned, F::kMaxLevels> reach{};
    for (unsigned level = 0; level < F::kMaxLevels; ++level) reach[level] = slot_lg2<F>(level + 1);
    return reach;
}();

// log2 of the bytes of a table.
template <class F>
constexpr unsigned table_lg2(unsigned level)
{
    return F::slots_lg2(level) + static_cast<unsigned>(std::countr_zero(sizeof(typename F::Word)));
}

// Of a leaf of 2^lg2 bytes.
template <class F>
constexpr unsigned level_of(unsigned lg2)
{
    unsigned level = 0;
    while (level + 1 < F::kMaxLevels && slot_lg2<F>(level + 1) <= lg2) ++level;
    return level;
}

// The last address of `bits` bits.
constexpr std::uint64_t last_of(unsigned bits)
{
    return bits >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bits) - 1;
}

template <class F, unsigned L>
constexpr std::uint64_t index(std::uint64_t iova)
{
    return (iova >> kSlotLg2<F, L>)&(kSlots<F, L> - 1);
}

// What a slot of level L around `iova` covers.
template <class F, unsigned L>
constexpr IovaRange slot_range(std::uint64_t iova)
{
    return {Iova{iova & ~kSlotMask<F, L>}, Iova{iova | kSlotMask<F, L>}};
}

// body(slot, part) for each slot of a table of level L that the range, which lies in it, meets.
template <class F, unsigned L, class Word, class Body>
void for_each_slot(Word* table, IovaRange range, Body&& body)
{
    for (std::uint64_t iova = range.start.raw();;) {
        std::uint64_t const last = std::min(iova | kSlotMask<F, L>, range.last.raw());
        body(table[index<F, L>(iova)], IovaRange{Iova{iova}, Iova{last}});
        if (last == range.last.raw()) return;
        iova = last + 1;
    }
}

// Calls body.operator()<level>().
template <class F, unsigned L = F::kMaxLevels - 1, class Body>
decltype(auto) at_level(unsigned level, Body&& body)
{
    if constexpr (L > 0)
        if (level != L) return at_level<F, L - 1>(level, std::forward<Body>(body));
    return body.template operator()<L>();
}

}  // namespace pinfold::pagetable
