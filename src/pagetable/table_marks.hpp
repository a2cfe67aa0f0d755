// What an engine notes about its tables in their TableInfo: that they are its own and of which
// level, that they are full of leaves that can go at once, and where a table of level 0 belongs.
//
// TableInfo::tag is the owner (bits 63:16), the log2 of the leaves' size of a table that is uniform
// (15:8, else 0), whether it is out of the tree (3) and its level, counted from 1 (2:0). Uniform:
// all of it, and of the tables below, was mapped by one call to consecutive leaves of that size,
// and nothing of it was changed since, so that all can go at once.
//
// TableInfo::link of a uniform table is where its first leaf leads. Of one of level 0 that is not,
// it is its place from when it has come into the tree: iova >> ReachLg2 (63:19), the low bits of
// the owner (18:2) and 1. Of others it is 0 as long as they are in no list.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/address.hpp"
#include "pagetable/table_source.hpp"

namespace pinfold::pagetable {

// Of the tables of one engine, of which those of level 0 cover 2^ReachLg2 bytes each.
template <unsigned ReachLg2>
class TableMarks {
public:
    // Bits of a word that are left for the number of a table of level 0.
    static constexpr unsigned kNumberBits = 64 - 19;

    explicit TableMarks(std::uint64_t owner) : owner_{owner << kOwnerShift} {}

    // A new table's, before anything leads to it.
    void mark(TableInfo& info, unsigned level) const
    {
        info.link.store(0, std::memory_order_relaxed);
        info.tag.store(tag(level), std::memory_order_relaxed);
    }
    // A table of level 0, not uniform, has come into the tree, and covers `iova`. Not before: who
    // knows it from an earlier life would take it for a table where pages can go.
    void settle(TableInfo& info, std::uint64_t iova) const
    {
        info.link.store(place(iova), std::memory_order_release);
    }
    static void unmark(TableInfo& info) { info.tag.store(0, std::memory_order_relaxed); }

    // Whether it is ours, in the tree and of this level.
    bool owns(TableInfo const& info, unsigned level) const
    {
        return (info.tag.load(std::memory_order_relaxed) & ~kUniform) == tag(level);
    }
    // The same, and not uniform.
    bool owns_mixed(TableInfo const& info, unsigned level) const
    {
        return info.tag.load(std::memory_order_relaxed) == tag(level);
    }
    // Whether it is ours, of level 0, not uniform, and has come into the tree where `iova` belongs.
    bool is_at(TableInfo const& info, std::uint64_t iova) const
    {
        return info.link.load(std::memory_order_acquire) == place(iova) && owns_mixed(info, 0);
    }
    bool ever_owned(TableInfo const& info) const
    {
        return (info.tag.load(std::memory_order_relaxed) ^ owner_) >> kOwnerShift == 0;
    }

    // log2 of the leaves' size if all can go at once, else 0.
    static unsigned uniform(TableInfo const& info)
    {
        return static_cast<unsigned>((info.tag.load(std::memory_order_relaxed) & kUniform) >>
                                     kUniformShift);
    }
    // Where the first leaf of a uniform table leads.
    static Paddr first_paddr(TableInfo const& info)
    {
        return Paddr{info.link.load(std::memory_order_relaxed)};
    }
    static void set_uniform(TableInfo& info, unsigned lg2, Paddr first)
    {
        std::uint64_t const tag_now = info.tag.load(std::memory_order_relaxed);
        info.link.store(first.raw(), std::memory_order_relaxed);
        info.tag.store((tag_now & ~kUniform) | std::uint64_t{lg2} << kUniformShift,
                       std::memory_order_relaxed);
    }
    // To be said before words of a table around `iova` are changed.
    void changes(TableInfo& info, std::uint64_t iova) const
    {
        std::uint64_t const tag_now = info.tag.load(std::memory_order_relaxed);
        if ((tag_now & kUniform) == 0) return;
        info.link.store((tag_now & kLevel) == 1 ? place(iova) : 0, std::memory_order_release);
        info.tag.store(tag_now & ~kUniform, std::memory_order_relaxed);
    }

    // A table that has left the tree, of which level() and uniform() still tell.
    static void retire(TableInfo& info)
    {
        info.tag.store(info.tag.load(std::memory_order_relaxed) | kRetired,
                       std::memory_order_relaxed);
    }
    static unsigned level(TableInfo const& info)
    {
        return static_cast<unsigned>(info.tag.load(std::memory_order_relaxed) & kLevel) - 1;
    }

private:
    static constexpr unsigned kOwnerShift = 16;
    static constexpr unsigned kUniformShift = 8;
    static constexpr std::uint64_t kUniform = std::uint64_t{0xff} << kUniformShift;
    static constexpr std::uint64_t kRetired = 8;
    static constexpr std::uint64_t kLevel = 7;
    // Of a place. No paddr of a table or a leaf ends so.
    static constexpr std::uint64_t kPlace = 1;
    static constexpr unsigned kPlaceShift = 64 - kNumberBits;
    static constexpr unsigned kPlaceOwnerBits = kPlaceShift - 2;

    std::uint64_t tag(unsigned level) const { return owner_ | (level + 1); }
    // One word, so that it is read at one instant; the tag, read after it, has the whole owner.
    std::uint64_t place(std::uint64_t iova) const
    {
        std::uint64_t const owner =
            (owner_ >> kOwnerShift) & ((std::uint64_t{1} << kPlaceOwnerBits) - 1);
        return (iova >> ReachLg2) << kPlaceShift | owner << 2 | kPlace;
    }

    std::uint64_t owner_;
};

}  // namespace pinfold::pagetable
