// UNMAP_DMA: section 4 of the rules.
#include "type1/backend.hpp"
#include "type1/rollback.hpp"

namespace pinfold::type1 {
namespace {

// How often a driver is asked to let a mapping's pages go before they are taken from it.
constexpr int kMostRounds = 10;

}  // namespace

Result<std::uint64_t> Backend::unmap(host::Process& process, UnmapRequest const& request,
                                     Notify notify)
{
    if (request.dirty) TRY(check(*request.dirty, request.size));
    if (request.invalidate_vaddr && has_emulated()) return fail(Errno::busy);
    if (!aligned(request.iova.raw())) return fail(Errno::inval);
    auto const range = TRY(unmap_range(request));
    if (request.dirty && (!dirty_tracking_ || request.dirty->page_size != granule_))
        return fail(Errno::inval);
    warn_of_coarse_granule("vfio_dma_do_unmap");
    if (version_ == Version::v2 && !request.all && bisects(dmas_, range)) return fail(Errno::inval);

    if (request.invalidate_vaddr) return invalidate_vaddrs(first_within(range), range);
    Rollback settle{[&] { leaving_.unpin(); }};  // what has been removed, whatever happens then
    return remove_range(process, request, range, notify);
}

Result<IovaRange> Backend::unmap_range(UnmapRequest const& request) const
{
    if (request.all) {
        if (request.iova != Iova{0} || request.size != 0) return fail(Errno::inval);
        return IovaRange{Iova{0}, Iova{~std::uint64_t{0}}};
    }
    if (!aligned(request.size)) return fail(Errno::inval);
    TRY(check_wrap(request.iova.raw(), request.size));
    return IovaRange{request.iova, request.iova + (request.size - 1)};
}

// The first mapping that an unmap of `range` removes. In v1, a mapping that begins below the range
// ends the walk before it starts (rule U-6).
Dmas::iterator Backend::first_within(IovaRange range)
{
    auto const first = first_ending_from(dmas_, range.start);
    if (first == dmas_.end() || first->second.range.start < range.start) return dmas_.end();
    return first;
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
                                            IovaRange range, Notify notify)
{
    std::uint64_t removed = 0;
    auto position = first_within(range);
    while (position != dmas_.end() && position->second.range.start <= range.last) {
        Dma& dma = position->second;
        if (!dma.pins.empty()) {
            leaving_.unpin();
            let_go(dma.range.start, notify);
            if (version_ == Version::v2 && !request.all && bisects(dmas_, range)) break;
            position = first_within(range);
            continue;
        }
        if (request.dirty)
            TRY(dma.dirty.write_out(process, request.dirty->vaddr, granules(dma.range.size()),
                                    granules(dma.range.start - range.start), all_dirty(dma)));
        removed += dma.range.size();
        position = remove(position);
    }
    return removed;
}

// Rule U-10. `notify` lets other calls in: the mapping is looked up anew after each round.
void Backend::let_go(Iova start, Notify notify)
{
    for (int round = 0;; ++round) {
        auto const found = dmas_.find(start);
        if (found == dmas_.end() || found->second.pins.empty()) return;
        if (round == kMostRounds) return drop_pins(found->second);
        notify(found->second.range);
    }
}

Dmas::iterator Backend::remove(Dmas::iterator position)
{
    Dma& dma = position->second;
    auto* const activity = settings_.activity;
    if (activity != nullptr && activity->fullest()) activity->leaves(domains_.leaves());
    validate_vaddr(dma);
    if (dma.mapped) take_out(dma, pinning());
    dma.mapped = false;
    drop_pins(dma);
    ++dma_avail_;
    if (activity != nullptr) activity->unmapped(dma.range.size());
    return dmas_.erase(position);
}

}  // namespace pinfold::type1
