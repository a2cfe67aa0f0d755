// What containers did, for reports: mappings come and go, how many there are, and what leaves they
// had when they were fullest. One Activity may stand for many containers. Thread safe: each number
// is right by itself.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "iommu/domain.hpp"
#include "type1/exposure.hpp"

namespace pinfold::type1 {

class Activity {
public:
    static void raise(std::atomic<std::uint64_t>& most, std::uint64_t reached)
    {
        std::uint64_t seen = most.load(std::memory_order_relaxed);
        while (seen < reached &&
               !most.compare_exchange_weak(seen, reached, std::memory_order_relaxed)) {
        }
    }

    struct Count {
        std::atomic<std::uint64_t> now{0}, peak{0}, total{0};

        void add(std::uint64_t amount)
        {
            total.fetch_add(amount, std::memory_order_relaxed);
            std::uint64_t const reached = now.fetch_add(amount, std::memory_order_relaxed) + amount;
            raise(peak, reached);
        }
        void subtract(std::uint64_t amount) { now.fetch_sub(amount, std::memory_order_relaxed); }
    };

    // Something is about to be unmapped: whether more is mapped now than at any leaves() before.
    bool fullest()
    {
        std::uint64_t const now = bytes.now.load(std::memory_order_relaxed);
        if (now <= seen_bytes_.load(std::memory_order_relaxed)) return false;
        raise(seen_bytes_, now);
        return true;
    }
    void leaves(iommu::LeafCounts const& counts)
    {
        for (std::size_t lg2 = 0; lg2 < counts.size(); ++lg2) raise(most_leaves[lg2], counts[lg2]);
    }

    void mapped(std::uint64_t size)
    {
        mappings.add(1);
        bytes.add(size);
    }
    void unmapped(std::uint64_t size)
    {
        mappings.subtract(1);
        bytes.subtract(size);
    }

    Count mappings;
    Count bytes;
    std::array<std::atomic<std::uint64_t>, std::tuple_size_v<iommu::LeafCounts>> most_leaves{};
    Exposure exposure;  // under the policy `subpage` only

private:
    std::atomic<std::uint64_t> seen_bytes_{0};
};

}  // namespace pinfold::type1
