// MAP_DMA: section 3 of the rules.
#include <limits>

#include "type1/backend.hpp"
#include "type1/pin_loop.hpp"
#include "type1/rollback.hpp"

namespace pinfold::type1 {

Result<> Backend::map(host::Process& process, MapRequest const& request)
{
    // Size and wrap come before everything else: EINVAL, EOVERFLOW (3.1).
    auto const range = TRY(IovaRange::of(request.iova, request.size));
    TRY(VaddrRange::of(request.vaddr, request.size));
    if ((request.prot != Prot::none) == request.update_vaddr) return fail(Errno::inval);
    if (!aligned(request.iova.raw() | request.vaddr.raw() | request.size))
        return fail(Errno::inval);
    Dma* const there = overlapping(dmas_, range);
    if (request.update_vaddr) return update_vaddr(process, request, there);
    if (there != nullptr) return fail(Errno::exist);
    if (dma_avail_ == 0) return fail(Errno::nospc);
    if (!iova_ranges_.admits(range)) return fail(Errno::inval);
    return add(process, request, range);
}

Result<> Backend::add(host::Process& process, MapRequest const& request, IovaRange range)
{
    // Domains without a page size in common leave a granule of one byte (rule T-4); pages are
    // pinned whole, and no IOMMU maps less.
    if (!settings_.memory.page_size().aligned(request.iova.raw() | request.vaddr.raw() |
                                              request.size))
        return fail(Errno::inval);

    auto const cap = process.locked_memory().lock_cap();
    auto const position = dmas_
                              .try_emplace(range.start, Dma{.range = range,
                                                            .vaddr = request.vaddr,
                                                            .prot = request.prot,
                                                            .owner = &process,
                                                            .lock_cap = cap,
                                                            .dirty = {}})
                              .first;
    Rollback forget{[&] { dmas_.erase(position); }};
    Dma& dma = position->second;
    bool const single = settings_.disable_hugepages;
    PinLoop loop{dma,
                 settings_.memory,
                 domains_,
                 {.batch = std::span{batch_}.first(single ? 1 : batch_.size()),
                  .chunk_pages = single ? 1 : std::numeric_limits<std::uint64_t>::max()}};
    TRY(loop.run());
    if (dirty_tracking_) dma.dirty = TRY(DirtyBitmap::of(granules(range.size())));

    --dma_avail_;
    loop.commit();
    forget.commit();
    if (settings_.activity != nullptr) settings_.activity->mapped(range.size());
    return {};
}

// Rules M-20 to M-23: nothing is pinned anew, nothing is looked at.
Result<> Backend::update_vaddr(host::Process& process, MapRequest const& request, Dma* dma)
{
    if (dma == nullptr) return fail(Errno::noent);
    if (!dma->vaddr_invalid || dma->range.start != request.iova ||
        dma->range.size() != request.size)
        return fail(Errno::inval);
    if (dma->owner != &process) {
        auto const cap = process.locked_memory().lock_cap();
        TRY(process.locked_memory().charge(dma->locked_pages, cap));
        dma->owner->locked_memory().uncharge(dma->locked_pages);
        dma->owner = &process;
        dma->lock_cap = cap;
    }
    dma->vaddr = request.vaddr;
    validate_vaddr(*dma);
    return {};
}

}  // namespace pinfold::type1
