// How mappings of a DmaMap go.
#include "native/dma_map.hpp"

namespace pinfold {

using native::Index;

// The part of a range in which mappings can be.
std::optional<IovaRange> DmaMap::known(IovaRange range) const
{
    return range.intersection({Iova{0}, last_iova_});
}

inline void DmaMap::discharge(IovaRange iova, Index::Tag const& tag)
{
    auto const [view, owner] = tag;
    if (view != 0) {
        ++reinterpret_cast<native::View*>(view)->leaving;
        views_left_ = true;
    }
    unsettled_ = true;
    Usage& used = accounts_[owner].used;
    used.bytes -= iova.size();
    --used.mappings;
}

void DmaMap::remove(Index::Held const& held)
{
    auto const tag = index_->tag(held);
    index_->remove(held);
    discharge(held.mapping.iova, tag);
}

// One whole mapping, as nearly always. False: `range` is none.
inline bool DmaMap::take_one(IovaRange range)
{
    if (auto const gone = index_->remove_pages(range)) [[likely]] {
        discharge(range, gone->tag);
        return true;
    }
    auto const held = index_->held_at(range.start);
    if (!held || held->mapping.iova != range) return false;
    remove(*held);
    return true;
}

// What unmap() takes of one range.
inline Result<std::uint64_t> DmaMap::take_whole(IovaRange range)
{
    if (range.last <= last_iova_ && take_one(range)) [[likely]]
        return range.size();
    TRY(cuts_nothing(range));
    return take(range);
}

Result<IovaRange> DmaMap::unmappable(Iova iova, std::uint64_t size) const
{
    if (!aligned(iova.raw() | size)) return fail(Errno::inval);
    return IovaRange::of(iova, size);
}

Result<std::uint64_t> DmaMap::unmap(Iova iova, std::uint64_t size, DmaReader* self)
{
    auto const range = TRY(unmappable(iova, size));
    Call const call{*this, self};
    std::uint64_t const bytes = TRY(take_whole(range));
    settle(self);
    return bytes;
}

Result<std::uint64_t> DmaMap::unmap(std::span<IovaRange const> ranges, DmaReader* self)
{
    for (IovaRange const range : ranges)
        if (!aligned(range.start.raw() | range.size()) || range.last < range.start)
            return fail(Errno::inval);
    Call const call{*this, self};
    for (IovaRange const range : ranges) TRY(cuts_nothing(range));
    std::uint64_t bytes = 0;
    for (IovaRange const range : ranges) bytes += take(range);
    settle(self);
    return bytes;
}

std::uint64_t DmaMap::unmap_all(DmaReader* self)
{
    Call const call{*this, self};
    std::uint64_t const bytes = take({Iova{0}, last_iova_});
    settle(self);
    return bytes;
}

Result<> DmaMap::cuts_nothing(IovaRange range) const
{
    auto const inside = known(range);
    if (!inside) return {};
    for (Iova const end : {inside->start, inside->last}) {
        auto const held = index_->held_at(end);
        if (held && !inside->contains(held->mapping.iova)) return fail(Errno::inval);
    }
    return {};
}

// The bytes that went. REQUIRES: cuts_nothing(range).
std::uint64_t DmaMap::take(IovaRange range)
{
    auto const inside = known(range);
    if (!inside) return 0;
    std::uint64_t bytes = 0;
    for (IovaRange rest = *inside;;) {
        auto const held = index_->first_in(rest);
        if (!held) return bytes;
        IovaRange const gone = held->mapping.iova;
        remove(*held);
        bytes += gone.size();
        if (gone.last >= rest.last) return bytes;
        rest.start = gone.last + 1;
    }
}

void DmaMap::take_those_of(Owner owner)
{
    for (IovaRange rest{Iova{0}, last_iova_};;) {
        auto const held = index_->first_in(rest);
        if (!held) return;
        if (index_->tag(*held)[1] == static_cast<std::uint64_t>(owner)) remove(*held);
        if (held->mapping.iova.last >= rest.last) return;
        rest.start = held->mapping.iova.last + 1;
    }
}

// Tables, records and files that went may be used anew when the readers have let go: of all that
// was taken until now, whoever took it.
void DmaMap::settle(DmaReader* self)
{
    if (!std::exchange(unsettled_, false)) return;
    wait(self);
    index_->release();
    if (std::exchange(views_left_, false)) files_.settle();
}

void DmaMap::wait(DmaReader* self) { readers_.wait(self == nullptr ? nullptr : self->reader_); }

Result<std::uint64_t> DmaBatch::unmap(Iova iova, std::uint64_t size)
{
    auto const range = TRY(map_->unmappable(iova, size));
    DmaMap::Call const call{*map_, self_};
    return map_->take_whole(range);
}

void DmaBatch::wait()
{
    DmaMap::Call const call{*map_, self_};
    map_->settle(self_);
}

}  // namespace pinfold
