#include "preload/bar_map.hpp"

#include <mutex>

namespace pinfold::preload {
namespace {

// The part of `whole` that lies in `vaddr`.
BarRange piece(BarRange const& whole, VaddrRange vaddr)
{
    BarRange part = whole;
    part.vaddr = vaddr;
    part.offset = whole.offset + (vaddr.start - whole.vaddr.start);
    part.paddr = whole.paddr + (vaddr.start - whole.vaddr.start);
    return part;
}

BarMap::Place place_in(BarRange const& range, Vaddr vaddr)
{
    std::uint64_t const into = vaddr - range.vaddr.start;
    return {.file = range.file,
            .offset = range.offset + into,
            .accessible = range.accessible,
            .writable = range.writable,
            .device = range.device,
            .paddr = range.paddr + into};
}

}  // namespace

void BarMap::add(BarRange range)
{
    std::unique_lock const lock{mutex_};
    Vaddr const start = range.vaddr.start;
    ranges_.insert_or_assign(start, std::move(range));
    count_.store(ranges_.size(), std::memory_order_relaxed);
}

void BarMap::remove(VaddrRange range)
{
    Ranges gone;  // dies after the lock is let go: what it holds closes files
    std::unique_lock const lock{mutex_};
    gone = cut_out(range);
}

void BarMap::move(VaddrRange from, Vaddr to)
{
    std::unique_lock const lock{mutex_};
    for (auto& [start, moved] : cut_out(from)) {
        Vaddr const target = to + (start - from.start);
        moved.vaddr = {target, target + (moved.vaddr.last - start)};
        ranges_.insert_or_assign(target, std::move(moved));
    }
    count_.store(ranges_.size(), std::memory_order_relaxed);
}

BarMap::Ranges BarMap::cut_out(VaddrRange range)
{
    Ranges pieces;
    auto at = ranges_.upper_bound(range.start);
    if (at != ranges_.begin()) --at;
    while (at != ranges_.end() && at->first <= range.last) {
        auto const inside = at->second.vaddr.intersection(range);
        if (!inside) {
            ++at;
            continue;
        }
        BarRange const whole = std::move(at->second);
        at = ranges_.erase(at);
        pieces.emplace(inside->start, piece(whole, *inside));
        if (whole.vaddr.start < inside->start)
            ranges_.emplace(whole.vaddr.start,
                            piece(whole, {whole.vaddr.start, inside->start - 1}));
        if (inside->last < whole.vaddr.last)
            ranges_.emplace(inside->last + 1, piece(whole, {inside->last + 1, whole.vaddr.last}));
    }
    count_.store(ranges_.size(), std::memory_order_relaxed);
    return pieces;
}

bool BarMap::overlaps(VaddrRange range) const
{
    std::shared_lock const lock{mutex_};
    auto at = ranges_.upper_bound(range.last);
    return at != ranges_.begin() && (--at)->second.vaddr.overlaps(range);
}

std::optional<BarMap::Place> BarMap::find(Vaddr vaddr) const
{
    std::shared_lock const lock{mutex_};
    auto at = ranges_.upper_bound(vaddr);
    if (at == ranges_.begin()) return std::nullopt;
    BarRange const& range = (--at)->second;
    if (!range.vaddr.contains(vaddr)) return std::nullopt;
    return place_in(range, vaddr);
}

std::vector<BarMap::Part> BarMap::parts(VaddrRange range) const
{
    std::vector<Part> parts;
    std::shared_lock const lock{mutex_};
    auto at = ranges_.upper_bound(range.start);
    if (at != ranges_.begin()) --at;
    for (Vaddr start = range.start;; ++at) {
        while (at != ranges_.end() && at->second.vaddr.last < start) ++at;
        bool const more = at != ranges_.end() && at->first <= range.last;
        if (!more || start < at->first) {
            Vaddr const last = more ? at->first - std::uint64_t{1} : range.last;
            parts.push_back({{start, last}, std::nullopt});
        }
        if (!more) return parts;
        auto const cut = *at->second.vaddr.intersection(range);
        parts.push_back({cut, place_in(at->second, cut.start)});
        if (cut.last == range.last) return parts;
        start = cut.last + 1;
    }
}

}  // namespace pinfold::preload
