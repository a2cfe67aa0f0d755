// What a call has taken out of a table: for whoever invalidates (Flush), for whoever frees
// (Removed), and for whoever unpins (Run).
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <optional>

#include "base/page_size.hpp"
#include "base/range.hpp"
#include "pagetable/table_source.hpp"

namespace pinfold::pagetable {

// What must be invalidated, as precisely as the commands of any IOMMU can say it.
struct Flush {
    std::optional<IovaRange> range;  // the hull of all that went; gaps in it were never mapped
    PageSizes leaves;                // sizes of the leaves that went
    std::uint8_t leaf_levels = 0;    // bit n: leaves of level n went
    std::uint8_t table_levels = 0;   // bit n: tables of level n went, so walk caches must go too

    bool empty() const { return !range; }
    // Of the leaves that went. nullopt: none did.
    std::optional<PageSize> smallest_leaf() const
    {
        return leaves.empty() ? std::nullopt : std::optional{leaves.smallest()};
    }

    void add_range(IovaRange more)
    {
        range =
            range ? IovaRange{std::min(range->start, more.start), std::max(range->last, more.last)}
                  : more;
    }
    void add_leaves(unsigned level, PageSize size)
    {
        leaves = leaves | PageSizes{size.bytes()};
        leaf_levels |= static_cast<std::uint8_t>(1U << level);
    }
    void add_tables(unsigned lowest, unsigned highest)
    {
        table_levels |= static_cast<std::uint8_t>((2U << highest) - (1U << lowest));
    }
    void add(Flush const& more)
    {
        if (more.range) add_range(*more.range);
        leaves = leaves | more.leaves;
        leaf_levels |= more.leaf_levels;
        table_levels |= more.table_levels;
    }

    bool operator==(Flush const&) const = default;
};

// Invalidate `flush`, wait for the walks under way, then Radix::release() the tables.
struct Removed {
    Flush flush;
    RetiredTables tables;
};

// Bytes that went, at consecutive iovas and consecutive paddrs.
struct Run {
    Iova iova;
    Paddr paddr;
    std::uint64_t size;
};

template <class S>
concept RunSink = std::invocable<S&, Run const&>;

// Nobody asks for the runs.
struct NoRuns {
    void operator()(Run const&) const {}
};

// Joins pieces that continue each other before the sink sees them.
template <RunSink Sink>
class RunMerger {
public:
    explicit RunMerger(Sink& sink) : sink_{sink} {}

    void add(std::uint64_t iova, std::uint64_t paddr, std::uint64_t size)
    {
        if constexpr (std::same_as<std::remove_cvref_t<Sink>, NoRuns>) return;
        if (size_ != 0 && iova_ + size_ == iova && paddr_ + size_ == paddr) {
            size_ += size;
            return;
        }
        finish();
        iova_ = iova;
        paddr_ = paddr;
        size_ = size;
    }
    void finish()
    {
        if (size_ != 0) sink_(Run{Iova{iova_}, Paddr{paddr_}, size_});
        size_ = 0;
    }

private:
    Sink& sink_;
    std::uint64_t iova_ = 0;
    std::uint64_t paddr_ = 0;
    std::uint64_t size_ = 0;
};

}  // namespace pinfold::pagetable
