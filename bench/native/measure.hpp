// What the measurements of native_bench have in common. Each file of this folder is about some of
// the goals: it registers benchmarks, and says what their table is.
#pragma once

#include <benchmark/benchmark.h>
#include <time.h>

#include <string>
#include <vector>

#include "goals.hpp"
#include "layouts.hpp"
#include "page_hash.hpp"
#include "peers.hpp"

namespace pinfold::bench {

// G1, G2; G4 to G6 and G8; G7; G9 to G13 and G16; G3, G14 and G15; G17 and G18.
void add_calls();
std::vector<Goal> call_goals();
void add_ranges();
std::vector<Goal> range_goals();
void add_pages();
std::vector<Goal> page_goals();
void add_look_ups();
std::vector<Goal> look_up_goals();
void add_threads();
std::vector<Goal> thread_goals();
void add_dirty();
std::vector<Goal> dirty_goals();

// Where DPDK is installed.
#ifdef PINFOLD_BENCH_DPDK
void add_dpdk();
std::vector<Goal> dpdk_goals();
#else
inline void add_dpdk() {}
inline std::vector<Goal> dpdk_goals() { return {}; }
#endif

// Costs against the number of mappings, for the graph: "what,container,count".
void add_call_series();
void add_look_up_series();
inline constexpr std::uint64_t kCounts[] = {1, 10, 100, 1000, 10'000, 100'000, 1'000'000};
inline constexpr std::uint64_t kMostInVector = 100'000;  // it takes minutes beyond

template <class Work, class... Args>
benchmark::internal::Benchmark* add(std::string const& name, Work work, Args... args)
{
    return benchmark::RegisterBenchmark(name.c_str(),
                                        [=](benchmark::State& state) { work(state, args...); });
}

inline double cpu_seconds()
{
    timespec now{};
    (void)::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

template <class Work>
double timed(Work work)
{
    double const before = cpu_seconds();
    work();
    return cpu_seconds() - before;
}

}  // namespace pinfold::bench
