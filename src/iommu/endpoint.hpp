// An endpoint: one requester behind an IOMMU, as a device's DMA meets it. It is attached to a
// domain or blocked; it has an IOTLB of its own; faults are recorded here, because nobody else can
// tell a VFIO user about them.
//
// Thread safety: translate() from any thread inside a ReadSection; attach(), block() and the
// destructor from one thread at a time and in no ReadSection; they return only when no access
// through the old domain is under way. The Iommu outlives its endpoints; a domain may go first.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/address.hpp"
#include "base/prot.hpp"
#include "base/range.hpp"
#include "iommu/domain.hpp"
#include "iommu/fault_log.hpp"
#include "iommu/iotlb.hpp"

namespace pinfold::iommu {

class Iommu;

class Endpoint {
public:
    // `name` is how reports call it, such as "0000:00:04.0".
    Endpoint(Iommu& iommu, std::string name);
    ~Endpoint();
    Endpoint(Endpoint const&) = delete;
    Endpoint& operator=(Endpoint const&) = delete;

    Iommu& iommu() const { return iommu_; }
    std::string const& name() const { return name_; }
    // nullptr: blocked.
    Domain* domain() const { return domain_.load(std::memory_order_acquire); }

    // Attaches to `domain`, of the same Iommu. EINVAL: of another one. Anything attached before is
    // let go.
    Result<> attach(Domain& domain);
    void block();

    // One step of an access: where `iova` leads, and how many bytes from there are contiguous (to
    // the end of the leaf). nullopt: the access faults; the fault is recorded. REQUIRES: inside a
    // ReadSection, in which the result is used.
    struct Segment {
        Paddr paddr;
        std::uint64_t size;
    };
    std::optional<Segment> translate(Iova iova, Access access);

    FaultLog& faults() { return faults_; }
    Iotlb& iotlb() { return iotlb_; }

private:
    friend class Domain;  // detach_endpoints()

    void switch_to(Domain* domain);
    std::optional<Segment> walk(Domain const& domain, Iova iova, Access access,
                                std::uint64_t generation);
    void record(Iova iova, Access access, FaultReason reason);

    Iommu& iommu_;
    std::string name_;
    std::atomic<Domain*> domain_{nullptr};
    Iotlb iotlb_;
    FaultLog faults_;
};

}  // namespace pinfold::iommu
