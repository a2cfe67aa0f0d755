// A device's translation cache: direct mapped, one entry per 4 KiB page of IOVA, read without
// locks. It keeps what it has until it is told to let go: whoever changes a live translation
// invalidates and then waits for the readers (ReadSection), as hardware's invalidation waits for
// completion. Misses are not cached.
//
// Thread safety: lookup() and fill() from any thread inside a ReadSection, invalidate() from any
// thread.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>

#include "base/address.hpp"
#include "base/prot.hpp"
#include "base/range.hpp"

namespace pinfold::iommu {

class Iotlb {
public:
    struct Entry {
        Paddr paddr;         // of the page that the lookup asked for, with the offset in it
        std::uint64_t size;  // contiguous bytes from there on, within the cached leaf
        Prot prot;
    };

    std::optional<Entry> lookup(Iova iova) const;
    // `leaf` is the whole leaf that a walk found, `paddr` where leaf.start leads. `generation` is
    // generation() as it was before the walk: a fill that raced with an invalidation is dropped.
    void fill(Iova iova, IovaRange leaf, Paddr paddr, Prot prot, std::uint64_t generation);
    std::uint64_t generation() const;

    void invalidate(IovaRange range);
    void invalidate_all();

    std::uint64_t hits() const;
    std::uint64_t misses() const;
};

}  // namespace pinfold::iommu
