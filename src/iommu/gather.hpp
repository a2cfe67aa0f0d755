// What unmaps take away, on its way out: Run, a stretch that went; Runs, which merges stretches;
// Gather, what caches must be told before anything that went may be used for something else.
// Values of one thread.
#pragma once

#include <cstdint>
#include <optional>

#include "base/address.hpp"
#include "base/function_ref.hpp"
#include "base/page_size.hpp"
#include "base/range.hpp"

namespace pinfold::iommu {

// Consecutive on both sides.
struct Run {
    Iova iova;
    Paddr paddr;         // where iova leads
    std::uint64_t size;  // bytes, never 0

    bool operator==(Run const&) const = default;
};

// Merges what follows on both sides, and hands each run on once it is known to be whole: at the
// latest when this is destroyed.
class Runs {
public:
    using Use = FunctionRef<void(Run const&)>;
    explicit Runs(Use use) : use_{use} {}
    ~Runs() { flush(); }
    Runs(Runs const&) = delete;
    Runs& operator=(Runs const&) = delete;

    void add(Run const& piece)
    {
        if (follows(piece)) {
            run_.size += piece.size;
            return;
        }
        flush();
        run_ = piece;
    }

private:
    bool follows(Run const& piece) const
    {
        return run_.size != 0 && run_.iova.raw() + run_.size == piece.iova.raw() &&
               run_.paddr.raw() + run_.size == piece.paddr.raw();
    }
    void flush()
    {
        if (run_.size != 0) use_(run_);
        run_.size = 0;
    }

    Use use_;
    Run run_{Iova{}, Paddr{}, 0};
};

// Pages or nodes that a back end took out of its tree and frees after the grace period: a list of
// its own, by whatever names its members have there. Nothing is allocated to keep it.
struct Retired {
    std::uint64_t first = 0;
    std::uint64_t count = 0;  // 0: none
};

// What has gone and nobody has been told of yet. Nothing of it may be unpinned or freed before
// Domain::sync().
struct Gather {
    std::optional<IovaRange> range;  // the hull of what was removed
    // Sizes of the leaves that went, split ones included. A cache may hold a leaf of such a size,
    // aligned to it, that reaches beyond `range`. Back ends that cannot tell name all they have.
    PageSizes leaves;
    bool tables = false;  // table pages went too: walk caches must go
    Retired retired;

    bool empty() const { return !range && !tables && retired.count == 0; }
    void add(IovaRange removed);
};

}  // namespace pinfold::iommu
