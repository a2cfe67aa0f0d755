// G3, G14 and G15: devices run while somebody unmaps.
#include <atomic>
#include <chrono>
#include <thread>

#include "measure.hpp"

namespace pinfold::bench {
namespace {

using benchmark::State;

// Runs `turn` over and over on a thread of its own while it lives.
class Beside {
public:
    template <class Turn>
    explicit Beside(Turn turn) : thread_{[this, turn]() mutable { run(turn); }}
    {
        while (!running_) std::this_thread::yield();
    }
    ~Beside()
    {
        stop_ = true;
        thread_.join();
    }
    Beside(Beside const&) = delete;
    Beside& operator=(Beside const&) = delete;

private:
    template <class Turn>
    void run(Turn& turn)
    {
        while (!stop_.load(std::memory_order_relaxed)) {
            turn();
            // Once only: what this lies beside in memory is the other thread's.
            if (!running_.load(std::memory_order_relaxed))
                running_.store(true, std::memory_order_relaxed);
        }
    }
    // Apart from what the other thread writes all the time.
    alignas(128) std::atomic<bool> stop_{false};
    std::atomic<bool> running_{false};
    alignas(128) std::thread thread_;
};

void churn_once(DmaMap& map)
{
    (void)map.map(Iova{kMiB}, reinterpret_cast<void*>(kMemory), kPageBytes, Prot::read);
    (void)map.unmap(Iova{kMiB}, kPageBytes);
}

enum class Device { none, idle, running };

// A page is mapped and unmapped by one call each.
void strict_unmap(DmaMap& map) { churn_once(map); }

// So are 64 pages, and there is one wait for all.
constexpr std::uint64_t kBatch = 64;
void strict_batch(DmaMap& map)
{
    for (std::uint64_t page = 0; page < kBatch; ++page)
        (void)map.map(Iova{kMiB + 2 * page * kPageBytes}, reinterpret_cast<void*>(kMemory),
                      kPageBytes, Prot::read);
    DmaBatch batch{map};
    for (std::uint64_t page = 0; page < kBatch; ++page)
        (void)batch.unmap(Iova{kMiB + 2 * page * kPageBytes}, kPageBytes);
}

void strict(State& state, Reading reading, Device device, void (*round)(DmaMap&),
            std::uint64_t pages)
{
    auto const map = DmaMap::create({}).value();
    std::optional<DmaReader> reader;
    if (device != Device::none) reader.emplace(map->add_reader(reading).value());
    if (device == Device::idle) reader->leave();
    std::optional<Beside> thread;
    if (device == Device::running)
        thread.emplace([&reader, polls = reading == Reading::polling] {
            if (polls) return reader->quiescent();
            DmaSection const section{*reader};
            benchmark::DoNotOptimize(reader->translate(Iova{kMiB}, 1, Access::read));
        });
    for (auto _ : state) round(*map);
    items(state, static_cast<double>(pages));
    thread.reset();
    if (reader) reader->leave();
}

void pause(std::chrono::nanoseconds time)
{
    auto const end = std::chrono::steady_clock::now() + time;
    while (std::chrono::steady_clock::now() < end) continue;
}

enum class Writer { none, every_10_us };

// A look-up as a device makes it: with what keeps it safe from an unmap.
void read_beside(State& state, Layout const& layout, Reading reading, Writer writer)
{
    auto& native = filled<Native>(layout);
    auto const reader = native.door().add_reader(reading).value();
    std::optional<Beside> thread;
    reader.leave();  // until the writer has begun
    if (writer != Writer::none)
        thread.emplace([&native] {
            churn_once(native.door());
            pause(std::chrono::microseconds{10});
        });
    if (reading == Reading::polling) reader.enter();
    Random random;
    for (auto _ : state) {
        Iova const iova{layout.page(random())};
        if (reading == Reading::polling) {
            benchmark::DoNotOptimize(reader.translate(iova, 64, Access::read));
            reader.quiescent();
        } else {
            DmaSection const section{reader};
            benchmark::DoNotOptimize(reader.translate(iova, 64, Access::read));
        }
    }
    reader.leave();
    thread.reset();
}

void read_beside_locked(State& state, Layout const& layout)
{
    auto& locked = filled<Locked<AbslBtree>>(layout);
    std::optional<Beside> thread;
    thread.emplace([&locked] {
        locked.lock();
        (void)locked.container.map(kMiB, kMemory, kPageBytes);
        (void)locked.container.unmap(kMiB, kPageBytes);
        locked.unlock();
        pause(std::chrono::microseconds{10});
    });
    Random random;
    for (auto _ : state) {
        locked.lock_shared();
        benchmark::DoNotOptimize(locked.container.translate(layout.page(random()), 64));
        locked.unlock();
    }
    thread.reset();
}

void one_reader(State& state, bool beside_another)
{
    Layout const& where = layout("1024x64M");
    auto& native = filled<Native>(where);
    auto const read = [&where](DmaReader const& reader, Random& random) {
        benchmark::DoNotOptimize(reader.translate(Iova{where.page(random())}, 64, Access::read));
    };
    // What the other thread reads or writes at each look-up is not on this thread's stack, which
    // is written to as often.
    std::unique_ptr<DmaReader> other;
    std::optional<Beside> thread;
    if (beside_another) {
        other = std::make_unique<DmaReader>(native.door().add_reader(Reading::polling).value());
        thread.emplace([read, reader = other.get(), random = Random{7}]() mutable {
            for (int turn = 0; turn < 100; ++turn) read(*reader, random);
        });
    }
    Random random;
    auto const& reader = native.reader();
    for (auto _ : state) read(reader, random);
    thread.reset();
}

}  // namespace

void add_threads()
{
    struct How {
        char const* name;
        Reading reading;
        Device device;
    };
    How const hows[] = {{"no device", Reading::fenced, Device::none},
                        {"fenced runs", Reading::fenced, Device::running},
                        {"polling runs", Reading::polling, Device::running},
                        {"sections idle", Reading::sections, Device::idle},
                        {"sections run", Reading::sections, Device::running}};
    for (auto const& [name, reading, device] : hows) {
        std::string const end = std::string{", "} + name;
        add("strict" + end, strict, reading, device, strict_unmap, std::uint64_t{1})->UseRealTime();
        add("batch" + end, strict, reading, device, strict_batch, kBatch)->UseRealTime();
    }
    for (std::string const name : {"1024x64M", "64kx4K"}) {
        Layout const& where = layout(name);
        std::string const read = "read " + name;
        add(read + ", alone", read_beside, where, Reading::polling, Writer::none)->UseRealTime();
        add(read + ", polling", read_beside, where, Reading::polling, Writer::every_10_us)
            ->UseRealTime();
        add(read + ", sections", read_beside, where, Reading::sections, Writer::every_10_us)
            ->UseRealTime();
        add(read + ", rwlock", read_beside_locked, where)->UseRealTime();
    }
    add("one reader", one_reader, false);
    add("one of two readers", one_reader, true);
}

std::vector<Goal> thread_goals()
{
    std::vector<Goal> all;
    std::string const lazy = "strict, no device";
    all.push_back(
        {"G3", "the wait: a polling device runs", "strict, polling runs", 500, {}, 0, lazy});
    all.push_back(
        {"G3", "the wait: a fenced device runs", "strict, fenced runs", 500, {}, 0, lazy});
    all.push_back({"G3", "the wait: sections, idle", "strict, sections idle", 350, {}, 0, lazy});
    all.push_back(
        {"G3", "the wait: sections, running", "strict, sections run", 12000, {}, 0, lazy});
    for (std::string const how : {"polling runs", "fenced runs", "sections idle", "sections run"})
        all.push_back(
            {"G3", "map, unmap, a wait for 64: " + how, "batch, " + how, 0, "strict, " + how});
    for (auto const& [name, goal] : {std::pair{"1024x64M", 4.1}, std::pair{"64kx4K", 4.8}}) {
        std::string const read = "read " + std::string{name};
        for (std::string const how : {", polling", ", sections"}) {
            std::string const what = read + how + ", beside a writer";
            all.push_back({"G14", what, read + how, goal, read + ", alone", 1.1});
            all.push_back({"G14", what, read + how, goal, read + ", rwlock", 0.001});
        }
    }
    all.push_back(
        {"G15", "one of two readers, to one alone", "one of two readers", 0, "one reader", 1.03});
    return all;
}

}  // namespace pinfold::bench
