// The nodes of the index. Readers meet them at any moment, so a node that is linked changes by
// single stores only: a slot of a table, or the end of a lane. All else is a new node in its place.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "native/arena.hpp"
#include "native/entry.hpp"

namespace pinfold::native {

// A table: entries where a walk needs them, the mappings' ids beside. All zero when it is new.
template <unsigned kLg2>
struct alignas(64) Table {
    static constexpr auto kKind = Entry::kTable;
    static constexpr std::size_t kSlots = std::size_t{1} << kLg2;
    static constexpr std::size_t kGroup = std::min<std::size_t>(kSlots, 512);
    static constexpr bool kOneGroup = kSlots == kGroup;

    std::array<std::atomic<std::uint64_t>, kSlots> slots;
    std::array<std::atomic<Id>, kSlots> ids;
    // The writer's own: slots that are not empty, of each group and, of several groups, of all.
    // Groups without any need not be looked through.
    std::array<std::uint16_t, kSlots / kGroup> used;
    std::uint32_t all_used;
    Table* next;  // of those that wait for readers to leave, and of those in reserve

    Entry at(std::size_t slot) const { return Entry{slots[slot].load(std::memory_order_acquire)}; }
    Id id(std::size_t slot) const { return ids[slot].load(std::memory_order_acquire); }
    std::uint32_t total() const { return kOneGroup ? used[0] : all_used; }
    void add_used(std::size_t group, std::uint32_t change)
    {
        used[group] = static_cast<std::uint16_t>(used[group] + change);
        if constexpr (!kOneGroup) all_used += change;
    }
};

// What is mapped in the block of one slot when it is little: up to kLanes pieces in one cache line.
// One piece of a 2 MiB block needs none (Entry::part_of()).
template <class Page, unsigned kLanes>
struct alignas(64) Segments {
    static constexpr auto kKind = Entry::kSegments;
    static constexpr Page kFree = std::numeric_limits<Page>::max();

    // In pages from the block's start, both inclusive. A lane is taken away by its `first`.
    std::array<std::atomic<Page>, kLanes> first;
    std::array<std::atomic<Page>, kLanes> last;
    std::array<std::atomic<std::uint64_t>, kLanes> entries;
    std::array<std::atomic<Id>, kLanes> ids;
};

// Of a 2 MiB block, and of a GiB.
using Narrow = Segments<std::uint16_t, 4>;
using Wide = Segments<std::uint32_t, 3>;
static_assert(sizeof(Narrow) == 64 && sizeof(Wide) == 64);

// One mapping. Readers look at the first three, and may still be in the line's last life: all of it
// is atomic.
struct alignas(64) Record {
    std::atomic<std::uint64_t> start;
    std::atomic<std::uint64_t> last;
    std::atomic<std::uint64_t> entry;
    std::array<std::atomic<std::uint64_t>, 2> tag;  // the caller's, who alone writes
};
static_assert(sizeof(Record) == 64);

}  // namespace pinfold::native
