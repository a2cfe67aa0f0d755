// The table that measurements end with: what was achieved beside the goal, and beside a peer or a
// floor of the same run. Nothing passes or fails by it.
#pragma once

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace pinfold::bench {

// One line. `ours` and `peer` are names of benchmarks, and `floor` of one whose time is taken off
// both; empty: none. Times are in ns for one item of a benchmark's; `goal` is the absolute one
// (docs/performance.md names its machine), `ratio` the one to the peer. 0: there is no such goal.
struct Goal {
    std::string id;
    std::string what;
    std::string ours;
    double goal = 0;
    std::string peer = {};
    double ratio = 0;
    std::string floor = {};
};

// One thing that is measured alike of several: of each, the benchmark called its name and `of`.
// `over`: divided by the one called its name and that. Goals and floors are as above.
struct Column {
    std::string id;
    std::string what;  // one word
    double goal = 0;
    std::string of;
    std::string over = {};
    std::string floor = {};
};

// Keeps the median of each benchmark, in ns for one item where the benchmark counts items, and for
// one iteration elsewhere; and of each of its counters, called the benchmark's name, a dot and its.
class Medians : public benchmark::BenchmarkReporter {
public:
    bool ReportContext(Context const&) override { return true; }
    void ReportRuns(std::vector<Run> const& runs) override
    {
        for (auto const& run : runs) {
            if (run.aggregate_name != "median") continue;
            double const unit = benchmark::GetTimeUnitMultiplier(run.time_unit) / 1e9;
            bool const wall = run.run_name.time_type.find("real_time") != std::string::npos ||
                              run.run_name.time_type.find("manual_time") != std::string::npos;
            double const time = wall ? run.GetAdjustedRealTime() : run.GetAdjustedCPUTime();
            auto const items = run.counters.find("items_per_iteration");
            double const per = items == run.counters.end() ? 1.0 : items->second.value;
            medians_[run.run_name.function_name] = time / unit / per;
            for (auto const& [name, counter] : run.counters)
                if (name != "items_per_iteration")
                    medians_[run.run_name.function_name + "." + name] = counter.value;
        }
    }

    std::optional<double> at(std::string const& name) const
    {
        auto const found = medians_.find(name);
        return found == medians_.end() ? std::nullopt : std::optional{found->second};
    }
    std::map<std::string, double> const& all() const { return medians_; }

    void print(std::vector<Goal> const& goals) const
    {
        fmt::print("{:<4} {:<46} {:>10} {:>8}   {:<28} {:>9} {:>7} {:>6}\n", "goal", "what, in ns",
                   "achieved", "goal", "peer or floor of this run", "its time", "ratio", "goal");
        for (auto const& goal : goals) print(goal);
    }

    // A line for each of `names` that was measured, below the goals.
    void print(std::vector<std::string> const& names, std::vector<Column> const& columns) const
    {
        auto const line = [&](std::string const& first, auto&& cell) {
            fmt::print("{:<14}", first);
            for (auto const& column : columns) fmt::print(" {:>9}", cell(column));
            fmt::print("\n");
        };
        line("goal", [](Column const& column) { return column.id; });
        line("what, in ns", [](Column const& column) { return column.what; });
        line("goal", [](Column const& column) { return number(column.goal); });
        for (auto const& name : names)
            if (std::ranges::any_of(columns,
                                    [&](auto const& it) { return at(name + it.of).has_value(); }))
                line(name, [&](Column const& column) { return cell(name, column); });
    }

private:
    std::string cell(std::string const& name, Column const& column) const
    {
        auto const ours = at(name + column.of);
        if (!ours) return "-";
        double const off = at(column.floor).value_or(0.0);
        if (column.over.empty()) return fmt::format("{:.2f}", *ours - off);
        auto const over = at(name + column.over);
        return over ? fmt::format("{:.2f}", (*ours - off) / (*over - off)) : "-";
    }
    void print(Goal const& goal) const
    {
        auto const ours = at(goal.ours);
        if (!ours) return;
        double const off = at(goal.floor).value_or(0.0);
        fmt::print("{:<4} {:<46} {:>10.2f} {:>8}   ", goal.id, goal.what, *ours - off,
                   number(goal.goal));
        if (auto const peer = at(goal.peer))
            fmt::print("{:<28} {:>9.2f} {:>7.3f} {:>6}", goal.peer, *peer - off,
                       (*ours - off) / (*peer - off), number(goal.ratio));
        fmt::print("\n");
    }
    static std::string number(double goal)
    {
        return goal == 0 ? std::string{} : fmt::format("{:g}", goal);
    }

    std::map<std::string, double> medians_;
};

// Says how many items an iteration was about.
inline void items(benchmark::State& state, double per_iteration)
{
    state.counters["items_per_iteration"] = per_iteration;
}

}  // namespace pinfold::bench
