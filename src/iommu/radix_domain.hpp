// A domain whose translations stand in a radix table of a hardware format.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "iommu/domain.hpp"
#include "pagetable/radix.hpp"

namespace pinfold::iommu {

template <pagetable::PageTableFormat F>
class RadixDomain final : public Domain {
public:
    struct Options {
        pagetable::Shape<F> shape;
        bool can_enforce_coherency;
        std::string format;
        // What every mapping permits, asked for or not.
        Prot always = Prot::none;
        // The answer where something is mapped already.
        Errno occupied = Errno::addrinuse;
    };

    // ENOMEM: no page for the root.
    static Result<std::unique_ptr<Domain>> create(Iommu const& iommu,
                                                  std::shared_ptr<pagetable::TableMemory> memory,
                                                  Options options)
    {
        std::uint64_t const page = memory->page_size().bytes();
        auto table = TRY(pagetable::RadixTable<F>::create(std::move(memory), options.shape));
        return std::unique_ptr<Domain>{
            new RadixDomain{iommu, std::move(table), page, std::move(options)}};
    }
    ~RadixDomain() override { detach_endpoints(); }

    PageSizes page_sizes() const override { return options_.shape.page_sizes; }
    IovaRange aperture() const override { return table_->aperture(); }
    std::string_view format() const override { return options_.format; }
    LeafCounts leaves() const override { return table_->leaves(); }
    std::uint64_t table_bytes() const override { return table_->table_pages() * table_page_; }
    std::optional<RawTable> raw_table() const override
    {
        return RawTable{table_->root(), table_->levels()};
    }

    bool enforce_coherency() override
    {
        if (options_.can_enforce_coherency) snoop_ = pagetable::Snoop::always;
        return options_.can_enforce_coherency;
    }

    std::optional<Leaf> walk(Iova iova) const override
    {
        auto const leaf = table_->walk(iova);
        if (!leaf) return std::nullopt;
        return Leaf{leaf->iova, leaf->paddr, leaf->prot};
    }

protected:
    Result<> map_range(Iova iova, Paddr paddr, std::uint64_t size, Prot prot, std::uint64_t& mapped,
                       Gather& gather) override
    {
        auto const done = table_->map(iova, paddr, size, prot | options_.always, snoop_, mapped);
        note_retired(gather);
        if (!done && done.error() == Errno::addrinuse) return fail(options_.occupied);
        return done;
    }
    std::uint64_t unmap_range(Iova iova, std::uint64_t size, Gather& gather, Runs* removed) override
    {
        auto const take = [&](Iova from, std::uint64_t most) { return table_->unmap(from, most); };
        std::uint64_t const bytes =
            removed == nullptr ? take(iova, size) : leaf_by_leaf(iova, size, *removed, take);
        gather.leaves = gather.leaves | page_sizes();
        note_retired(gather);
        return bytes;
    }
    // All of them at once: REQUIRES that one thread at a time uses this domain.
    void release(Retired) override { table_->release_tables(); }

private:
    RadixDomain(Iommu const& iommu, std::unique_ptr<pagetable::RadixTable<F>> table,
                std::uint64_t table_page, Options options)
        : Domain{iommu},
          table_{std::move(table)},
          table_page_{table_page},
          options_{std::move(options)}
    {
    }

    void note_retired(Gather& gather)
    {
        if (!table_->tables_retired()) return;
        gather.tables = true;
        gather.retired.count = 1;
    }

    std::unique_ptr<pagetable::RadixTable<F>> table_;
    std::uint64_t table_page_;
    Options options_;
    pagetable::Snoop snoop_ = pagetable::Snoop::as_asked;
};

}  // namespace pinfold::iommu
