// What a container has between SET_IOMMU and the departure of its last group: the mappings, the
// domains they are in, the IOVA ranges, the page sizes and the counters. Order of checks is ABI.
// Not thread safe: the container's mutex guards it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "type1/dma.hpp"
#include "type1/domains.hpp"
#include "type1/iova_ranges.hpp"
#include "type1/requests.hpp"
#include "type1/settings.hpp"

namespace pinfold::type1 {

class Backend {
public:
    Backend(Settings const& settings, Version version);
    ~Backend();
    Backend(Backend const&) = delete;
    Backend& operator=(Backend const&) = delete;

    // Rules 6.2. EBUSY: some mapping waits for its new vaddr. ENOMEM. EINVAL: what is mapped does
    // not fit the group's aperture or reserved regions, or its IOMMU's pages; no IOVA is left.
    // EPERM: no MSI isolation. The group is blocked then, and nothing else has changed.
    Result<> attach(Group& group);
    // Rules 6.4. Blocks the group first. With the last one goes every mapping.
    void detach(Group& group);

    bool coherent() const { return domains_.enforce_coherency(); }
    Info info() const;
    Result<> map(host::Process& process, MapRequest const& request);
    // The bytes of the mappings that were removed, or marked.
    Result<std::uint64_t> unmap(host::Process& process, UnmapRequest const& request);

    Result<> start_dirty_tracking();
    void stop_dirty_tracking();
    Result<> dirty_bitmap(host::Process& process, DirtyQuery const& query);

private:
    Result<> attach_fresh(Group& group);
    Result<IovaRanges> ranges_with(Group const& group, IovaRange aperture);
    std::size_t most_ranges() const;
    void update_page_sizes();

    Result<> update_vaddr(host::Process& process, MapRequest const& request, Dma* dma);
    Result<> add(host::Process& process, MapRequest const& request, IovaRange range);
    Result<IovaRange> unmap_range(UnmapRequest const& request) const;
    Result<std::uint64_t> invalidate_vaddrs(Dmas::iterator first, IovaRange range);
    Result<std::uint64_t> remove_range(host::Process& process, UnmapRequest const& request,
                                       Dmas::iterator first, IovaRange range);
    Dmas::iterator remove(Dmas::iterator position);
    void validate_vaddr(Dma& dma);
    bool aligned(std::uint64_t raw) const { return (raw & (granule_ - 1)) == 0; }
    std::uint64_t granules(std::uint64_t bytes) const { return bytes / granule_; }

    Settings const& settings_;
    Version version_;
    Dmas dmas_;
    std::vector<Group*> groups_;
    Domains domains_;
    IovaRanges iova_ranges_;
    PageSizes page_sizes_;   // R
    std::uint64_t granule_;  // G
    unsigned dma_avail_;
    std::uint64_t invalid_vaddrs_ = 0;
    bool dirty_tracking_ = false;
    std::vector<Paddr> batch_;
};

}  // namespace pinfold::type1
