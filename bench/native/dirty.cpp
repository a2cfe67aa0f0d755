// G17 and G18: the dirty log.
#include <atomic>
#include <cstring>

#include "measure.hpp"

namespace pinfold::bench {
namespace {

using benchmark::State;

constexpr std::uint64_t kLogged = 64 * kGiB;
constexpr std::uint64_t kLoggedPages = kLogged / kPageBytes;
constexpr IovaRange kLoggedRange{Iova{kGiB}, Iova{kGiB + kLogged - 1}};

class Logged {
public:
    Logged()
    {
        (void)native.map(kGiB, kMemory, kLogged);
        (void)native.door().start_dirty_log();
    }
    void harvest() { (void)native.door().harvest(kLoggedRange, bits); }
    void mark_all() { native.reader().mark_dirty(Iova{kGiB}, kLogged); }

    Native native;
    std::vector<std::uint64_t> bits = std::vector<std::uint64_t>(kLoggedPages / 64);
};
Logged& logged()
{
    static Logged made;
    return made;
}

// `pages`: how many are written to, over and over; bits of many do not fit a near cache.
void mark_dirty_pages(State& state, std::uint64_t size, std::uint64_t pages)
{
    Logged& log = logged();
    auto const& reader = log.native.reader();
    log.mark_all();
    Random random;
    for (auto _ : state) {
        Iova const iova{kGiB + random.below(pages - 16) * kPageBytes};
        benchmark::DoNotOptimize(reader.translate(iova, size, Access::write));
        reader.mark_dirty(iova, size);
    }
}

// Of pages that the device knows the way to already.
void only_mark(State& state, std::uint64_t pages)
{
    Logged& log = logged();
    auto const& reader = log.native.reader();
    log.mark_all();
    Random random;
    for (auto _ : state)
        reader.mark_dirty(Iova{kGiB + random.below(pages - 16) * kPageBytes}, kPageBytes);
}

void only_translate(State& state)
{
    auto const& reader = logged().native.reader();
    Random random;
    for (auto _ : state) {
        Iova const iova{kGiB + random.below(kLoggedPages - 16) * kPageBytes};
        benchmark::DoNotOptimize(reader.translate(iova, kPageBytes, Access::write));
    }
}

void mark_clean_pages(State& state)
{
    Logged& log = logged();
    auto const& reader = log.native.reader();
    log.harvest();
    std::uint64_t turn = 0;
    for (auto _ : state) {
        if (++turn % kLoggedPages == 0) {
            state.PauseTiming();
            log.harvest();
            state.ResumeTiming();
        }
        Iova const iova{kGiB + turn * 2654435761 % kLoggedPages * kPageBytes};
        benchmark::DoNotOptimize(reader.translate(iova, kPageBytes, Access::write));
        reader.mark_dirty(iova, kPageBytes);
    }
}

// One bitmap for the whole range, a locked instruction for each mark.
void mark_atomically(State& state)
{
    static std::vector<std::atomic<std::uint64_t>> bits(kLoggedPages / 64);
    Random random;
    for (auto _ : state) {
        std::uint64_t const page = random.below(kLoggedPages);
        (void)bits[page / 64].fetch_or(std::uint64_t{1} << (page % 64), std::memory_order_relaxed);
    }
}

template <class Mark>
void mark_one_percent(unsigned percent, Mark mark)
{
    Random random;
    for (std::uint64_t page = 0; percent == 1 && page < kLoggedPages / 100; ++page)
        mark(random.below(kLoggedPages));
}

void harvest(State& state, unsigned percent)
{
    Logged& log = logged();
    log.harvest();
    for (auto _ : state) {
        if (percent == 100) log.mark_all();
        mark_one_percent(percent, [&](std::uint64_t page) {
            log.native.reader().mark_dirty(Iova{kGiB + page * kPageBytes}, 1);
        });
        state.SetIterationTime(timed([&] { log.harvest(); }));
    }
}

// Nothing is marked in between, so the clock, which takes as long as this does, is not asked then.
void harvest_nothing(State& state)
{
    Logged& log = logged();
    log.harvest();
    for (auto _ : state) log.harvest();
}

void harvest_by_exchange(State& state, unsigned percent)
{
    static std::vector<std::atomic<std::uint64_t>> bits(kLoggedPages / 64);
    static std::vector<std::uint64_t> into(bits.size());
    for (auto _ : state) {
        if (percent == 100)
            for (auto& word : bits) word.store(~std::uint64_t{0}, std::memory_order_relaxed);
        mark_one_percent(percent, [&](std::uint64_t page) {
            bits[page / 64].fetch_or(std::uint64_t{1} << (page % 64), std::memory_order_relaxed);
        });
        state.SetIterationTime(timed([&] {
            for (std::size_t word = 0; word < bits.size(); ++word)
                if (bits[word].load(std::memory_order_relaxed) != 0)
                    into[word] |= bits[word].exchange(0, std::memory_order_relaxed);
        }));
    }
}

void copy_and_clear(State& state)
{
    static std::vector<std::uint64_t> bits(kLoggedPages / 64);
    static std::vector<std::uint64_t> into(bits.size());
    for (auto _ : state) {
        std::memcpy(into.data(), bits.data(), bits.size() * 8);
        std::memset(bits.data(), 0, bits.size() * 8);
        benchmark::ClobberMemory();
    }
}

}  // namespace

void add_dirty()
{
    add("mark 4K, dirty", mark_dirty_pages, kPageBytes, kLoggedPages);
    add("mark 4K of 4G, dirty", mark_dirty_pages, kPageBytes, 4 * kGiB / kPageBytes);
    add("mark 64K, dirty", mark_dirty_pages, 64 * kKiB, kLoggedPages);
    add("mark 4K alone, dirty", only_mark, kLoggedPages);
    add("mark 4K of 4G alone, dirty", only_mark, 4 * kGiB / kPageBytes);
    add("mark nothing", only_translate);
    add("mark 4K, clean", mark_clean_pages);
    add("mark 4K, atomic or", mark_atomically);
    for (unsigned const percent : {0U, 1U, 100U}) {
        std::string const share = std::to_string(percent) + "%";
        if (percent == 0)
            add("harvest " + share, harvest_nothing);
        else
            add("harvest " + share, harvest, percent)->UseManualTime()->Iterations(10);
        add("exchange " + share, harvest_by_exchange, percent)->UseManualTime()->Iterations(10);
    }
    add("copy+clear of the bits", copy_and_clear);
}

std::vector<Goal> dirty_goals()
{
    std::vector<Goal> all{
        {"G17", "translate, mark 4K: dirty already", "mark 4K, dirty", 2, "mark 4K, atomic or",
         0.4},
        {"G17", "the same in 4 GiB of the 64", "mark 4K of 4G, dirty", 2, "mark 4K, atomic or",
         0.4},
        {"", "  of it the translation, and the loop", "mark nothing"},
        {"G17", "mark 4K alone: dirty already", "mark 4K alone, dirty", 2, "mark 4K, atomic or"},
        {"G17", "the same in 4 GiB of the 64", "mark 4K of 4G alone, dirty", 2,
         "mark 4K, atomic or"},
        {"G17", "translate, mark 4K: clean", "mark 4K, clean", 5.5, "mark 4K, atomic or"},
        {"G17", "translate, mark 64K", "mark 64K, dirty", 7, "mark 4K, atomic or"}};
    for (auto const& [share, goal] :
         {std::pair{"0%", 1000.0}, std::pair{"1%", 75e3}, std::pair{"100%", 75e3}}) {
        std::string const end = share;
        all.push_back(
            {"G18", "harvest 64G, " + end + " dirty", "harvest " + end, goal, "exchange " + end});
        all.push_back({"G18", "", "harvest " + end, goal, "copy+clear of the bits", 1.5});
    }
    return all;
}

}  // namespace pinfold::bench
