// The native index by the goals of docs/performance.md, beside standard containers and the floors
// of the same run, interleaved. With --plot: costs against the number of mappings, as CSV.
#include "measure.hpp"

namespace pinfold::bench {
namespace {

void add_all()
{
    add_calls();
    add_threads();
    add_ranges();
    add_pages();
    add_look_ups();
    add_dirty();
    add_dpdk();
}

std::vector<Goal> goals()
{
    std::vector<Goal> all;
    for (auto const& some : {call_goals(), thread_goals(), range_goals(), page_goals(),
                             look_up_goals(), dpdk_goals(), dirty_goals()})
        all.insert(all.end(), some.begin(), some.end());
    return all;
}

int run(int argc, char** argv, bool plot)
{
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
    if (plot) {
        add_call_series();
        add_look_up_series();
    } else {
        add_all();
    }
    Medians medians;
    if (benchmark::RunSpecifiedBenchmarks(&medians) == 0) return 1;
    if (!plot) medians.print(goals());
    for (auto const& [name, time] : medians.all())
        if (plot) fmt::print("{},{:.2f}\n", name, time);
    return 0;
}

}  // namespace
}  // namespace pinfold::bench

int main(int argc, char** argv)
{
    bool const plot = argc > 1 && std::string{argv[1]} == "--plot";
    if (plot) argv[1] = argv[0];
    return pinfold::bench::run(plot ? argc - 1 : argc, plot ? argv + 1 : argv, plot);
}
