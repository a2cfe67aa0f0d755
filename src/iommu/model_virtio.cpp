// virtio-iommu: no table, a list of what was asked for.
#include "iommu/model.hpp"
#include "iommu/record_domain.hpp"

namespace pinfold::iommu {
namespace {

constexpr unsigned kMinWidth = 32;
constexpr unsigned kMaxWidth = 64;

// The driver attaches no domain whose smallest page is larger than the host's: no such machine has
// a device to use.
bool possible(Iommu::Options const& options)
{
    return options.address_width >= kMinWidth && options.address_width <= kMaxWidth &&
           !options.page_sizes.empty() && options.page_sizes.smallest() >= k4K &&
           options.page_sizes.smallest() <= options.host_page;
}

std::optional<PageSize> table_page(Iommu::Options const&) { return std::nullopt; }

unsigned paddr_bits(Iommu::Options const&) { return 64; }

Result<std::unique_ptr<Domain>> create_domain(Iommu const& iommu,
                                              std::shared_ptr<pagetable::TableMemory>)
{
    Iommu::Options const& options = iommu.options();
    Iova const last{~std::uint64_t{0} >> (64 - options.address_width)};
    return std::make_unique<RecordDomain>(iommu, IovaRange{Iova{0}, last}, options.page_sizes);
}

}  // namespace

ModelRules const kVirtio{possible, table_page, paddr_bits, create_domain};

}  // namespace pinfold::iommu
