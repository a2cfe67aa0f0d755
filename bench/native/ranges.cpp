// G4 to G6 and G8: what a range costs, and a hole in one.
#include <cstring>

#include "measure.hpp"

namespace pinfold::bench {
namespace {

using benchmark::State;

enum class Part { map, unmap };

// Several at once, because asking for the time costs as much as one.
void whole_range(State& state, std::uint64_t off, std::uint64_t size, Part part)
{
    constexpr std::uint64_t kRanges = 32;
    auto const map = DmaMap::create({}).value();
    for (auto _ : state) {
        double const mapping = timed([&] {
            for (std::uint64_t range = 1; range <= kRanges; ++range)
                (void)map->map(Iova{range * 128 * kGiB + off}, reinterpret_cast<void*>(kMemory),
                               size, Prot::read);
        });
        double const unmapping = timed([&] {
            for (std::uint64_t range = 1; range <= kRanges; ++range)
                (void)map->unmap(Iova{range * 128 * kGiB + off}, size);
        });
        state.SetIterationTime(part == Part::map ? mapping : unmapping);
    }
    items(state, kRanges);
}

// What hardware tables of as many leaves would be: 8 bytes each.
void table_bytes(State& state, std::size_t leaves)
{
    static std::vector<std::uint64_t> table(std::size_t{1} << 18);
    for (auto _ : state) {
        std::memset(table.data(), 1, leaves * 8);
        benchmark::ClobberMemory();
    }
}

void split(State& state)
{
    constexpr std::uint64_t kBlocks = 512;
    auto const index = native::Index::create().value();
    for (auto _ : state) {
        for (std::uint64_t block = 0; block < kBlocks; ++block) {
            IovaRange const range{Iova{kGiB + block * 2 * kMiB},
                                  Iova{kGiB + (block + 1) * 2 * kMiB - 1}};
            (void)index->map(range, native::Entry::leaf(range.start, Paddr{kMemory}, Prot::read));
        }
        state.SetIterationTime(timed([&] {
            for (std::uint64_t block = 0; block < kBlocks; ++block) {
                Iova const hole{kGiB + block * 2 * kMiB + 77 * kPageBytes};
                (void)index->cut(hole);
                (void)index->cut(hole + kPageBytes);
                index->remove(*index->held_at(hole));
            }
        }));
        while (auto const held = index->first_in({Iova{0}, Iova{~std::uint64_t{0}}}))
            index->remove(*held);
        index->release();
    }
    items(state, kBlocks);
}

}  // namespace

void add_ranges()
{
    for (auto const& [part, verb] :
         {std::pair{Part::map, "map"}, std::pair{Part::unmap, "unmap"}}) {
        std::string const name = verb;
        add(name + " 1G, off by 4K", whole_range, kPageBytes, kGiB, part)->UseManualTime();
        add(name + " 64G, off by 4K", whole_range, kPageBytes, 64 * kGiB, part)->UseManualTime();
        add(name + " 64G, off by 2M", whole_range, 2 * kMiB, 64 * kGiB, part)->UseManualTime();
        add(name + " 64G", whole_range, std::uint64_t{0}, 64 * kGiB, part)->UseManualTime();
    }
    add("memset of 256k leaves", table_bytes, std::size_t{1} << 18);
    add("memset of 32k leaves", table_bytes, std::size_t{1} << 15);
    add("memset of 64 leaves", table_bytes, std::size_t{64});
    add("memset of 512 leaves", table_bytes, std::size_t{512});
    add("4K hole in 2M", split)->UseManualTime()->Iterations(20);
}

std::vector<Goal> range_goals()
{
    return {
        {"G4", "map 1G of 4K leaves' worth, off by 4K", "map 1G, off by 4K", 131072,
         "memset of 256k leaves", 1},
        {"G4", "map 64G, off by 4K", "map 64G, off by 4K", 8388608, "memset of 256k leaves"},
        {"G5", "map 64G of 2M leaves' worth, off by 2M", "map 64G, off by 2M", 9830,
         "memset of 32k leaves", 1},
        {"G5", "map 64G of 1G leaves", "map 64G", 96, "memset of 64 leaves"},
        {"G6", "unmap 64G, off by 4K", "unmap 64G, off by 4K", 16384, "memset of 32k leaves", 1},
        {"G6", "unmap 64G, off by 2M", "unmap 64G, off by 2M", 16384, "memset of 32k leaves", 1},
        {"G8", "a 4K hole in a mapping of 2M", "4K hole in 2M", 100, "memset of 512 leaves"},
    };
}

}  // namespace pinfold::bench
