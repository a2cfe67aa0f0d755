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

std::optional<Endpoint::Segment> Endpoint::translate(Iova iova, Access access)
{
    // Before the domain is looked at: what is filled under this generation was walked under it.
    std::uint64_t const generation = iotlb_.generation();
    Domain const* const domain = this->domain();
    if (domain == nullptr) {
        record(iova, access, FaultReason::blocked);
        return std::nullopt;
    }
    // A cached right that does not suffice is no fault yet: the table decides.
    auto const hit = iotlb_.lookup(iova);
    if (hit && allows(hit->prot, access)) return Segment{hit->paddr, hit->size};
    return walk(*domain, iova, access, generation);
}

std::optional<Endpoint::Segment> Endpoint::walk(Domain const& domain, Iova iova, Access access,
                                                std::uint64_t generation)
{
    auto const leaf = domain.walk(iova);
    if (!leaf) {
        bool const inside = domain.aperture().contains(iova);
        record(iova, access, inside ? FaultReason::not_mapped : FaultReason::address_width);
        return std::nullopt;
    }
    if (!allows(leaf->prot, access)) {
        record(iova, access, FaultReason::no_permission);
        return std::nullopt;
    }
    iotlb_.fill(iova, leaf->iova, leaf->paddr, leaf->prot, generation);
    return Segment{leaf->paddr + (iova - leaf->iova.start), leaf->iova.last - iova + 1};
}

void Endpoint::record(Iova iova, Access access, FaultReason reason)
{
    faults_.record({iova, access, reason});
}

}  // namespace pinfold::iommu
