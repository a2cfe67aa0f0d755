#include "iommu/domain.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

#include "base/read_section.hpp"
#include "iommu/endpoint.hpp"
#include "iommu/iommu.hpp"
#include "iommu/observer.hpp"

namespace pinfold::iommu {
Domain::Domain(Iommu const& iommu)
    : iommu_{&iommu}, tag_{iommu.next_tag()}, observer_{iommu.options().observer}
{
}

Domain::~Domain() { assert(endpoints_.empty()); }

// Rules. Size 0 is refused, as the newest kernels do.
Result<> Domain::map(Iova iova, Paddr paddr, std::uint64_t size, Prot prot)
{
    if (prot == Prot::none || size == 0) return fail(Errno::inval);
    PageSize const smallest = page_sizes().smallest();
    if (!smallest.aligned(iova.raw() | paddr.raw() | size)) {
        if (observer_ != nullptr) observer_->unaligned(iova, paddr, size, smallest);
        return fail(Errno::inval);
    }

    std::uint64_t mapped = 0;
    Gather gather;
    auto const done = map_range(iova, paddr, size, prot, mapped, gather);
    // Tables that leaves have replaced go before anybody can rely on the leaves.
    if (gather.tables && mapped != 0) gather.add({iova, iova + (mapped - 1)});
    if (!done)
        unmap(iova, mapped, gather);
    else if (observer_ != nullptr)
        observer_->mapped(iova, paddr, size);
    sync(gather);
    return done;
}

std::uint64_t Domain::unmap(Iova iova, std::uint64_t size, Gather& gather)
{
    return unmap(iova, size, gather, nullptr);
}

std::uint64_t Domain::unmap(Iova iova, std::uint64_t size, Gather& gather, Runs::Use removed)
{
    Runs runs{removed};
    return unmap(iova, size, gather, &runs);
}

// Rule X-9.
std::uint64_t Domain::unmap(Iova iova, std::uint64_t size, Gather& gather, Runs* removed)
{
    PageSize const smallest = page_sizes().smallest();
    if (!smallest.aligned(iova.raw() | size)) {
        if (observer_ != nullptr) observer_->unaligned(iova, std::nullopt, size, smallest);
        return 0;
    }
    std::uint64_t const bytes = size == 0 ? 0 : unmap_range(iova, size, gather, removed);
    if (bytes != 0) gather.add({iova, Iova{iova.raw() + (bytes - 1)}});
    if (observer_ != nullptr) observer_->unmapped(iova, size, bytes);
    return bytes;
}

std::uint64_t Domain::leaf_by_leaf(Iova iova, std::uint64_t size, Runs& removed,
                                   FunctionRef<std::uint64_t(Iova, std::uint64_t)> unmap) const
{
    std::uint64_t bytes = 0;
    while (bytes < size) {
        Iova const here{iova.raw() + bytes};
        auto const leaf = walk(here);
        if (!leaf) break;
        std::uint64_t const rest = leaf->iova.last - here;
        std::uint64_t const gone = unmap(here, std::min(rest, size - bytes - 1) + 1);
        if (gone == 0) break;
        removed.add({here, leaf->paddr + (here - leaf->iova.start), gone});
        bytes += gone;
    }
    return bytes;
}

// The order is the contract: leaves are gone from the table; then from the IOTLBs; then from every
// access that had already looked them up; and only then tables are freed and frames unpinned.
void Domain::sync(Gather& gather)
{
    auto const gathered = std::exchange(gather, {});
    if (gathered.empty()) return;
    if (gathered.range) invalidate({*gathered.range, gathered.leaves, gathered.tables});
    wait();
    release(gathered.retired);
}

void Domain::invalidate(Invalidation const& what)
{
    if (commands() != nullptr) tell_unit(what);
    if (iommu_ != nullptr && iommu_->options().omit.invalidation) return;
    std::lock_guard const lock{endpoints_mutex_};
    for (Endpoint* const endpoint : endpoints_) endpoint->iotlb().invalidate(what);
}

// In the unit's own words, to the point where it says that it is done.
void Domain::tell_unit(Invalidation const& what) const
{
    auto const issue = [this](Command const& command) { commands()->submit(command); };
    switch (iommu_->options().model) {
        case Model::vtd: vtd::invalidate(tag_, what, {}, issue); return vtd::wait(issue);
        case Model::amdvi: amd::invalidate(tag_, what, issue); return amd::wait(issue);
        case Model::smmuv3:
            smmu::invalidate(tag_, what, {.granule = page_sizes().smallest()}, issue);
            return smmu::wait(issue);
        default: return;  // told before, or nothing to tell
    }
}

void Domain::wait() const
{
    if (iommu_ == nullptr || !iommu_->options().omit.grace_period) wait_for_readers();
}

CommandQueue* Domain::commands() const
{
    return iommu_ == nullptr ? nullptr : iommu_->options().commands;
}

// Entries that were cached before ask nobody: they go.
Result<> Domain::start_write_log(std::uint64_t most_blocks)
{
    if (log_owner_) return fail(Errno::busy);
    log_owner_ = TRY(WriteLog::create(most_blocks));
    log_ = log_owner_.get();
    invalidate({aperture(), {}, false});
    wait();
    return {};
}

void Domain::stop_write_log()
{
    log_ = nullptr;
    invalidate({aperture(), {}, false});
    wait();
    log_owner_.reset();
}

// Entries that know of a page as written would keep the next write to it from being noted.
void Domain::take_written(IovaRange range, std::span<std::uint64_t> written)
{
    log_owner_->flip(range);
    invalidate({range, {}, false});
    wait();
    log_owner_->take(range, written);
}

Result<std::uint64_t> Domain::read_and_clear_dirty(IovaRange range,
                                                   FunctionRef<void(IovaRange)> record)
{
    if (!tracks_dirty()) return fail(Errno::opnotsupp);
    Gather gather;
    std::uint64_t const leaves = clean_range(range, record, gather);
    sync(gather);
    return leaves;
}

void Domain::note_written(Iova iova, std::uint64_t size)
{
    if (WriteLog* const log = log_.load(std::memory_order_acquire)) log->mark(iova, size);
}

std::optional<Paddr> Domain::iova_to_phys(Iova iova) const
{
    auto const leaf = walk(iova);
    if (!leaf) return std::nullopt;
    return leaf->paddr + (iova - leaf->iova.start);
}

// Leaf by leaf, for back ends that have no better way.
Segments Domain::segments(IovaRange range, Access access, std::span<Segment> into) const
{
    Segments segments{range, access, into};
    for (auto leaf = walk(range.start); leaf && segments.add(leaf->iova, leaf->paddr, leaf->prot);
         leaf = walk(leaf->iova.last + 1))
        if (leaf->iova.last >= range.last) break;
    return segments;
}

void Domain::add(Endpoint& endpoint)
{
    std::lock_guard const lock{endpoints_mutex_};
    endpoints_.push_back(&endpoint);
}

void Domain::remove(Endpoint& endpoint)
{
    std::lock_guard const lock{endpoints_mutex_};
    std::erase(endpoints_, &endpoint);
}

void Domain::detach_endpoints()
{
    std::unique_lock lock{endpoints_mutex_};
    auto const endpoints = std::exchange(endpoints_, {});
    lock.unlock();
    for (Endpoint* const endpoint : endpoints) endpoint->switch_to(nullptr);
    // Even without endpoints: a walk may be under way.
    wait_for_readers();
}

}  // namespace pinfold::iommu
