#include "type1/group.hpp"

#include <utility>

#include "type1/rollback.hpp"

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
    std::size_t moved = 0;
    Rollback back{[&] {
        for (iommu::Endpoint* const endpoint : std::span{endpoints_}.first(moved))
            if (domain_ == nullptr || !endpoint->attach(*domain_)) endpoint->block();
    }};
    for (; moved < endpoints_.size(); ++moved) TRY(endpoints_[moved]->attach(domain));
    back.commit();
    domain_ = &domain;
    return {};
}

void Group::block()
{
    for (iommu::Endpoint* const endpoint : endpoints_) endpoint->block();
    domain_ = nullptr;
}

}  // namespace pinfold::type1
