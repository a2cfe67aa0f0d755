// UNMAP_DMA: section 4 of the rules.
#include "type1/backend.hpp"
#include "type1/pin_loop.hpp"

namespace pinfold::type1 {

Result<std::uint64_t> Backend::unmap(host::Process& process, UnmapRequest const& request)
{
    if (request.dirty) TRY(check(*request.dirty, request.size));
    if (!aligned(request.iova.raw())) return fail(Errno::inval);
    auto const range = TRY(unmap_range(request));
    if (request.dirty && (!dirty_tracking_ || request.dirty->page_size != granule_))
        return fail(Errno::inval);
    if (version_ == Version::v2 && !request.all && bisects(dmas_, range)) return fail(Errno::inval);

    // In v1, a mapping that begins below the range ends the walk before it starts (rule U-6).
    auto const first = first_ending_from(dmas_, range.start);
    if (first == dmas_.end() || first->second.range.start < range.start) return 0;
    if (request.invalidate_vaddr) return invalidate_vaddrs(first, range);
    return remove_range(process, request, first, range);
}

Result<IovaRange> Backend::unmap_range(UnmapRequest const& request) const
{
    if (request.all) {
        if (request.iova != Iova{0} || request.size != 0) return fail(Errno::inval);
        return IovaRange{Iova{0}, Iova{~std::uint64_t{0}}};
    }
    if (!aligned(request.size)) return fail(Errno::inval);
    return IovaRange::of(request.iova, request.size);
}

// Rule U-11: all of them, or none.
Result<std::uint64_t> Backend::invalidate_vaddrs(Dmas::iterator first, IovaRange range)
{
    std::uint64_t marked = 0;
    for (auto position = first; position != dmas_.end(); ++position) {
        Dma& dma = position->second;
        if (dma.range.start > range.last) break;
        if (dma.vaddr_invalid) {
            for (auto undo = first; undo != position; ++undo) validate_vaddr(undo->second);
            return fail(Errno::inval);
        }
        dma.vaddr_invalid = true;
        ++invalid_vaddrs_;
        marked += dma.range.size();
    }
    return marked;
}

// Whole mappings go, even where the last one passes the range's end (v1). EFAULT: a bitmap could
// not be written; what was removed before stays removed (rule U-9).
Result<std::uint64_t> Backend::remove_range(host::Process& process, UnmapRequest const& request,
                                            Dmas::iterator first, IovaRange range)
{
    std::uint64_t removed = 0;
    for (auto position = first; position != dmas_.end();) {
        Dma& dma = position->second;
        if (dma.range.start > range.last) break;
        if (request.dirty)
            TRY(dma.dirty.write_out(process, request.dirty->vaddr, granules(dma.range.size()),
                                    granules(dma.range.start - range.start)));
        removed += dma.range.size();
        position = remove(position);
    }
    return removed;
}

Dmas::iterator Backend::remove(Dmas::iterator position)
{
    auto* const activity = settings_.activity;
    if (activity != nullptr && activity->fullest()) activity->leaves(domains_.leaves());
    validate_vaddr(position->second);
    unpin_all(position->second, settings_.memory, domains_);
    ++dma_avail_;
    if (activity != nullptr) activity->unmapped(position->second.range.size());
    return dmas_.erase(position);
}

}  // namespace pinfold::type1
