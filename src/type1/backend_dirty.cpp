// Dirty tracking: section 7 of the rules. With groups that never say what they write, which are all
// there are here, every granule of every mapping is dirty at every query (rule B-5).
#include "type1/backend.hpp"
#include "type1/rollback.hpp"

namespace pinfold::type1 {

Result<> Backend::start_dirty_tracking()
{
    if (dirty_tracking_) return {};
    Rollback stop{[&] { stop_dirty_tracking(); }};
    for (auto& [iova, dma] : dmas_) dma.dirty = TRY(DirtyBitmap::of(granules(dma.range.size())));
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
    auto const range = TRY(IovaRange::of(query.iova, query.size));
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
                                granules(dma.range.start - range.start)));
        dma.dirty.reset(count);
    }
    return {};
}

}  // namespace pinfold::type1
