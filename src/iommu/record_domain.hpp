// A domain of a virtio-iommu. Each call of the driver (driver_round()) is one map request and one
// record. The driver's list and the device's are one list here.
#pragma once

#include "iommu/domain.hpp"
#include "iommu/records.hpp"

namespace pinfold::iommu {

class RecordDomain final : public Domain {
public:
    RecordDomain(Iommu const& iommu, IovaRange aperture, PageSizes page_sizes);
    ~RecordDomain() override;

    PageSizes page_sizes() const override { return page_sizes_; }
    IovaRange aperture() const override { return aperture_; }
    std::string_view format() const override { return "virtio-iommu records"; }
    LeafCounts leaves() const override { return records_.sizes(); }
    std::uint64_t table_bytes() const override { return records_.bytes(); }
    std::optional<Leaf> walk(Iova iova) const override;

protected:
    // EINVAL: something is mapped there. ENOMEM.
    Result<> map_range(Iova iova, Paddr paddr, std::uint64_t size, Prot prot, std::uint64_t& mapped,
                       Gather& gather) override;
    std::uint64_t unmap_range(Iova iova, std::uint64_t size, Gather& gather,
                              Runs* removed) override;
    void release(Retired) override {}

private:
    void tell(FunctionRef<void(Issue)> request) const;

    IovaRange aperture_;
    PageSizes page_sizes_;
    Records records_;
};

}  // namespace pinfold::iommu
