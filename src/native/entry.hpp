// What a slot of the index holds, in one word: nothing, a translation, or a node that knows more.
//
// A translation is kept as the distance from the iova to the paddr, which is the same all over a
// mapping: a fill writes one value, and what is contiguous is what is equal.
#pragma once

#include <cstdint>

#include "base/address.hpp"
#include "base/prot.hpp"

namespace pinfold::native {

class Entry {
public:
    // The low bits, which page-aligned distances and line-aligned nodes leave free. The first two
    // are those of Prot and of Access.
    enum Bits : std::uint64_t {
        kRights = 3,
        kLeaf = 4,
        kTable = 8,
        kSegments = 16,
        kNoMemory = 32,  // of a leaf: the mapping has no memory here, so it leads nowhere
        kOwn = 128,      // of a page's leaf: the page is a mapping of its own, without a record
    };
    static constexpr std::uint64_t kBits = 0xfff;

    constexpr Entry() = default;
    constexpr explicit Entry(std::uint64_t raw) : raw_{raw} {}

    static constexpr Entry leaf(Iova iova, Paddr paddr, Prot prot)
    {
        return Entry{(paddr.raw() - iova.raw()) | static_cast<std::uint64_t>(prot) | kLeaf};
    }
    static constexpr Entry without_memory(Prot prot)
    {
        return Entry{static_cast<std::uint64_t>(prot) | kLeaf | kNoMemory};
    }
    template <class Node>
    static Entry of(Node const* node)
    {
        return Entry{reinterpret_cast<std::uintptr_t>(node) | Node::kKind};
    }

    constexpr std::uint64_t raw() const { return raw_; }
    constexpr bool empty() const { return raw_ == 0; }
    constexpr bool leaf() const { return (raw_ & kLeaf) != 0; }
    constexpr bool own() const { return (raw_ & kOwn) != 0; }
    constexpr bool table() const { return (raw_ & kTable) != 0; }
    constexpr bool segments() const { return (raw_ & kPart) == kSegments; }
    // A leaf of some pages of the slot.
    constexpr bool part() const { return (raw_ & kPart) == kPart; }
    // A translation of the whole slot or nothing: the walk is over.
    constexpr bool final() const { return (raw_ & (kTable | kSegments)) == 0; }
    constexpr bool has_node() const { return table() || segments(); }
    // REQUIRES: it is a node, of the kind of Node. A difference is part of the next load's address.
    template <class Node>
    Node* node() const
    {
        return reinterpret_cast<Node*>(raw_ - Node::kKind);
    }

    // Pages [first, first + more] of a slot that has up to 512, in one word, where the distance
    // is less than 2^48: of user memory and the lowest window's IOVAs it is. 0: it is not.
    constexpr Entry part_of(std::uint64_t first, std::uint64_t more) const
    {
        auto const distance = static_cast<std::int64_t>(raw_ & ~kBits);
        if (distance >> 48 != 0 && distance >> 48 != -1) return {};
        std::uint64_t const no_memory = (raw_ & kNoMemory) / kNoMemory * kPartNoMemory;
        return Entry{static_cast<std::uint64_t>(distance >> kPageLg2) << kDistanceAt |
                     more << kMoreAt | first << kFirstAt | no_memory | (raw_ & kRights) | kPart};
    }
    // REQUIRES: part().
    constexpr std::uint64_t part_first() const { return (raw_ >> kFirstAt) % 512; }
    constexpr std::uint64_t part_more() const { return (raw_ >> kMoreAt) % 512; }
    constexpr Entry part_leaf() const
    {
        auto const distance = static_cast<std::int64_t>(raw_) >> kDistanceAt;
        std::uint64_t const no_memory = (raw_ & kPartNoMemory) / kPartNoMemory * kNoMemory;
        return Entry{static_cast<std::uint64_t>(distance) << kPageLg2 | no_memory |
                     (raw_ & kRights) | kLeaf};
    }

    constexpr Entry as_own() const { return Entry{raw_ | kOwn}; }
    constexpr Entry not_own() const { return Entry{raw_ & ~std::uint64_t{kOwn}}; }

    constexpr Prot prot() const { return static_cast<Prot>(raw_ & kRights); }
    constexpr bool has_memory() const { return (raw_ & (kLeaf | kNoMemory)) == kLeaf; }
    // One comparison: it is a leaf, has memory and grants `access`.
    constexpr bool allows(Access access) const
    {
        std::uint64_t const right = static_cast<std::uint64_t>(access);
        return (raw_ & (kLeaf | kNoMemory | right)) == (kLeaf | right);
    }
    // Where it leads. REQUIRES: has_memory().
    constexpr Paddr paddr(Iova iova) const { return Paddr{iova.raw() + (raw_ & ~kBits)}; }

    // How a mapping is kept is no part of what it translates.
    constexpr bool operator==(Entry const& other) const
    {
        return ((raw_ ^ other.raw_) & ~std::uint64_t{kOwn}) == 0;
    }

private:
    // Nodes leave no bit for the kind of a part; no node has kNoMemory.
    static constexpr std::uint64_t kPart = kSegments | kNoMemory;
    static constexpr std::uint64_t kPartNoMemory = 64;
    static constexpr unsigned kPageLg2 = 12;
    static constexpr unsigned kFirstAt = 9;
    static constexpr unsigned kMoreAt = 18;
    static constexpr unsigned kDistanceAt = 27;

    std::uint64_t raw_ = 0;
};

static_assert(Entry::leaf(Iova{0x5000}, Paddr{0x3000}, Prot::read).paddr(Iova{0x5123}) ==
              Paddr{0x3123});
static_assert(Entry::leaf(Iova{0}, Paddr{0}, Prot::write).allows(Access::write));
static_assert(!Entry::leaf(Iova{0}, Paddr{0}, Prot::write).allows(Access::read));
static_assert(!Entry::without_memory(Prot::read_write).allows(Access::read));
static_assert(!Entry{}.allows(Access::read) && Entry{}.final());

static_assert(
    Entry::leaf(Iova{0xffff'ffff'f000}, Paddr{0x1000}, Prot::read).part_of(511, 0).part_leaf() ==
    Entry::leaf(Iova{0xffff'ffff'f000}, Paddr{0x1000}, Prot::read));
static_assert(Entry::without_memory(Prot::read).part_of(3, 8).part_first() == 3);
static_assert(Entry::without_memory(Prot::read).part_of(3, 8).part_leaf() ==
              Entry::without_memory(Prot::read));
static_assert(Entry::leaf(Iova{1ULL << 49}, Paddr{0}, Prot::read).part_of(0, 0).empty());

}  // namespace pinfold::native
