// A group: the endpoints that only come and go together, behind one IOMMU; or an emulated one,
// whose devices are software that reaches memory through its driver (rules P-14 to P-16). Guarded
// by the mutex of the container that it is in.
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
    // An emulated group.
    explicit Group(unsigned number);
    Group(Group const&) = delete;
    Group& operator=(Group const&) = delete;

    unsigned number() const { return number_; }
    bool emulated() const { return iommu_ == nullptr; }
    // REQUIRES: not emulated.
    iommu::Iommu& iommu() const { return *iommu_; }
    // Its IOMMU has a second stage to put under a guest's tables (rule C-9).
    bool can_nest() const;
    MsiIsolation msi_isolation() const { return msi_isolation_; }

    // Attaches every endpoint, or leaves each of them where it was. EINVAL: `domain` is another
    // IOMMU's.
    Result<> attach(iommu::Domain& domain);
    // No endpoint reaches anything any more (rules G-6, A-11).
    void block();

    // Whether all that the group writes is known page by page, so that the rest stays clean: its
    // driver pins what it writes (rules B-5 to B-7). Kept for the back end.
    bool pinned_page_dirty_scope = false;

private:
    unsigned number_;
    iommu::Iommu* iommu_;  // nullptr: emulated
    std::vector<iommu::Endpoint*> endpoints_;
    MsiIsolation msi_isolation_;
    iommu::Domain* domain_ = nullptr;  // nullptr: blocked
};

}  // namespace pinfold::type1
