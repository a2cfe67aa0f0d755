// What a tree holds: leaves of each size, and tables. One thread counts, or any number (Writers).
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "pagetable/radix_shape.hpp"

namespace pinfold::pagetable {

using LeafCounts = std::array<std::uint64_t, 64>;  // by log2 of the size

class Counters {
public:
    explicit Counters(Writers writers) : writers_{writers} {}

    // Some more, or (n negative) fewer.
    void count_leaves(unsigned lg2, std::uint64_t n) { add(leaves_[lg2], n); }
    void count_tables(std::uint64_t n) { add(tables_, n); }

    std::uint64_t tables() const { return tables_.load(std::memory_order_relaxed); }
    LeafCounts leaves() const
    {
        LeafCounts counts{};
        for (std::size_t lg2 = 0; lg2 < counts.size(); ++lg2) {
            std::uint64_t const n = leaves_[lg2].load(std::memory_order_relaxed);
            // A raw word may have made a leaf that went and was never counted.
            counts[lg2] = static_cast<std::int64_t>(n) < 0 ? 0 : n;
        }
        return counts;
    }

private:
    void add(std::atomic<std::uint64_t>& counter, std::uint64_t n) const
    {
        if (writers_ == Writers::many)
            counter.fetch_add(n, std::memory_order_relaxed);
        else
            counter.store(counter.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }

    Writers writers_;
    std::atomic<std::uint64_t> tables_{0};
    std::array<std::atomic<std::uint64_t>, 64> leaves_{};
};

}  // namespace pinfold::pagetable
