// Where mappings lie when look-ups are measured, and the addresses that are asked for.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

namespace pinfold::bench {

constexpr std::uint64_t kKiB = 1024, kMiB = 1024 * kKiB, kGiB = 1024 * kMiB;
constexpr std::uint64_t kPageBytes = 4 * kKiB;
constexpr std::uint64_t kMemory = std::uint64_t{1} << 44;  // where the memory would be: unused

// `count` regions of `size`, with as much between them or nothing, and their memory in any order.
struct Layout {
    std::string name;
    std::uint64_t count;
    std::uint64_t size;
    bool packed = false;

    std::uint64_t start(std::uint64_t region) const
    {
        return kGiB + (packed ? 1 : 2) * region * size;
    }
    template <class Container>
    void fill(Container& container) const
    {
        std::vector<std::uint64_t> order(count);
        std::iota(order.begin(), order.end(), 0);
        std::ranges::shuffle(order, std::mt19937_64{1});
        for (std::uint64_t region = 0; region < count; ++region)
            (void)container.map(start(region), kMemory + 2 * order[region] * size, size);
    }
    // A page of the layout's, by a random number.
    [[gnu::always_inline]] std::uint64_t page(std::uint64_t number) const
    {
        std::uint64_t const region = ((number >> 32) * count) >> 32;
        std::uint64_t const pages = size / kPageBytes;
        std::uint64_t const page = ((number & 0xffff'ffff) * pages) >> 32;
        return start(region) + page * kPageBytes;
    }
};

inline Layout const kLayouts[] = {
    {"1x64G", 1, 64 * kGiB}, {"16x4G", 16, 4 * kGiB},       {"1024x64M", 1024, 64 * kMiB},
    {"64kx1M", 65536, kMiB}, {"64kx4K", 65534, kPageBytes}, {"packed4K", 16384, kPageBytes, true},
};

inline Layout const& layout(std::string const& name)
{
    return *std::ranges::find(kLayouts, name, &Layout::name);
}

// The same container with the same layout serves all measurements that do not change it.
template <class Container>
Container& filled(Layout const& layout)
{
    static std::vector<std::pair<std::string, std::unique_ptr<Container>>> made;
    for (auto const& [name, container] : made)
        if (name == layout.name) return *container;
    auto& container = *made.emplace_back(layout.name, std::make_unique<Container>()).second;
    layout.fill(container);
    return container;
}

class Random {
public:
    explicit Random(std::uint64_t seed = 88172645463325252) : state_{seed} {}
    std::uint64_t operator()(std::uint64_t depends_on = 0)
    {
        state_ = (state_ + depends_on) * 6364136223846793005 + 1442695040888963407;
        return state_ ^ (state_ >> 29);
    }
    // Below `end`, which has at most 32 bits.
    std::uint64_t below(std::uint64_t end) { return ((*this)() >> 32) * end >> 32; }

private:
    std::uint64_t state_;
};

}  // namespace pinfold::bench
