// What page tables cost, in every hardware format: filling, emptying, single pages, splits, and
// walks beside a writer, with floors and maps of the same run beside them. docs/performance.md
// explains the table at the end.
#include <absl/container/btree_map.h>
#include <benchmark/benchmark.h>
#include <time.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/read_section.hpp"
#include "goals.hpp"
#include "pagetable/amdv1.hpp"
#include "pagetable/arm_lpae.hpp"
#include "pagetable/arm_lpae_s2.hpp"
#include "pagetable/arm_v7s.hpp"
#include "pagetable/radix.hpp"
#include "pagetable/riscv.hpp"
#include "pagetable/vtdss.hpp"
#include "pagetable/x86_64.hpp"

namespace {

using namespace pinfold;
using namespace pinfold::pagetable;
using bench::items;

constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;

// Seconds of this thread's own, since others share the machine.
double cpu_now()
{
    timespec now{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// From `start` to here. What it takes to ask the clock, a system call, is not part of it.
double cpu_since(double start)
{
    static double const asking = [] {
        double least = 1;
        for (int i = 0; i < 1000; ++i) {
            double const before = cpu_now();
            least = std::min(least, cpu_now() - before);
        }
        return least;
    }();
    return std::max(cpu_now() - start - asking, 1e-9);
}

// Of one thing several are measured, to be long enough for the clock: as many as have tables of
// this size together, which caches hold.
constexpr std::uint64_t kCached = 256 << 10;
template <class F>
std::uint64_t table_bytes(unsigned level)
{
    return std::uint64_t{1} << table_lg2<F>(level);
}

template <class F>
struct Format {
    std::string name;
    Shape<F> shape;
    std::uint64_t most;  // bytes that are filled at a time
};

template <class F>
class Tables {
public:
    // With leaves up to 2^leaf_lg2 bytes.
    Tables(Format<F> const& format, unsigned leaf_lg2, std::size_t count)
        : memory_{TableMemory::create(
                      {.page = PageSize::lg2_of(F::slots_lg2(0) +
                                                (sizeof(typename F::Word) == 4 ? 2U : 3U)),
                       .base = Paddr{0x1000'0000},
                       .arena_bytes = std::uint64_t{1} << (F::kPaddrBits > 40 ? 36 : 30)})
                      .value()}
    {
        Shape<F> shape = format.shape;
        shape.page_sizes = shape.page_sizes & PageSizes{PageSize::lg2_of(leaf_lg2 + 1).mask()};
        for (std::size_t i = 0; i < count; ++i)
            tables.push_back(RadixTable<F>::create(memory_, shape).value());
        // Its memory has been used before, as in a process that has run for a while.
        for (auto& table : tables) map(*table, 0, format.most);
        for (auto& table : tables) unmap(*table, 0, format.most);
    }
    void map(RadixTable<F>& table, std::uint64_t iova, std::uint64_t size)
    {
        std::uint64_t mapped = 0;
        auto const done =
            table.map(Iova{iova}, Paddr{iova}, size, {.prot = Prot::read_write}, mapped, removed_);
        if (!done) std::abort();
    }
    void unmap(RadixTable<F>& table, std::uint64_t iova, std::uint64_t size)
    {
        std::uint64_t bytes = 0;
        table.unmap(Iova{iova}, size, removed_, [&](Run const& run) { bytes += run.size; });
        if (bytes != size) std::abort();
        table.release(removed_);
    }
    void release(RadixTable<F>& table) { table.release(removed_); }

    std::vector<std::unique_ptr<RadixTable<F>>> tables;

private:
    std::shared_ptr<TableMemory> memory_;
    Removed removed_;
};

// What it takes to map is an iteration's time, and what it takes to unmap a counter.
class MapAndUnmap {
public:
    // `maps` and `unmaps`: how many items an iteration is about.
    MapAndUnmap(benchmark::State& state, double maps, double unmaps)
        : state_{state}, unmaps_{unmaps}
    {
        items(state, maps);
    }
    ~MapAndUnmap()
    {
        double const each =
            state_.iterations() == 0 ? 0 : seconds_ / static_cast<double>(state_.iterations());
        state_.counters["unmap"] = each * 1e9 / unmaps_;
    }
    MapAndUnmap(MapAndUnmap const&) = delete;
    MapAndUnmap& operator=(MapAndUnmap const&) = delete;

    void iterate(auto map, auto unmap)
    {
        double const start = cpu_now();
        map();
        state_.SetIterationTime(cpu_since(start));
        double const middle = cpu_now();
        unmap();
        seconds_ += cpu_since(middle);
    }

private:
    benchmark::State& state_;
    double unmaps_;
    double seconds_ = 0;
};

// Fills and empties all that a format is asked for, in leaves of one size. Times are for one leaf
// when it fills, for 2 MiB (or one leaf, if that is larger) when it empties.
template <class F>
void whole(benchmark::State& state, Format<F> format, unsigned leaf_lg2, std::uint64_t size)
{
    format.most = size;
    std::uint64_t const leaves = size >> leaf_lg2;
    // Tables are used from their first slot on, at multiples of their size: of large ones, a cache
    // has room for few.
    std::size_t const count =
        leaves < 4096 ? std::max<std::size_t>(kCached / table_bytes<F>(1), 16) : 1;
    Tables<F> all{format, leaf_lg2, count};
    MapAndUnmap timed{state, static_cast<double>(leaves * count),
                      static_cast<double>((size >> std::max(leaf_lg2, 21U)) * count)};
    for (auto _ : state)
        timed.iterate(
            [&] {
                for (auto& table : all.tables) all.map(*table, 0, size);
            },
            [&] {
                for (auto& table : all.tables) all.unmap(*table, 0, size);
            });
}

enum class Order : bool { ascending, any };

// Every other page, so that no two are neighbours.
std::vector<std::uint64_t> scattered_pages(unsigned page_lg2, Order order)
{
    std::vector<std::uint64_t> pages(std::min<std::uint64_t>(kGiB >> page_lg2, 1 << 17) / 2);
    for (std::size_t i = 0; i < pages.size(); ++i) pages[i] = i << (page_lg2 + 1);
    if (order == Order::any) std::shuffle(pages.begin(), pages.end(), std::mt19937_64{1});
    return pages;
}

// One call for each of many single pages in a GiB, whose tables stay.
template <class F>
void scattered(benchmark::State& state, Format<F> format, Writers writers, Order order)
{
    unsigned const page_lg2 = F::kGranuleLg2;
    std::uint64_t const page = std::uint64_t{1} << page_lg2;
    auto const pages = scattered_pages(page_lg2, order);
    format.shape.writers = writers;
    format.most = kGiB;
    Tables<F> all{format, page_lg2, 1};
    auto& table = *all.tables[0];
    Removed removed;
    std::uint64_t mapped = 0;
    std::uint64_t bytes = 0;
    auto const n = static_cast<double>(pages.size());
    MapAndUnmap timed{state, n, n};
    for (auto _ : state)
        timed.iterate(
            [&] {
                for (auto const at : pages)
                    (void)table.map(Iova{at}, Paddr{at}, page, {.prot = Prot::read_write}, mapped,
                                    removed);
            },
            [&] {
                for (auto const at : pages) bytes += table.unmap(Iova{at}, page, removed);
            });
    benchmark::DoNotOptimize(bytes);
}

// A page out of the middle of a large leaf.
template <class F>
void hole(benchmark::State& state, Format<F> const& format)
{
    unsigned const leaf_lg2 = slot_lg2<F>(1);
    std::uint64_t const leaf = std::uint64_t{1} << leaf_lg2;
    std::uint64_t const page = std::uint64_t{1} << F::kGranuleLg2;
    std::uint64_t const leaves = std::min<std::uint64_t>(kCached / table_bytes<F>(0), 64);
    Format<F> splitting = format;
    splitting.shape.partial = Partial::splits;
    splitting.shape.page_sizes = PageSizes{page | leaf};
    splitting.most = leaves * leaf;
    Tables<F> all{splitting, leaf_lg2, 1};
    auto& table = *all.tables[0];
    Removed removed;
    for (auto _ : state) {
        all.map(table, 0, splitting.most);
        all.release(table);  // the tables of the holes before, which were in the way
        double const start = cpu_now();
        for (std::uint64_t at = leaf / 2; at < splitting.most; at += leaf)
            if (table.unmap(Iova{at}, page, removed) != page) std::abort();
        state.SetIterationTime(cpu_since(start));
        for (std::uint64_t at = 0; at < splitting.most; at += leaf) {
            table.unmap(Iova{at}, leaf, removed);
            table.unmap(Iova{at + leaf / 2 + page}, leaf / 2 - page, removed);
        }
        table.release(removed);
    }
    items(state, static_cast<double>(leaves));
}

// Random walks over a GiB of pages, alone or beside a thread that maps and unmaps one every 10 us.
template <class F>
void walks(benchmark::State& state, Format<F> const& format, bool beside_a_writer)
{
    unsigned const page_lg2 = F::kGranuleLg2;
    std::uint64_t const page = std::uint64_t{1} << page_lg2;
    auto const pages = scattered_pages(page_lg2, Order::any);
    Format<F> shared = format;
    shared.shape.writers = Writers::many;
    shared.most = kGiB;
    Tables<F> all{shared, page_lg2, 1};
    auto& table = *all.tables[0];
    all.map(table, 0, kGiB / 2);
    // Where the writer is going to be, the tables stand already: walks are as long without it.
    for (std::uint64_t at = kGiB / 2; at < kGiB; at += std::uint64_t{1} << slot_lg2<F>(1)) {
        all.map(table, at, page);
        all.unmap(table, at, page);
    }
    std::jthread writer;
    if (beside_a_writer)
        writer = std::jthread{[&](std::stop_token const& stop) {
            Removed removed;
            std::uint64_t mapped = 0;
            for (std::uint64_t at = kGiB / 2; !stop.stop_requested();
                 at = kGiB / 2 + (at + page) % (kGiB / 2)) {
                (void)table.map(Iova{at}, Paddr{at}, page, {.prot = Prot::read}, mapped, removed);
                table.unmap(Iova{at}, page, removed);
                std::this_thread::sleep_for(std::chrono::microseconds{10});
            }
        }};
    std::uint64_t sum = 0;
    for (auto _ : state) {
        double const start = cpu_now();
        for (auto const at : pages)
            if (auto const leaf = table.walk(Iova{at})) sum += leaf->paddr.raw();
        state.SetIterationTime(cpu_since(start));
    }
    benchmark::DoNotOptimize(sum);
    items(state, static_cast<double>(pages.size()));
}

// One page unmapped, and everybody who might use it waited for.
void strict_unmap(benchmark::State& state, Format<Vtdss> const& format, bool with_a_reader)
{
    Tables<Vtdss> all{format, 12, 1};
    auto& table = *all.tables[0];
    Removed removed;
    std::jthread reader;
    if (with_a_reader)
        reader = std::jthread{[&](std::stop_token const& stop) {
            while (!stop.stop_requested()) {
                ReadSection const section;
                benchmark::DoNotOptimize(table.walk(Iova{0x1000}));
            }
        }};
    constexpr int kBatch = 64;
    for (auto _ : state)
        for (int i = 0; i < kBatch; ++i) {
            all.map(table, 0, 0x1000);
            table.unmap(Iova{0}, 0x1000, removed);
            wait_for_readers();
            table.release(removed);
        }
    items(state, kBatch);
}

// Floors and peers. `bytes` are zeroed at a time, of `memory`.
void zero_tables(benchmark::State& state, std::uint64_t bytes, std::uint64_t memory)
{
    std::vector<char> tables(memory);
    for (auto _ : state) {
        double const start = cpu_now();
        for (std::uint64_t done = 0; done < std::max<std::uint64_t>(bytes, 1 << 20);
             done += bytes) {
            std::memset(tables.data() + done % memory, 0, bytes);
            benchmark::DoNotOptimize(tables.data());
            benchmark::ClobberMemory();
        }
        state.SetIterationTime(cpu_since(start));
    }
    items(state, static_cast<double>(std::max<std::uint64_t>(bytes, 1 << 20)) / 8);
}
template <class Map>
void map_peer(benchmark::State& state, Order order)
{
    auto const pages = scattered_pages(12, order);
    Map map;
    auto const n = static_cast<double>(pages.size());
    MapAndUnmap timed{state, n, n};
    for (auto _ : state)
        timed.iterate(
            [&] {
                for (auto const at : pages) map.emplace(at, at);
            },
            [&] {
                for (auto const at : pages) map.erase(at);
            });
}

void add(std::string const& name, auto body)
{
    benchmark::RegisterBenchmark(name.c_str(), [body](benchmark::State& state) { body(state); })
        ->UseManualTime()
        ->Unit(benchmark::kNanosecond);
}

std::vector<std::string> formats;

// Registers what is measured of every format. Leaves are pages, blocks (of a table's size one level
// up) and, where there are some and a GiB or less, those of the next level.
template <class F>
void add_format(Format<F> const& format)
{
    std::string const& name = format.name;
    formats.push_back(name);
    unsigned const page = F::kGranuleLg2;
    auto const fill = [&](std::string const& what, std::uint64_t size, unsigned lg2) {
        add(name + what, [=](benchmark::State& state) { whole(state, format, lg2, size); });
    };
    fill(": GiB of pages", kGiB, page);
    if (format.most > kGiB) {
        fill(": pages", format.most, page);
        fill(": blocks", format.most, slot_lg2<F>(1));
        if (!F::leaf_sizes(2).empty() && slot_lg2<F>(2) <= 30)
            fill(": giants", format.most, slot_lg2<F>(2));
    }
    add(name + ": one each",
        [=](benchmark::State& state) { scattered(state, format, Writers::one, Order::ascending); });
    add(name + ": one each of many", [=](benchmark::State& state) {
        scattered(state, format, Writers::many, Order::ascending);
    });
    add(name + ": hole", [=](benchmark::State& state) { hole(state, format); });
    add(name + ": walk", [=](benchmark::State& state) { walks(state, format, false); });
    add(name + ": walk beside a writer",
        [=](benchmark::State& state) { walks(state, format, true); });
}

// The goal for one writer of many is half of what the driver that it replaces takes (14.8 where the
// goals were set): its counts are locked instructions, of which one alone is the goal for a writer
// alone. A page out of a block has its goal where the table for the pieces is 4 KiB or less; of a
// larger one there is a line below, since its floor alone is more.
std::vector<bench::Column> columns()
{
    return {{"G4", "map:1G", 0.5, ": GiB of pages"},
            {"G4", "pages", 0.5, ": pages"},
            {"G5", "blocks", 0.3, ": blocks"},
            {"G5", "giants", 1.5, ": giants"},
            {"G6", "unmap:1G", 5.1, ": GiB of pages.unmap"},
            {"G6", "pages", 5.1, ": pages.unmap"},
            {"G6", "blocks", 0.5, ": blocks.unmap"},
            {"G7", "map 1", 5, ": one each"},
            {"G7", "unmap 1", 5, ": one each.unmap"},
            {"G7", "map, many", 7.4, ": one each of many"},
            {"G7", "unmap,many", 7.4, ": one each of many.unmap"},
            {"G8", "hole", 100, ": hole"},
            {"", "walk", 0, ": walk"},
            {"G14", "beside", 1.1, ": walk beside a writer", ": walk"}};
}

std::vector<bench::Goal> floors_and_peers()
{
    std::vector<bench::Goal> all{
        {"G3", "map, unmap and wait, nobody reads", "strict unmap", 350},
        {"G3", "map, unmap and wait, a thread reads", "strict unmap, one reads", 12000},
        {"G4", "VT-d: map 1 GiB of pages, a leaf", "VT-d: GiB of pages", 0.5, "memset 2 MiB"},
        {"G4", "VT-d: map 64 GiB of pages, a leaf", "VT-d: pages", 0.5, "memset 128 MiB"},
        {"G5", "VT-d: map 64 GiB of 2M, a leaf", "VT-d: blocks", 0.3, "memset 256 KiB"},
        {"G8", "VT-d: a page out of a leaf of 2M", "VT-d: hole", 100, "memset 4 KiB"},
        {"G8", "Arm S1 64K: a page out of a leaf of 512M", "Arm S1 64K: hole", 0, "memset 64 KiB",
         1.5},
    };
    for (std::string const peer : {"btree_map", "std::map"})
        for (std::string const how : {": ascending", ": any order"}) {
            double const goal = how == ": ascending" ? 5 : 0;
            all.push_back({"G7", "VT-d: map pages" + how, "VT-d" + how, goal, peer + how});
            all.push_back({"G7", "VT-d: unmap pages" + how, "VT-d" + how + ".unmap", goal,
                           peer + how + ".unmap"});
        }
    return all;
}

}  // namespace

int main(int argc, char** argv)
{
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;

    constexpr PageSizes kX86{0x4020'1000};
    Format<Vtdss> const vtd{"VT-d", Shape<Vtdss>::fixed(4, kX86), 64 * kGiB};
    add_format(vtd);
    add_format<X86_64<X86Writer::generic>>({"x86-64", {4, 47, kX86}, 64 * kGiB});
    add_format<Amdv1>({"AMD v1", {4, 48, PageSizes{0x7f'7fff'f000}}, 64 * kGiB});
    add_format<ArmLpae<12>>({"Arm S1 4K", {4, 48, kX86}, 64 * kGiB});
    add_format<ArmLpae<16>>({"Arm S1 64K", {3, 48, PageSizes{0x2001'0000}}, 64 * kGiB});
    add_format<ArmStage2<12>>({"Arm S2 4K", {4, 48, kX86}, 64 * kGiB});
    add_format<Riscv<>>({"RISC-V", {4, 47, kX86}, 64 * kGiB});
    add_format<ArmV7s<>>({"Arm v7s", {2, 32, PageSizes{0x11'1000}}, kGiB});

    benchmark::RegisterBenchmark("strict unmap", [vtd](benchmark::State& state) {
        strict_unmap(state, vtd, false);
    })->UseRealTime();
    benchmark::RegisterBenchmark("strict unmap, one reads", [vtd](benchmark::State& state) {
        strict_unmap(state, vtd, true);
    })->UseRealTime();
    // Of one table, as a whole.
    for (std::uint64_t const kib : {4UL, 64UL})
        add(fmt::format("memset {} KiB", kib), [=](benchmark::State& state) {
            zero_tables(state, kib << 10, kCached);
            items(state, 1024.0 / static_cast<double>(kib));
        });
    for (auto const& [name, bytes] : {std::pair{"memset 256 KiB", 256 << 10},
                                      {"memset 2 MiB", 2 << 20},
                                      {"memset 128 MiB", 128 << 20}})
        add(name, [bytes](benchmark::State& state) {
            auto const size = static_cast<std::uint64_t>(bytes);
            zero_tables(state, size, size);
        });
    for (auto const order : {Order::ascending, Order::any}) {
        std::string const how = order == Order::any ? ": any order" : ": ascending";
        add("VT-d" + how,
            [=](benchmark::State& state) { scattered(state, vtd, Writers::one, order); });
        add("std::map" + how, [=](benchmark::State& state) {
            map_peer<std::map<std::uint64_t, std::uint64_t>>(state, order);
        });
        add("btree_map" + how, [=](benchmark::State& state) {
            map_peer<absl::btree_map<std::uint64_t, std::uint64_t>>(state, order);
        });
    }

    bench::Medians medians;
    bool const ran = benchmark::RunSpecifiedBenchmarks(&medians) > 0;
    medians.print(formats, columns());
    fmt::print("\n");
    medians.print(floors_and_peers());
    return ran ? 0 : 1;
}
