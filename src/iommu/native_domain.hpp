// A domain on the native index: no table, no leaves to cut a mapping into. What one map call mapped
// is unmapped as a whole.
#pragma once

#include <memory>

#include "iommu/domain.hpp"
#include "native/index.hpp"
#include "native/spin_lock.hpp"

namespace pinfold::iommu {

class NativeDomain final : public Domain {
public:
    // ENOMEM.
    static Result<std::unique_ptr<Domain>> create(Iommu const& iommu, IovaRange aperture,
                                                  PageSizes page_sizes);
    ~NativeDomain() override;

    PageSizes page_sizes() const override { return page_sizes_; }
    IovaRange aperture() const override { return aperture_; }
    std::string_view format() const override { return "native index"; }
    LeafCounts leaves() const override;
    std::uint64_t table_bytes() const override;
    std::optional<Leaf> walk(Iova iova) const override;
    Segments segments(IovaRange range, Access access, std::span<Segment> into) const override;

    // Accesses are the processor's own, and coherent.
    bool enforce_coherency() override { return true; }

protected:
    Result<> map_range(Iova iova, Paddr paddr, std::uint64_t size, Prot prot, std::uint64_t& mapped,
                       Gather& gather) override;
    std::uint64_t unmap_range(Iova iova, std::uint64_t size, Gather& gather,
                              Runs* removed) override;
    void release(Retired retired) override;

private:
    NativeDomain(Iommu const& iommu, IovaRange aperture, PageSizes page_sizes,
                 std::unique_ptr<native::Index> index);

    IovaRange aperture_;
    PageSizes page_sizes_;
    mutable native::SpinLock mutex_;  // of who changes the index, and of the counts
    std::unique_ptr<native::Index> index_;
};

}  // namespace pinfold::iommu
