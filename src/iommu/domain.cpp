#include "iommu/domain.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

#include "base/read_section.hpp"
#include "iommu/endpoint.hpp"
#include "iommu/iommu.hpp"
#include "iommu/observer.hpp"

namespace pinfold::iommu {

void Gather::add(IovaRange removed)
{
    if (!range)
        range = removed;
    else
        range =
            IovaRange{std::min(range->start, removed.start), std::max(range->last, removed.last)};
}

Domain::Domain(Iommu const& iommu) : iommu_{&iommu}, observer_{iommu.options().observer} {}

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
    auto const done = map_range(iova, paddr, size, prot, mapped);
    if (done) {
        if (observer_ != nullptr) observer_->mapped(iova, paddr, size);
        return {};
    }
    Gather gather;
    unmap(iova, mapped, gather);
    sync(gather);
    return done;
}

// Rule X-9.
std::uint64_t Domain::unmap(Iova iova, std::uint64_t size, Gather& gather)
{
    PageSize const smallest = page_sizes().smallest();
    if (!smallest.aligned(iova.raw() | size)) {
        if (observer_ != nullptr) observer_->unaligned(iova, std::nullopt, size, smallest);
        return 0;
    }
    std::uint64_t const bytes = size == 0 ? 0 : unmap_range(iova, size, gather);
    if (bytes != 0) gather.add({iova, Iova{iova.raw() + (bytes - 1)}});
    if (observer_ != nullptr) observer_->unmapped(iova, size, bytes);
    return bytes;
}

// The order is the contract: leaves are gone from the table; then from the IOTLBs; then from every
// access that had already looked them up; and only then tables are freed and frames unpinned.
void Domain::sync(Gather& gather)
{
    auto const gathered = std::exchange(gather, {});
    if (!gathered.range && !gathered.tables) return;
    if (gathered.range) {
        std::lock_guard const lock{endpoints_mutex_};
        for (Endpoint* const endpoint : endpoints_) endpoint->iotlb().invalidate(*gathered.range);
    }
    wait_for_readers();
    release_tables();
}

std::optional<Paddr> Domain::iova_to_phys(Iova iova) const
{
    auto const leaf = walk(iova);
    if (!leaf) return std::nullopt;
    return leaf->paddr + (iova - leaf->iova.start);
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
