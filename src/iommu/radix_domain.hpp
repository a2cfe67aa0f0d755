// A domain whose translations stand in a radix table of a hardware format.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "iommu/domain.hpp"
#include "iommu/iommu.hpp"
#include "pagetable/radix.hpp"

namespace pinfold::iommu {

inline pagetable::Tracking tracking(Iommu::Options const& options)
{
    return options.tracks_dirty ? pagetable::Tracking::on : pagetable::Tracking::off;
}

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
        options.shape.writers = pagetable::Writers::many;
        auto table = TRY(pagetable::RadixTable<F>::create(std::move(memory), options.shape));
        return std::unique_ptr<Domain>{
            new RadixDomain{iommu, std::move(table), std::move(options)}};
    }
    ~RadixDomain() override { detach_endpoints(); }

    PageSizes page_sizes() const override { return options_.shape.page_sizes; }
    IovaRange aperture() const override { return table_->aperture(); }
    std::string_view format() const override { return options_.format; }
    LeafCounts leaves() const override { return table_->leaves(); }
    std::uint64_t table_bytes() const override { return table_->table_bytes(); }
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

    Segments segments(IovaRange range, Access access, std::span<Segment> into) const override
    {
        Segments segments{range, access, into};
        table_->visit(range, [&](auto const& leaf) {
            return segments.add(leaf.iova, leaf.paddr, leaf.prot);
        });
        return segments;
    }

    std::optional<Leaf> access(Iova iova, Access access) override
    {
        auto const leaf = table_->access(iova, access);
        if (!leaf) return std::nullopt;
        return Leaf{leaf->iova, leaf->paddr, leaf->prot};
    }
    bool tracks_dirty() const override
    {
        return pagetable::TracksDirty<F> && options_.shape.tracking == pagetable::Tracking::on;
    }

protected:
    std::uint64_t clean_range(IovaRange range, FunctionRef<void(IovaRange)> record,
                              Gather& gather) override
    {
        if constexpr (pagetable::TracksDirty<F>) {
            pagetable::Removed gone = taken_from(gather);
            std::uint64_t const leaves = table_->read_and_clear_dirty(range, record, gone);
            put_into(gather, gone);
            return leaves;
        }
        return 0;
    }
    Result<> map_range(Iova iova, Paddr paddr, std::uint64_t size, Prot prot, std::uint64_t& mapped,
                       Gather& gather) override
    {
        pagetable::Removed gone = taken_from(gather);
        auto const done = table_->map(
            iova, paddr, size, {.prot = prot | options_.always, .snoop = snoop_}, mapped, gone);
        put_into(gather, gone);
        if (!done && done.error() == Errno::addrinuse) return fail(options_.occupied);
        return done;
    }
    std::uint64_t unmap_range(Iova iova, std::uint64_t size, Gather& gather, Runs* removed) override
    {
        pagetable::Removed gone = taken_from(gather);
        std::uint64_t const bytes =
            removed == nullptr ? table_->unmap(iova, size, gone)
                               : table_->unmap(iova, size, gone, [&](pagetable::Run const& run) {
                                     removed->add({run.iova, run.paddr, run.size});
                                 });
        put_into(gather, gone);
        return bytes;
    }
    void release(Retired retired) override
    {
        pagetable::Removed gone{{}, {Paddr{retired.first}, retired.count}};
        table_->release(gone);
    }

private:
    RadixDomain(Iommu const& iommu, std::unique_ptr<pagetable::RadixTable<F>> table,
                Options options)
        : Domain{iommu}, table_{std::move(table)}, options_{std::move(options)}
    {
    }

    // A gather keeps the tables of all its calls in one list.
    static pagetable::Removed taken_from(Gather& gather)
    {
        Retired const before = std::exchange(gather.retired, {});
        return {{}, {Paddr{before.first}, before.count}};
    }
    static void put_into(Gather& gather, pagetable::Removed const& gone)
    {
        gather.retired = {gone.tables.first().raw(), gone.tables.count()};
        gather.tables = gather.tables || gone.flush.table_levels != 0;
        gather.leaves = gather.leaves | gone.flush.leaves;
        if (gone.flush.range) gather.add(*gone.flush.range);
    }

    std::unique_ptr<pagetable::RadixTable<F>> table_;
    Options options_;
    pagetable::Snoop snoop_ = pagetable::Snoop::as_asked;
};

}  // namespace pinfold::iommu
