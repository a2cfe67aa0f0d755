#include "preload/bar_map.hpp"

#include <algorithm>

#include "base/read_section.hpp"

namespace pinfold::preload {
namespace {

void store(std::uintptr_t& word, std::uint64_t value)
{
    std::atomic_ref{word}.store(value, std::memory_order_relaxed);
}

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
            .paddr = range.paddr + into,
            .left = range.vaddr.size() - into};
}

}  // namespace

BarMap::~BarMap() { delete current(); }

void BarMap::add(BarRange range)
{
    std::unique_lock const lock{mutex_};
    Ranges ranges = current() == nullptr ? Ranges{} : *current();
    auto const place = std::ranges::upper_bound(ranges, range.vaddr.start, {},
                                                [](BarRange const& it) { return it.vaddr.start; });
    ranges.insert(place, std::move(range));
    replace(std::move(ranges));
}

void BarMap::remove(VaddrRange range)
{
    Ranges gone;  // dies after the lock is let go: what it holds closes files
    std::unique_lock const lock{mutex_};
    if (current() == nullptr) return;
    auto rest = without(range, gone);
    if (!gone.empty()) replace(std::move(rest));
}

void BarMap::move(VaddrRange from, Vaddr to)
{
    std::unique_lock const lock{mutex_};
    if (current() == nullptr) return;
    Ranges moved;
    auto ranges = without(from, moved);
    for (auto& range : moved) {
        Vaddr const start = to + (range.vaddr.start - from.start);
        range.vaddr = {start, start + (range.vaddr.size() - 1)};
        ranges.push_back(std::move(range));
    }
    std::ranges::sort(ranges, {}, [](BarRange const& it) { return it.vaddr.start; });
    replace(std::move(ranges));
}

void BarMap::rebind(FunctionRef<uapi::FileId(uapi::FileId)> file_of)
{
    std::unique_lock const lock{mutex_};
    if (current() == nullptr) return;
    Ranges ranges = *current();
    for (auto& range : ranges) {
        range.file = file_of(range.file);
        range.device = nullptr;
        if (range.held) range.held->rename(range.file);
    }
    replace(std::move(ranges));
}

std::vector<uapi::FileId> BarMap::holds() const
{
    ReadSection const section;
    std::vector<BarHold const*> holds;
    if (auto const* const ranges = current())
        for (auto const& range : *ranges)
            if (range.held) holds.push_back(range.held.get());
    std::ranges::sort(holds);
    holds.erase(std::ranges::unique(holds).begin(), holds.end());
    std::vector<uapi::FileId> files;
    for (auto const* const hold : holds) files.push_back(hold->file());
    return files;
}

BarMap::Ranges BarMap::without(VaddrRange range, Ranges& cut) const
{
    Ranges rest;
    for (auto const& whole : *current()) {
        auto const inside = whole.vaddr.intersection(range);
        if (!inside) {
            rest.push_back(whole);
            continue;
        }
        cut.push_back(piece(whole, *inside));
        if (whole.vaddr.start < inside->start)
            rest.push_back(piece(whole, {whole.vaddr.start, inside->start - 1}));
        if (inside->last < whole.vaddr.last)
            rest.push_back(piece(whole, {inside->last + 1, whole.vaddr.last}));
    }
    return rest;
}

void BarMap::replace(Ranges ranges)
{
    bool const none = ranges.empty();
    store(span.start, none ? 0 : ranges.front().vaddr.start.raw());
    store(span.end, none ? 0 : ranges.back().vaddr.last.raw() + 1);
    std::unique_ptr<Ranges const> const old{current()};
    ranges_.store(ranges.empty() ? nullptr : new Ranges{std::move(ranges)},
                  std::memory_order_release);
    wait_for_readers();
}

namespace {

// The first range that does not end before `vaddr`.
auto first_from(std::vector<BarRange> const& ranges, Vaddr vaddr)
{
    return std::ranges::lower_bound(ranges, vaddr, {},
                                    [](BarRange const& it) { return it.vaddr.last; });
}

}  // namespace

bool BarMap::overlaps(VaddrRange range) const
{
    ReadSection const section;
    auto const* const ranges = current();
    if (ranges == nullptr) return false;
    auto const at = first_from(*ranges, range.start);
    return at != ranges->end() && at->vaddr.start <= range.last;
}

std::optional<BarMap::Place> BarMap::find(Vaddr vaddr) const
{
    ReadSection const section;
    auto const* const ranges = current();
    if (ranges == nullptr) return std::nullopt;
    auto const at = first_from(*ranges, vaddr);
    if (at == ranges->end() || !at->vaddr.contains(vaddr)) return std::nullopt;
    return place_in(*at, vaddr);
}

std::vector<BarMap::Part> BarMap::parts(VaddrRange range) const
{
    std::vector<Part> parts;
    ReadSection const section;
    Vaddr start = range.start;
    Ranges const none;
    auto const* const ranges = current() == nullptr ? &none : current();
    for (auto at = first_from(*ranges, start); at != ranges->end() && at->vaddr.start <= range.last;
         ++at) {
        if (start < at->vaddr.start)
            parts.push_back({{start, at->vaddr.start - std::uint64_t{1}}, std::nullopt});
        auto const cut = *at->vaddr.intersection(range);
        parts.push_back({cut, place_in(*at, cut.start)});
        if (cut.last == range.last) return parts;
        start = cut.last + 1;
    }
    parts.push_back({{start, range.last}, std::nullopt});
    return parts;
}

}  // namespace pinfold::preload
