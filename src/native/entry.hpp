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
    constexpr bool table() const { return (raw_ & kTable) != 0; }
    constexpr bool segments() const { return (raw_ & kSegments) != 0; }
    // A translation or nothing: the walk is over.
    constexpr bool final() const { return (raw_ & (kTable | kSegments)) == 0; }
    // REQUIRES: it is a node, of the kind of Node. A difference is part of the next load's address.
    template <class Node>
    Node* node() const
    {
        return reinterpret_cast<Node*>(raw_ - Node::kKind);
    }

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

    constexpr bool operator==(Entry const&) const = default;

private:
    std::uint64_t raw_ = 0;
};

static_assert(Entry::leaf(Iova{0x5000}, Paddr{0x3000}, Prot::read).paddr(Iova{0x5123}) ==
              Paddr{0x3123});
static_assert(Entry::leaf(Iova{0}, Paddr{0}, Prot::write).allows(Access::write));
static_assert(!Entry::leaf(Iova{0}, Paddr{0}, Prot::write).allows(Access::read));
static_assert(!Entry::without_memory(Prot::read_write).allows(Access::read));
static_assert(!Entry{}.allows(Access::read) && Entry{}.final());

}  // namespace pinfold::native
