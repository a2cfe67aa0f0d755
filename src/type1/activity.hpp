// What containers did, for reports: mappings come and go, and how many there are. One Activity may
// stand for many containers. Thread safe: each number is right by itself.
#pragma once

#include <atomic>
#include <cstdint>

namespace pinfold::type1 {

class Activity {
public:
    struct Count {
        std::atomic<std::uint64_t> now{0}, peak{0}, total{0};

        void add(std::uint64_t amount)
        {
            total.fetch_add(amount, std::memory_order_relaxed);
            std::uint64_t const reached = now.fetch_add(amount, std::memory_order_relaxed) + amount;
            std::uint64_t most = peak.load(std::memory_order_relaxed);
            while (most < reached &&
                   !peak.compare_exchange_weak(most, reached, std::memory_order_relaxed)) {
            }
        }
        void subtract(std::uint64_t amount) { now.fetch_sub(amount, std::memory_order_relaxed); }
    };

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
};

}  // namespace pinfold::type1
