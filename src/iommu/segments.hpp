// Where a range of IOVAs leads, in the fewest pieces. A value of one walk.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/address.hpp"
#include "base/prot.hpp"
#include "base/range.hpp"

namespace pinfold::iommu {

struct Segment {
    Paddr paddr;
    std::uint64_t size;

    bool operator==(Segment const&) const = default;
};

// Collects them leaf by leaf, as far as the leaves permit `access` and `into` has room.
class Segments {
public:
    Segments(IovaRange range, Access access, std::span<Segment> into)
        : start_{range.start.raw()}, last_{range.last.raw()}, access_{access}, into_{into}
    {
    }

    // The next leaf, or the first: each begins where the one before ends. False: enough.
    bool add(IovaRange leaf, Paddr paddr, Prot prot)
    {
        if (!allows(prot, access_)) return false;
        std::uint64_t const start = std::max(leaf.start.raw(), start_);
        std::uint64_t const size = std::min(leaf.last.raw(), last_) - start + 1;
        std::uint64_t const to = paddr.raw() + (start - leaf.start.raw());
        if (count_ != 0 && to == end_) {
            into_[count_ - 1].size += size;
        } else {
            if (count_ == into_.size()) return false;
            into_[count_++] = {Paddr{to}, size};
        }
        end_ = to + size;
        bytes_ += size;
        return true;
    }
    std::size_t count() const { return count_; }
    std::uint64_t bytes() const { return bytes_; }  // in all of them

private:
    std::uint64_t start_;
    std::uint64_t last_;
    Access access_;
    std::span<Segment> into_;
    std::size_t count_ = 0;
    std::uint64_t bytes_ = 0;
    std::uint64_t end_ = 0;  // of the last one
};

}  // namespace pinfold::iommu
