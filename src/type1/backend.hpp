// What a container has between SET_IOMMU and the departure of its last group: the mappings, the
// domains they are in, the IOVA ranges, the page sizes and the counters. Order of checks is ABI.
// One source file for each section of the rules. Not thread safe: the container's mutex guards it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "type1/accounts.hpp"
#include "type1/dma.hpp"
#include "type1/domains.hpp"
#include "type1/iova_ranges.hpp"
#include "type1/pin_loop.hpp"
#include "type1/requests.hpp"
#include "type1/settings.hpp"

namespace pinfold::type1 {

class Backend {
public:
    Backend(Settings const& settings, Version version, Nesting nesting);
    ~Backend();
    Backend(Backend const&) = delete;
    Backend& operator=(Backend const&) = delete;

    // Rules 6.2. EBUSY: some mapping waits for its new vaddr. ENOMEM. EINVAL: what is mapped does
    // not fit the group's aperture or reserved regions, or its IOMMU's pages; no IOVA is left; the
    // IOMMU cannot nest and should. EPERM: no MSI isolation. The group is blocked then, and nothing
    // else has changed. `caller` is whose memory is pinned where nothing was (rule P-17); nullptr:
    // the memory of whoever mapped.
    Result<> attach(Group& group, host::Process* caller);
    // Rules 6.4. Blocks the group first. With the last one goes every mapping.
    void detach(Group& group);

    bool coherent() const { return domains_.enforce_coherency(); }
    bool has_emulated() const;
    Info info() const;
    Result<> map(host::Process& process, MapRequest const& request);
    // The bytes of the mappings that were removed, or marked. `notify` tells the drivers that hold
    // pages of a mapping to let them go; the container's mutex is released meanwhile (rule U-10).
    using Notify = FunctionRef<void(IovaRange range)>;
    Result<std::uint64_t> unmap(host::Process& process, UnmapRequest const& request, Notify notify);

    Result<> start_dirty_tracking();
    void stop_dirty_tracking();
    Result<> dirty_bitmap(host::Process& process, DirtyQuery const& query);

    // Rules P-14 and P-15, B-6 and B-7, on behalf of a driver of `group`; pages[i] becomes the
    // frame at `iova` + i pages. EINVAL: no page, or not aligned to one; nothing is mapped there;
    // no driver could be told of an unmap. EACCES: version 1. EBUSY: some mapping waits for its new
    // vaddr. EPERM: a right of `prot` is missing. ENODEV: the process that mapped has gone. ENOMEM
    // at the limit, and what a look-up answers. All or nothing.
    Result<> pin_pages(Group& group, Iova iova, Prot prot, std::span<Paddr> pages, bool can_notify);
    void unpin_pages(Iova iova, std::uint64_t pages);
    // EINVAL: nothing is mapped there. EPERM: a right is missing (a write wants both), or the
    // process has gone. EFAULT. EBUSY as above. Bytes before an error are copied.
    Result<> dma_read(Iova iova, std::span<std::byte> into);
    Result<> dma_write(Iova iova, std::span<std::byte const> from);

private:
    Result<> take_into_domain(Group& group, std::unique_ptr<iommu::Domain> fresh,
                              std::span<IovaRange const> ranges, host::Process* caller);
    Result<> pin_all(host::Process* caller);
    Result<> pin_and_map(Dma& dma, host::Process& process);
    Result<IovaRanges> ranges_with(Group const& group, IovaRange aperture);
    std::size_t most_ranges() const;
    void update_page_sizes();
    void detach_real(Group& group);
    void unmap_all();

    Result<> update_vaddr(host::Process& process, MapRequest const& request, Dma* dma);
    Result<> change_owner(Dma& dma, host::Process& process);
    Result<> add(host::Process& process, MapRequest const& request, IovaRange range);
    void note_exposure(Dma const& dma);

    Result<IovaRange> unmap_range(UnmapRequest const& request) const;
    Dmas::iterator first_within(IovaRange range);
    Result<std::uint64_t> invalidate_vaddrs(Dmas::iterator first, IovaRange range);
    Result<std::uint64_t> remove_range(host::Process& process, UnmapRequest const& request,
                                       IovaRange range, Notify notify);
    void let_go(Iova start, Notify notify);
    Dmas::iterator remove(Dmas::iterator position);
    void validate_vaddr(Dma& dma);

    Result<Paddr> pin_page(Iova iova, Prot prot);
    Result<Paddr> pin_new_page(Dma& dma, Iova iova, Vaddr vaddr);
    Result<> charge_page(Dma& dma, Paddr page, host::Process const& process);
    void unpin_page(Dma& dma, Iova iova);
    void drop_pins(Dma& dma);
    Result<Dma*> reachable(Iova iova, Prot prot);

    void mark_dirty(Dma& dma, std::uint64_t offset, std::uint64_t size);
    void mark_pinned(Dma& dma);
    bool all_dirty(Dma const& dma) const;

    Result<> check_wrap(std::uint64_t start, std::uint64_t size) const;
    void warn_of_coarse_granule(char const* function) const;
    bool aligned(std::uint64_t raw) const { return (raw & (granule_ - 1)) == 0; }
    std::uint64_t granules(std::uint64_t bytes) const { return bytes / granule_; }
    Pinning pinning() { return {settings_.memory, domains_, accounts_, leaving_}; }

    Settings const& settings_;
    Version version_;
    Nesting nesting_;
    PageRules rules_;
    Dmas dmas_;
    std::vector<Group*> groups_;
    Domains domains_;
    Leaving leaving_;
    Accounts accounts_;
    IovaRanges iova_ranges_;
    PageSizes page_sizes_;   // R
    std::uint64_t granule_;  // G
    unsigned dma_avail_;
    std::uint64_t invalid_vaddrs_ = 0;
    bool dirty_tracking_ = false;
    std::vector<Paddr> batch_;
};

}  // namespace pinfold::type1
