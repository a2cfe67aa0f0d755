// G7: single pages, none beside another, one call for each: into nothing and back to nothing.
#include "iommu/domain.hpp"
#include "iommu/iommu.hpp"
#include "measure.hpp"

namespace pinfold::bench {
namespace {

using benchmark::State;

enum class Order { ascending, any };

std::vector<std::uint64_t> every_other_page(Order order)
{
    std::vector<std::uint64_t> pages(65536);
    for (std::size_t page = 0; page < pages.size(); ++page)
        pages[page] = kGiB + 2 * page * kPageBytes;
    if (order == Order::any) std::ranges::shuffle(pages, std::mt19937_64{1});
    return pages;
}

// What a domain has for its tables, and a DmaMap in it: no lock, owners or readers. As the tables
// of hardware formats are measured, memory that went is released later.
class BareIndex {
public:
    bool map(std::uint64_t iova, std::uint64_t address, std::uint64_t size)
    {
        IovaRange const range{Iova{iova}, Iova{iova + (size - 1)}};
        return index_
            ->map(range, native::Entry::leaf(range.start, Paddr{address}, Prot::read_write))
            .has_value();
    }
    bool unmap(std::uint64_t iova, std::uint64_t size)
    {
        IovaRange const range{Iova{iova}, Iova{iova + (size - 1)}};
        return index_->unmap(range, [](native::Mapping const&) {}) == size;
    }
    void release() { index_->release(); }

private:
    std::unique_ptr<native::Index> index_ = native::Index::create().value();
};

// The same behind iommu/'s interface of all domains: alignment, a lock, a gather for the IOTLBs.
class WholeDomain {
public:
    bool map(std::uint64_t iova, std::uint64_t address, std::uint64_t size)
    {
        return domain_->map(Iova{iova}, Paddr{address}, size, Prot::read_write).has_value();
    }
    bool unmap(std::uint64_t iova, std::uint64_t size)
    {
        return domain_->unmap(Iova{iova}, size, gather_) == size;
    }
    void release() { domain_->sync(gather_); }

private:
    std::unique_ptr<iommu::Iommu> unit_ = iommu::Iommu::create({.model = iommu::Model::native,
                                                                .page_sizes = PageSizes{~0xfffULL},
                                                                .address_width = 48,
                                                                .reserved = {}})
                                              .value();
    std::unique_ptr<iommu::Domain> domain_ = unit_->create_domain().value();
    iommu::Gather gather_;
};

// What it takes to map is an iteration's time, and what it takes to unmap a counter.
template <class Container>
void pages_one_by_one(State& state, Order order)
{
    auto const pages = every_other_page(order);
    Container container;
    (void)container.map(kMiB, kMemory, kPageBytes);  // an empty map gives its memory back
    double unmapping = 0;
    bool all = true;
    for (auto _ : state) {
        state.SetIterationTime(timed([&] {
            for (auto const at : pages) all &= container.map(at, kMemory, kPageBytes);
        }));
        unmapping += timed([&] {
            for (auto const at : pages) all &= container.unmap(at, kPageBytes);
        });
        if constexpr (requires { container.release(); }) container.release();
    }
    if (!all) state.SkipWithError("refused");
    auto const count = static_cast<double>(pages.size());
    items(state, count);
    state.counters["unmap"] = unmapping * 1e9 / count /
                              static_cast<double>(std::max<std::int64_t>(1, state.iterations()));
}

constexpr std::pair<Order, char const*> kOrders[] = {{Order::ascending, "ascending"},
                                                     {Order::any, "any order"}};

template <class Container>
void add_container(std::string const& name)
{
    for (auto const& [order, how] : kOrders)
        add("pages of " + name + ", " + how, pages_one_by_one<Container>, order)
            ->UseManualTime()
            ->Iterations(3);
}

}  // namespace

void add_pages()
{
    add_container<BareIndex>("the index");
    add_container<WholeDomain>("a domain");
    add_container<Native>("native");
    add_container<NativeOfOne>("one writer");
    add_container<AbslBtree>("btree_map");
    add_container<StdMap>("std::map");
}

std::vector<Goal> page_goals()
{
    std::vector<Goal> all;
    std::pair<char const*, char const*> const whats[] = {{"the index", "index alone: "},
                                                         {"a domain", "a domain of it: "},
                                                         {"native", "call of a DmaMap: "},
                                                         {"one writer", "by the only writer: "}};
    for (auto const& [what, whose] : whats)
        for (auto const& [order, how] : kOrders)
            for (std::string const verb : {"map", "unmap"}) {
                std::string const counter = verb == "map" ? "" : ".unmap";
                std::string const end = std::string{", "} + how + counter;
                bool const bare = what == whats[0].first;
                double const goal = bare && order == Order::ascending ? 5 : 0;
                all.push_back({"G7", whose + verb + " 4K, " + how,
                               std::string{"pages of "} + what + end, goal,
                               "pages of btree_map" + end});
            }
    return all;
}

}  // namespace pinfold::bench
