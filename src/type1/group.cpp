#include "type1/group.hpp"

#include <utility>

namespace pinfold::type1 {

Group::Group(unsigned number, iommu::Iommu& iommu, std::vector<iommu::Endpoint*> endpoints,
             MsiIsolation msi_isolation)
    : number_{number},
      iommu_{&iommu},
      endpoints_{std::move(endpoints)},
      msi_isolation_{msi_isolation}
{
}

Group::Group(unsigned number) : number_{number}, iommu_{nullptr}, msi_isolation_{MsiIsolation::yes}
{
}

bool Group::can_nest() const
{
    return !emulated() && iommu_->options().model == iommu::Model::smmuv3;
}

Result<> Group::attach(iommu::Domain& domain)
{
    for (std::size_t i = 0; i < endpoints_.size(); ++i) {
        auto const attached = endpoints_[i]->attach(domain);
        if (attached) continue;
        for (iommu::Endpoint* const moved : std::span{endpoints_}.first(i))
            if (domain_ == nullptr || !moved->attach(*domain_)) moved->block();
        return attached;
    }
    domain_ = &domain;
    return {};
}

void Group::block()
{
    for (iommu::Endpoint* const endpoint : endpoints_) endpoint->block();
    domain_ = nullptr;
}

}  // namespace pinfold::type1
