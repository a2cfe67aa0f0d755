// G9 to G13 and G16: look-ups of one thread.
#include <array>

#include "measure.hpp"

namespace pinfold::bench {
namespace {

using benchmark::State;

enum class Asking { anywhere, dependent, hot };

// The loop alone.
struct Nothing {
    bool map(std::uint64_t, std::uint64_t, std::uint64_t) { return true; }
    std::uint64_t translate(std::uint64_t iova, std::uint64_t) const { return iova; }
};

// Dependent: the next address depends on the last answer. A loop for each, so that look-ups are
// inlined as they are in a device.
template <class Container, Asking kAsking>
void look_up(State& state, Layout const& layout)
{
    auto const& from = asker(filled<Container>(layout));
    Layout const where = layout;
    Random random;
    std::array<std::uint64_t, 64> hot;
    for (auto& page : hot) page = where.page(random());
    std::uint64_t found = 0;
    for (auto _ : state) {
        if constexpr (kAsking == Asking::anywhere) {
            found = ask(from, where.page(random()));
            benchmark::DoNotOptimize(found);
        } else if constexpr (kAsking == Asking::dependent) {
            found = ask(from, where.page(random(found)));
        } else {
            found = ask(from, hot[random(found) % 64]);
        }
    }
    benchmark::DoNotOptimize(found);
}

template <class Container>
void iovecs(State& state, Layout const& layout)
{
    Container const& container = filled<Container>(layout);
    Random random;
    std::array<iovec, 64> into;
    Layout const starts{{}, 1, layout.count * layout.size - 256 * kKiB};
    for (auto _ : state) {
        std::uint64_t const at = layout.packed ? starts.page(random()) : layout.page(random());
        std::uint64_t const inside = layout.packed ? at : at - at % (256 * kKiB);
        benchmark::DoNotOptimize(container.segments(inside + 100, 128 * kKiB, into.data()));
    }
}

constexpr std::pair<Asking, char const*> kAskings[] = {
    {Asking::anywhere, "random"}, {Asking::dependent, "dependent"}, {Asking::hot, "hot"}};

template <class Container>
void add_askings(std::string const& container, Layout const& layout)
{
    std::string const end = " " + layout.name + " " + container;
    add("random" + end, look_up<Container, Asking::anywhere>, layout);
    add("dependent" + end, look_up<Container, Asking::dependent>, layout);
    add("hot" + end, look_up<Container, Asking::hot>, layout);
}

template <class Container>
void add_series(std::string const& container, Layout const& layout)
{
    std::string const end = "," + container + "," + std::to_string(layout.count);
    add("translate random" + end, look_up<Container, Asking::anywhere>, layout);
    add("translate hot" + end, look_up<Container, Asking::hot>, layout);
}

}  // namespace

void add_look_ups()
{
    for (auto const& each : kLayouts) {
        if (each.packed) continue;
        add_askings<Native>("native", each);
        add_askings<AbslBtree>("btree_map", each);
        add_askings<StdMap>("std::map", each);
        add_askings<SortedVector>("vector", each);
        if (each.size == kPageBytes) add_askings<PageHash>("lfht", each);
        add_askings<Nothing>("nothing", each);
    }
    for (std::string const name : {"16x4G", "packed4K"}) {
        add("iovecs " + name + " native", iovecs<Native>, layout(name));
        add("iovecs " + name + " btree_map", iovecs<AbslBtree>, layout(name));
    }
}

std::vector<Goal> look_up_goals()
{
    struct Row {
        char const* id;
        std::string layout;
        double random, dependent;
    };
    Row const rows[] = {{"G9", "1x64G", 2.2, 6.9},
                        {"G10", "16x4G", 3, 11.2},
                        {"G10", "1024x64M", 3, 11.2},
                        {"G11", "64kx4K", 3.6, 14.4},
                        {"G12", "64kx1M", 9, 40}};
    std::vector<Goal> all;
    for (auto const& row : rows) {
        double const goals[] = {row.random, row.dependent, 8.7};
        for (auto const& [asking, how] : kAskings) {
            std::string const name = how + (" " + row.layout);
            char const* const id = asking == Asking::hot ? "G13" : row.id;
            all.push_back({id, "translate, " + name, name + " native",
                           goals[static_cast<unsigned>(asking)], name + " btree_map"});
            if (id == std::string{"G11"})
                all.push_back({id, "", name + " native", goals[static_cast<unsigned>(asking)],
                               name + " lfht"});
            all.push_back({"", "  of it the loop", name + " nothing"});
        }
    }
    all.push_back(
        {"G16", "128K to iovecs, 1 piece", "iovecs 16x4G native", 2.8, "iovecs 16x4G btree_map"});
    all.push_back({"G16", "128K to iovecs, 33 pieces", "iovecs packed4K native", 70,
                   "iovecs packed4K btree_map"});
    return all;
}

void add_look_up_series()
{
    static std::vector<Layout> layouts;
    layouts.reserve(std::size(kCounts));
    for (std::uint64_t const count : kCounts) {
        Layout const& each =
            layouts.emplace_back(Layout{"of " + std::to_string(count), count, kPageBytes});
        add_series<Native>("native", each);
        add_series<AbslBtree>("absl::btree_map", each);
        add_series<StdMap>("std::map", each);
        if (count <= kMostInVector) add_series<SortedVector>("sorted vector", each);
    }
}

}  // namespace pinfold::bench
