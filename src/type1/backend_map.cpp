// MAP_DMA: section 3 of the rules.
#include <limits>

#include "type1/backend.hpp"
#include "type1/rollback.hpp"

namespace pinfold::type1 {

Result<> Backend::map(host::Process& process, MapRequest const& request)
{
    // Size and wrap come before everything else (3.1). Before 7.3 they come later, but all that
    // they could beat is EINVAL too.
    TRY(check_wrap(request.iova.raw(), request.size));
    TRY(check_wrap(request.vaddr.raw(), request.size));
    if ((request.prot != Prot::none) == request.update_vaddr) return fail(Errno::inval);
    warn_of_coarse_granule("vfio_dma_do_map");
    if (!aligned(request.iova.raw() | request.vaddr.raw() | request.size))
        return fail(Errno::inval);
    IovaRange const range{request.iova, request.iova + (request.size - 1)};
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
    std::uint64_t const bits = request.iova.raw() | request.vaddr.raw() | request.size;
    if ((bits & (rules_.least_mapping(granule_) - 1)) != 0) return fail(Errno::inval);

    auto const cap = process.locked_memory().lock_cap();
    auto const position = dmas_
                              .try_emplace(range.start, Dma{.range = range,
                                                            .vaddr = request.vaddr,
                                                            .prot = request.prot,
                                                            .mm = process.mm(),
                                                            .lock_cap = cap,
                                                            .pins = {},
                                                            .dirty = {}})
                              .first;
    Dma& dma = position->second;
    Rollback forget{[&] {
        if (dma.mapped) take_out(dma, pinning());
        leaving_.unpin();
        dmas_.erase(position);
    }};
    if (!domains_.empty()) TRY(pin_and_map(dma, process));  // rule M-3
    if (dirty_tracking_) dma.dirty = TRY(DirtyBitmap::of(granules(range.size())));

    --dma_avail_;
    forget.commit();
    if (rules_.shares_pages()) note_exposure(dma);
    if (settings_.activity != nullptr) settings_.activity->mapped(range.size());
    return {};
}

// Leaves nothing pinned, charged or mapped if it fails.
Result<> Backend::pin_and_map(Dma& dma, host::Process& process)
{
    dma.head = dma.vaddr.raw() & settings_.memory.page_size().mask();
    bool const single = settings_.disable_hugepages;
    PinLoop loop{dma,
                 process,
                 pinning(),
                 {.batch = std::span{batch_}.first(single ? 1 : batch_.size()),
                  .chunk_pages = single ? 1 : std::numeric_limits<std::uint64_t>::max(),
                  .log = settings_.log}};
    TRY(loop.run());
    loop.commit();
    dma.mapped = true;
    return {};
}

void Backend::note_exposure(Dma const& dma)
{
    PageSize const page = settings_.memory.page_size();
    VaddrRange const memory{dma.vaddr, dma.vaddr + (dma.range.size() - 1)};
    std::uint64_t const before = dma.vaddr.raw() & page.mask();
    std::uint64_t const behind = page.mask() - (memory.last.raw() & page.mask());
    if (settings_.activity != nullptr && (before | behind) != 0)
        settings_.activity->exposure.add({memory, before, behind});
}

// Rules M-20 to M-23: nothing is pinned anew, nothing is looked at.
Result<> Backend::update_vaddr(host::Process& process, MapRequest const& request, Dma* dma)
{
    if (dma == nullptr) return fail(Errno::noent);
    if (!dma->vaddr_invalid || dma->range.start != request.iova ||
        dma->range.size() != request.size)
        return fail(Errno::inval);
    if (dma->mm != process.mm()) TRY(change_owner(*dma, process));
    dma->vaddr = request.vaddr;
    validate_vaddr(*dma);
    return {};
}

// Rule M-22.
Result<> Backend::change_owner(Dma& dma, host::Process& process)
{
    PageSize const page = settings_.memory.page_size();
    auto const charged = [&](FunctionRef<void(Paddr)> use) {
        PageLayout const layout{dma, page};
        domains_.each_run(dma.range, [&](Iova iova, Paddr paddr, std::uint64_t size) {
            std::uint64_t const offset = iova - dma.range.start;
            for (std::uint64_t done = 0; done < size;) {
                std::uint64_t const index = layout.index_of(offset + done);
                Paddr const frame{page.align_down(paddr.raw() + done)};
                // A page is met once: where its part of the mapping begins.
                if (layout.offset_of(index) == offset + done && !settings_.memory.reserved(frame))
                    use(frame);
                done = layout.offset_of(index + 1) - offset;
            }
        });
    };
    return accounts_.move(dma, process.mm(), process.locked_memory().lock_cap(), charged);
}

}  // namespace pinfold::type1
