// What devices do, by the goals of docs/performance.md: translate, gather, be waited for, write and
// be asked what they wrote. Beside liburcu and the floors of the same run, interleaved.
#include <benchmark/benchmark.h>
#include <time.h>
#include <urcu/urcu-bp.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/read_section.hpp"
#include "goals.hpp"
#include "iommu/endpoint.hpp"
#include "iommu/iommu.hpp"

namespace pinfold::bench {
namespace {

using benchmark::State;
using iommu::Endpoint;
using iommu::Model;

constexpr std::uint64_t kPage = 0x1000;
constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;

// A unit with a domain and a device; `layout` maps.
struct Machine {
    explicit Machine(Model model)
        : unit{iommu::Iommu::create(
                   {.model = model,
                    .page_sizes = PageSizes{model == Model::native ? ~0xfffULL : 0x40201000},
                    .address_width = 48,
                    .reserved = {}})
                   .value()},
          domain{unit->create_domain().value()},
          device{std::make_unique<Endpoint>(*unit, "device")}
    {
        if (!device->attach(*domain)) std::abort();
    }
    void map(std::uint64_t iova, std::uint64_t paddr, std::uint64_t size) const
    {
        if (!domain->map(Iova{iova}, Paddr{paddr}, size, Prot::read_write)) std::abort();
    }
    void unmap(std::uint64_t iova, std::uint64_t size) const
    {
        iommu::Gather gather;
        domain->unmap(Iova{iova}, size, gather);
        domain->sync(gather);
    }
    std::uint64_t translate(std::uint64_t iova, std::uint64_t size = 8,
                            Access access = Access::read) const
    {
        ReadSection const section;
        return device->translate(Iova{iova}, size, access)->paddr.raw();
    }

    std::unique_ptr<iommu::Iommu> unit;
    std::unique_ptr<iommu::Domain> domain;
    std::unique_ptr<Endpoint> device;
};

// 65536 mappings of a page, no two of which are consecutive on both sides.
Machine& scattered(Model model)
{
    static std::map<Model, std::unique_ptr<Machine>> made;
    auto& machine = made[model];
    if (!machine) {
        machine = std::make_unique<Machine>(model);
        for (std::uint64_t i = 0; i < 65536; ++i)
            machine->map(i * kPage, (i * 40503 % 65536 + 65536) * kPage, kPage);
    }
    return *machine;
}

Machine& one_region(Model model)
{
    static std::map<Model, std::unique_ptr<Machine>> made;
    auto& machine = made[model];
    if (!machine) {
        machine = std::make_unique<Machine>(model);
        machine->map(0, 0, 64 * kGiB);
    }
    return *machine;
}

// The next of 64 pages, by what the last translation gave.
struct Hot {
    std::uint64_t state = 1;
    std::uint64_t next(std::uint64_t result)
    {
        state = state * 6364136223846793005 + (result & 1) + 1442695040888963407;
        return (state >> 58) * kPage;
    }
};

void floor_hot(State& state)
{
    Hot hot;
    std::uint64_t result = 0;
    for (auto _ : state) benchmark::DoNotOptimize(result = hot.next(result));
}

void hot_pages(State& state, Machine& machine)
{
    Hot hot;
    std::uint64_t result = 0;
    for (auto _ : state) benchmark::DoNotOptimize(result = machine.translate(hot.next(result)));
}

// --- sections and waits -----------------------------------------------------------------------

void section(State& state)
{
    for (auto _ : state) {
        ReadSection const inside;
        benchmark::ClobberMemory();
    }
}

void section_urcu(State& state)
{
    for (auto _ : state) {
        urcu_bp_read_lock();
        benchmark::ClobberMemory();
        urcu_bp_read_unlock();
    }
}

// A thread that does `turn` again and again while this lives.
class Beside {
public:
    template <class Thread>
    explicit Beside(Thread run) : thread_{[this, run] { run(ready_, stop_); }}
    {
        while (!ready_) std::this_thread::yield();
    }
    ~Beside()
    {
        stop_ = true;
        thread_.join();
    }

private:
    std::atomic<bool> ready_{false};
    std::atomic<bool> stop_{false};
    std::thread thread_;
};

void device_in_sections(std::atomic<bool>& ready, std::atomic<bool>& stop)
{
    while (!stop) {
        ReadSection const inside;
        ready = true;
    }
}

void device_that_polls(std::atomic<bool>& ready, std::atomic<bool>& stop)
{
    PollingReader polling;
    for (ready = true; !stop;) polling.quiescent();
}

void wait_alone(State& state)
{
    for (auto _ : state) wait_for_readers();
}

void wait_beside(State& state, void (*device)(std::atomic<bool>&, std::atomic<bool>&))
{
    Beside const other{device};
    for (auto _ : state) wait_for_readers();
}

void wait_urcu(State& state)
{
    urcu_bp_read_lock();
    urcu_bp_read_unlock();
    for (auto _ : state) urcu_bp_synchronize_rcu();
}

// --- readers beside a writer ------------------------------------------------------------------

// Maps and unmaps a page 100 000 times a second.
void writer(Machine& machine, std::atomic<bool>& ready, std::atomic<bool>& stop)
{
    auto next = std::chrono::steady_clock::now();
    for (ready = true; !stop; next += std::chrono::microseconds{10}) {
        machine.map(65 * kGiB, 0, kPage);
        machine.unmap(65 * kGiB, kPage);
        while (!stop && std::chrono::steady_clock::now() < next) {
        }
    }
}

void beside_writer(State& state, Machine& machine)
{
    Beside const other{[&](auto& ready, auto& stop) { writer(machine, ready, stop); }};
    hot_pages(state, machine);
}

void beside_reader(State& state, Machine& machine)
{
    Endpoint second{*machine.unit, "second"};
    if (!second.attach(*machine.domain)) std::abort();
    Beside const other{[&](auto& ready, auto& stop) {
        Hot hot;
        std::uint64_t result = 0;
        for (ready = true; !stop;) {
            ReadSection const inside;
            result = second.translate(Iova{hot.next(result)}, 8, Access::read)->paddr.raw();
        }
    }};
    hot_pages(state, machine);
}

// --- segments, writes -------------------------------------------------------------------------

// `space` is a power of two.
void gather(State& state, Machine& machine, std::uint64_t space)
{
    std::array<Endpoint::Segment, 40> segments;
    std::uint64_t const size = 128 << 10;
    std::uint64_t iova = 0;
    for (auto _ : state) {
        ReadSection const inside;
        auto const done =
            machine.device->gather({Iova{iova}, Iova{iova + size - 1}}, Access::read, segments);
        benchmark::DoNotOptimize(done.segments);
        benchmark::ClobberMemory();
        iova = (iova + size) & (space - 1);
    }
}

Machine& logged()
{
    static Machine machine{Model::native};
    static bool const once = [] {
        machine.map(0, 0, 64 * kGiB);
        return machine.domain->start_write_log().has_value();
    }();
    if (!once) std::abort();
    return machine;
}

void write_hot(State& state, std::uint64_t size)
{
    Machine& machine = logged();
    Hot hot;
    std::uint64_t result = 0;
    for (auto _ : state)
        benchmark::DoNotOptimize(
            result = machine.translate(hot.next(result) * (size / kPage), size, Access::write));
}

// A page that is clean each time, so a walk and two marks.
void write_clean(State& state)
{
    Machine& machine = logged();
    std::vector<std::uint64_t> bits(16 * kGiB / kPage / 64);
    std::uint64_t iova = 0;
    for (auto _ : state) {
        benchmark::DoNotOptimize(machine.translate(iova, 8, Access::write));
        iova += kPage;
        if (iova < 16 * kGiB) continue;
        state.PauseTiming();
        machine.domain->take_written({Iova{0}, Iova{16 * kGiB - 1}}, bits);
        iova = 0;
        state.ResumeTiming();
    }
}

// Of 64 GiB, with every `step`-th page written; 0: none.
void harvest(State& state, std::uint64_t step)
{
    Machine& machine = logged();
    IovaRange const all{Iova{0}, Iova{64 * kGiB - 1}};
    std::vector<std::uint64_t> bits(64 * kGiB / kPage / 64);
    machine.domain->take_written(all, bits);
    for (auto _ : state) {
        if (step != 0) {
            state.PauseTiming();
            {
                ReadSection const inside;
                for (std::uint64_t iova = 0; iova < 64 * kGiB; iova += step * kPage)
                    machine.domain->note_written(Iova{iova}, 1);
            }
            state.ResumeTiming();
        }
        machine.domain->take_written(all, bits);
        benchmark::ClobberMemory();
    }
}

benchmark::internal::Benchmark* add(std::string const& name, std::function<void(State&)> run,
                                    bool wall = false)
{
    auto* const added = benchmark::RegisterBenchmark(name.c_str(), run);
    return wall ? added->UseRealTime() : added;
}

void add_all()
{
    add("floor_hot", floor_hot);
    add("section", section);
    add("section_urcu_bp", section_urcu);
    add("wait_alone", wait_alone, true);
    add("wait_polling", [](State& s) { wait_beside(s, device_that_polls); }, true);
    add("wait_sections", [](State& s) { wait_beside(s, device_in_sections); }, true);
    add("wait_urcu_bp", wait_urcu, true);
    for (auto const& [name, model] : {std::pair{"native", Model::native},
                                      {"vtd", Model::vtd},
                                      {"amdvi", Model::amdvi},
                                      {"smmuv3", Model::smmuv3}}) {
        std::string const of = name;
        add(of + ": hot of one", [model](State& s) { hot_pages(s, one_region(model)); });
        add(of + ": hot of 65536", [model](State& s) { hot_pages(s, scattered(model)); });
        add(of + ": gather one", [model](State& s) { gather(s, one_region(model), 64 * kGiB); });
        add(of + ": gather 32", [model](State& s) { gather(s, scattered(model), 65536 * kPage); });
    }
    add("hot_beside_writer", [](State& s) { beside_writer(s, one_region(Model::native)); });
    add("hot_beside_reader", [](State& s) { beside_reader(s, one_region(Model::native)); });
    add("write_known", [](State& s) { write_hot(s, kPage); });
    add("write_64k", [](State& s) { write_hot(s, 16 * kPage); });
    add("write_clean", write_clean);
    add("harvest_0", [](State& s) { harvest(s, 0); });
    // Writing takes longer than asking.
    add("harvest_1", [](State& s) { harvest(s, 100); })->Iterations(5);
    add("harvest_100", [](State& s) { harvest(s, 1); })->Iterations(3);
}

std::vector<Goal> goals()
{
    return {
        {"G3", "wait for accesses, nobody reads", "wait_alone", 350, "wait_urcu_bp"},
        {"G3", "wait for accesses, a device polls", "wait_polling", 500},
        {"G3", "wait for accesses, a device opens sections", "wait_sections", 12000},
        {"", "a section", "section", 0, "section_urcu_bp"},
        {"G14", "translate beside 100k unmaps/s", "hot_beside_writer", 4.8, "native: hot of one",
         1.1, "floor_hot"},
        {"G15", "translate beside a second reader", "hot_beside_reader", 0, "native: hot of one",
         1.03, "floor_hot"},
        {"G17", "write 4K, known as written", "write_known", 2.0, {}, 0, "floor_hot"},
        {"G17", "write 4K, clean", "write_clean", 5.5},
        {"G17", "write 64K, known as written", "write_64k", 7, {}, 0, "floor_hot"},
        {"G18", "what of 64 GiB was written: nothing", "harvest_0", 1000},
        {"G18", "what of 64 GiB was written: 1 %", "harvest_1", 75000},
        {"G18", "what of 64 GiB was written: all", "harvest_100", 75000},
    };
}

std::vector<Column> columns()
{
    return {{"G13", "hot,1", 4.8, ": hot of one", {}, "floor_hot"},
            {"G13", "hot,65536", 4.8, ": hot of 65536", {}, "floor_hot"},
            {"G16", "128K in 1", 2.8, ": gather one"},
            {"G16", "in 32", 70, ": gather 32"}};
}

}  // namespace
}  // namespace pinfold::bench

int main(int argc, char** argv)
{
    pinfold::bench::add_all();
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
    pinfold::bench::Medians medians;
    if (benchmark::RunSpecifiedBenchmarks(&medians) == 0) return 1;
    medians.print({"native", "vtd", "amdvi", "smmuv3"}, pinfold::bench::columns());
    fmt::print("\n");
    medians.print(pinfold::bench::goals());
    return 0;
}
