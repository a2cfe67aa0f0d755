// Dirty tracking: section 7 of the rules.
#include <algorithm>

#include "type1/backend.hpp"
#include "type1/rollback.hpp"

namespace pinfold::type1 {

Result<> Backend::start_dirty_tracking()
{
    if (dirty_tracking_) return {};
    Rollback stop{[&] { stop_dirty_tracking(); }};
    for (auto& [iova, dma] : dmas_) {
        dma.dirty = TRY(DirtyBitmap::of(granules(dma.range.size())));
        mark_pinned(dma);
    }
    dirty_tracking_ = true;
    stop.commit();
    return {};
}

void Backend::stop_dirty_tracking()
{
    for (auto& [iova, dma] : dmas_) dma.dirty = {};
    dirty_tracking_ = false;
}

Result<> Backend::dirty_bitmap(host::Process& process, DirtyQuery const& query)
{
    TRY(check_wrap(query.iova.raw(), query.size));
    IovaRange const range{query.iova, query.iova + (query.size - 1)};
    // Older kernels add where 7.3 compares, and take an end at the top for a wrap (rule M-29).
    if (settings_.kernel < Kernel::v7_3 && range.last == Iova{~std::uint64_t{0}})
        return fail(Errno::inval);
    TRY(check(query.bitmap, query.size));
    if (query.bitmap.page_size != granule_) return fail(Errno::inval);
    if (!aligned(query.iova.raw() | query.size)) return fail(Errno::inval);
    if (!dirty_tracking_) return fail(Errno::inval);
    if (bisects(dmas_, range)) return fail(Errno::inval);

    for (auto position = dmas_.lower_bound(range.start); position != dmas_.end(); ++position) {
        Dma& dma = position->second;
        if (dma.range.start > range.last) break;
        std::uint64_t const count = granules(dma.range.size());
        TRY(dma.dirty.write_out(process, query.bitmap.vaddr, count,
                                granules(dma.range.start - range.start), all_dirty(dma)));
        dma.dirty.reset(count);
        mark_pinned(dma);
    }
    return {};
}

// Rule B-5: some group never says what it writes.
bool Backend::all_dirty(Dma const& dma) const
{
    return dma.mapped && !std::ranges::all_of(groups_, &Group::pinned_page_dirty_scope);
}

void Backend::mark_dirty(Dma& dma, std::uint64_t offset, std::uint64_t size)
{
    std::uint64_t const first = granules(offset);
    dma.dirty.mark(first, granules(offset + (size - 1)) - first + 1, granules(dma.range.size()));
}

// What a driver holds may be written at any time (rule B-6).
void Backend::mark_pinned(Dma& dma)
{
    for (auto const& [iova, pin] : dma.pins)
        mark_dirty(dma, iova - dma.range.start, settings_.memory.page_size().bytes());
}

}  // namespace pinfold::type1
