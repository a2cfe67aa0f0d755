// G1 and G2: one mapping comes and one goes.
#include <sys/mman.h>
#include <unistd.h>

#include <bit>
#include <map>

#include "measure.hpp"

namespace pinfold::bench {
namespace {

using benchmark::State;

// Beside `count` that stay, in gaps between them.
template <class Container>
void churn(State& state, std::uint64_t count)
{
    static std::map<std::uint64_t, std::unique_ptr<Container>> made;
    auto& container = made[count];
    Layout const base{{}, count, kPageBytes};
    if (!container) {
        container = std::make_unique<Container>();
        base.fill(*container);
    }
    std::uint64_t const gaps = std::bit_ceil(std::max<std::uint64_t>(count, 128));
    auto const gap = [&](std::uint64_t turn) {
        return base.start(0) + (2 * (turn * 2654435761 % gaps) + 1) * kPageBytes;
    };
    constexpr std::uint64_t kLive = 64;
    std::uint64_t turn = 0;
    for (; turn < kLive; ++turn) (void)container->map(gap(turn), kMemory, kPageBytes);
    for (auto _ : state) {
        bool const mapped = container->map(gap(turn), kMemory, kPageBytes);
        bool const unmapped = container->unmap(gap(turn - kLive), kPageBytes);
        if (!mapped || !unmapped) state.SkipWithError("refused");
        ++turn;
    }
    for (std::uint64_t last = turn - kLive; last < turn; ++last)
        (void)container->unmap(gap(last), kPageBytes);
}

int client_memory()
{
    static int const fd = [] {
        int const made = ::memfd_create("client", 0);
        (void)!::ftruncate(made, 64 * kMiB);
        return made;
    }();
    return fd;
}

void churn_file(State& state)
{
    auto const map = DmaMap::create({}).value();
    auto const file = map->file(client_memory()).value();
    for (auto _ : state) {
        (void)map->map(Iova{kGiB}, file, kMiB, kPageBytes, Prot::read_write);
        (void)map->unmap(Iova{kGiB}, kPageBytes);
    }
}
void churn_unknown_file(State& state)
{
    auto const map = DmaMap::create({}).value();
    auto const held = map->file(client_memory()).value();
    for (auto _ : state) {
        auto const file = map->file(client_memory()).value();
        (void)map->map(Iova{kGiB}, file, kMiB, kPageBytes, Prot::read_write);
        (void)map->unmap(Iova{kGiB}, kPageBytes);
    }
}
void mmap_and_munmap(State& state)
{
    for (auto _ : state) {
        void* const at =
            ::mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, client_memory(), 0);
        (void)::munmap(at, kPageBytes);
    }
}

}  // namespace

void add_calls()
{
    for (std::uint64_t const count : {1U, 1000U, 65534U}) {
        std::string const beside = " beside " + std::to_string(count);
        add("map+unmap native" + beside, churn<Native>, count);
        add("map+unmap one writer" + beside, churn<NativeOfOne>, count);
        add("map+unmap std::map" + beside, churn<StdMap>, count);
        add("map+unmap btree_map" + beside, churn<AbslBtree>, count);
        add("map+unmap vector" + beside, churn<SortedVector>, count);
        add("map+unmap lfht" + beside, churn<PageHash>, count);
    }
    add("map+unmap of a known file", churn_file);
    add("map+unmap of a file by fd", churn_unknown_file);
    add("mmap+munmap of a memfd", mmap_and_munmap);
}

std::vector<Goal> call_goals()
{
    std::vector<Goal> all;
    for (std::string const n : {"1", "1000", "65534"})
        for (std::string const peer : {"btree_map", "std::map", "vector", "lfht"})
            all.push_back({"G1", "map and unmap 4K beside " + n, "map+unmap native beside " + n, 35,
                           "map+unmap " + peer + " beside " + n});
    for (std::string const n : {"1", "1000", "65534"})
        all.push_back({"G1", "by the only writer beside " + n, "map+unmap one writer beside " + n,
                       35, "map+unmap native beside " + n});
    all.push_back({"G1", "of many writers beside 65534, to beside 1000",
                   "map+unmap native beside 65534", 0, "map+unmap native beside 1000", 1.3});
    all.push_back({"G2", "map and unmap 4K of a known file", "map+unmap of a known file", 300,
                   "mmap+munmap of a memfd", 0.05});
    all.push_back({"G2", "the same by a descriptor", "map+unmap of a file by fd", 0,
                   "mmap+munmap of a memfd"});
    return all;
}

void add_call_series()
{
    for (std::uint64_t const count : kCounts) {
        std::string const end = "," + std::to_string(count);
        add("map+unmap,native" + end, churn<Native>, count);
        add("map+unmap,absl::btree_map" + end, churn<AbslBtree>, count);
        add("map+unmap,std::map" + end, churn<StdMap>, count);
        if (count <= kMostInVector)
            add("map+unmap,sorted vector" + end, churn<SortedVector>, count);
    }
}

}  // namespace pinfold::bench
