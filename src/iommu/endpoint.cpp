#include "iommu/endpoint.hpp"

#include <utility>

#include "base/read_section.hpp"
#include "iommu/iommu.hpp"

namespace pinfold::iommu {

Endpoint::Endpoint(Iommu& iommu, std::string name) : iommu_{iommu}, name_{std::move(name)} {}

Endpoint::~Endpoint() { block(); }

Result<> Endpoint::attach(Domain& domain)
{
    if (domain.iommu() != &iommu_) return fail(Errno::inval);
    Domain* const before = this->domain();
    if (before == &domain) return {};

    // Known to the new domain before its translations can be cached here.
    domain.add(*this);
    switch_to(&domain);
    if (before != nullptr) {
        before->remove(*this);
        wait_for_readers();
    }
    return {};
}

void Endpoint::block()
{
    Domain* const before = domain();
    if (before == nullptr) return;
    switch_to(nullptr);
    before->remove(*this);
    wait_for_readers();
}

// In this order an access that sees the new generation sees the new domain too (see translate()).
void Endpoint::switch_to(Domain* domain)
{
    domain_.store(domain);
    iotlb_.invalidate_all();
}

std::optional<Endpoint::Segment> Endpoint::translate_slowly(Iova iova, std::uint64_t size,
                                                            Access access)
{
    // Before the domain is looked at: what is filled under this generation was walked under it.
    std::uint64_t const generation = iotlb_.generation();
    Domain* const domain = this->domain();
    if (domain == nullptr) {
        record(iova, access, FaultReason::blocked);
        return std::nullopt;
    }
    if (interrupt_window(iova)) {
        record(iova, access, FaultReason::interrupt_window);
        return std::nullopt;
    }
    auto leaf = domain->access(iova, access);
    if (!leaf) {
        bool const inside = domain->aperture().contains(iova);
        record(iova, access, inside ? FaultReason::not_mapped : FaultReason::address_width);
        return std::nullopt;
    }
    if (!allows(leaf->prot, access)) {
        record(iova, access, FaultReason::no_permission);
        return std::nullopt;
    }
    if (auto const window = window_within(leaf->iova)) {
        // Of the leaf, the side that `iova` is on.
        if (iova < window->start) leaf->iova.last = window->start - 1;
        if (iova > window->last) {
            leaf->paddr = leaf->paddr + (window->last + 1 - leaf->iova.start);
            leaf->iova.start = window->last + 1;
        }
    }
    Segment const segment{leaf->paddr + (iova - leaf->iova.start),
                          std::min(leaf->iova.last - iova, size - 1) + 1};
    // Bytes that are written are noted before they are.
    auto written = Iotlb::Written::unasked;
    if (domain->notes_writes()) {
        written = access == Access::write ? Iotlb::Written::yes : Iotlb::Written::no;
        if (access == Access::write) domain->note_written(iova, segment.size);
    }
    iotlb_.fill(iova, leaf->iova, leaf->paddr, leaf->prot, written, generation);
    return segment;
}

std::optional<IovaRange> Endpoint::window_within(IovaRange range) const
{
    for (auto const& region : iommu_.reserved_regions())
        if (region.type == ReservedType::msi && region.range.overlaps(range)) return region.range;
    return std::nullopt;
}

// False: there is no domain any more.
bool Endpoint::note_more(Iova iova, std::uint64_t size)
{
    Domain* const domain = this->domain();
    if (domain == nullptr) return false;
    domain->note_written(iova, size);
    return true;
}

namespace {

// False: no room for another segment.
bool append(Endpoint::Segment const& segment, std::span<Endpoint::Segment> into,
            Endpoint::Gathered& gathered)
{
    Endpoint::Segment* const before =
        gathered.segments == 0 ? nullptr : &into[gathered.segments - 1];
    if (before != nullptr && before->paddr.raw() + before->size == segment.paddr.raw())
        before->size += segment.size;
    else if (gathered.segments == into.size())
        return false;
    else
        into[gathered.segments++] = segment;
    gathered.bytes += segment.size;
    return true;
}

}  // namespace

// In one walk what it allows, then access by access: so a fault is recorded, and a write noted, as
// for any access. What is in one piece is asked for once more, for the IOTLB to have it.
Endpoint::Gathered Endpoint::gather_slowly(IovaRange range, Access access, std::span<Segment> into)
{
    Gathered gathered{0, 0, false};
    std::uint64_t const most = range.last - range.start;  // bytes but one: the whole space fits
    Domain* const domain = this->domain();
    if (domain != nullptr && !domain->notes_writes() && most != ~std::uint64_t{0} &&
        !window_within(range)) {
        Segments const found = domain->segments(range, access, into);
        gathered = {found.count(), found.bytes(), false};
    }
    if (gathered.bytes > most) {
        if (gathered.segments == 1) (void)translate_slowly(range.start, most + 1, access);
        return gathered;
    }
    return gather_rest(range, access, into, gathered);
}

Endpoint::Gathered Endpoint::gather_rest(IovaRange range, Access access, std::span<Segment> into,
                                         Gathered gathered)
{
    std::uint64_t const most = range.last - range.start;
    while (gathered.bytes <= most) {
        std::uint64_t const left = most - gathered.bytes;
        auto const segment =
            translate(range.start + gathered.bytes, std::max(left + 1, left), access);
        gathered.faulted = !segment.has_value();
        if (!segment || !append(*segment, into, gathered) || segment->size > left) break;
    }
    return gathered;
}

void Endpoint::record(Iova iova, Access access, FaultReason reason)
{
    faults_.record({iova, access, reason});
}

}  // namespace pinfold::iommu
