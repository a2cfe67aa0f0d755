// An IOMMU group: the endpoints that only come and go together, behind one IOMMU. Guarded by the
// mutex of the container that it is in.
#pragma once

#include <span>
#include <vector>

#include "iommu/endpoint.hpp"
#include "iommu/iommu.hpp"

namespace pinfold::type1 {

// Whether a message interrupt that a device forges reaches nobody else (rule A-4).
enum class MsiIsolation : bool { no, yes };

class Group {
public:
    // The IOMMU and the endpoints, all of which are behind it, outlive the group.
    Group(unsigned number, iommu::Iommu& iommu, std::vector<iommu::Endpoint*> endpoints,
          MsiIsolation msi_isolation = MsiIsolation::yes);
    Group(Group const&) = delete;
    Group& operator=(Group const&) = delete;

    unsigned number() const { return number_; }
    iommu::Iommu& iommu() const { return iommu_; }
    MsiIsolation msi_isolation() const { return msi_isolation_; }

    // Attaches every endpoint, or leaves each of them where it was. EINVAL: `domain` is another
    // IOMMU's.
    Result<> attach(iommu::Domain& domain);
    // No endpoint reaches anything any more (rules G-6, A-11).
    void block();

private:
    unsigned number_;
    iommu::Iommu& iommu_;
    std::vector<iommu::Endpoint*> endpoints_;
    MsiIsolation msi_isolation_;
    iommu::Domain* domain_ = nullptr;  // nullptr: blocked
};

}  // namespace pinfold::type1
