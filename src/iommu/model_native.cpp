// Our own index: no hardware to please, and no limits of it.
#include "iommu/model.hpp"
#include "iommu/native_domain.hpp"

namespace pinfold::iommu {
namespace {

constexpr unsigned kMinWidth = 16;
constexpr unsigned kMaxWidth = 64;

// Sizes beyond the width never fit, and are no harm.
bool possible(Iommu::Options const& options)
{
    return options.address_width >= kMinWidth && options.address_width <= kMaxWidth &&
           !options.page_sizes.empty() && options.page_sizes.smallest() >= k4K &&
           options.page_sizes.smallest().lg2() < options.address_width;
}

std::optional<PageSize> table_page(Iommu::Options const&) { return std::nullopt; }

unsigned paddr_bits(Iommu::Options const&) { return 64; }

Result<std::unique_ptr<Domain>> create_domain(Iommu const& iommu,
                                              std::shared_ptr<pagetable::TableMemory>)
{
    Iommu::Options const& options = iommu.options();
    Iova const last{~std::uint64_t{0} >> (64 - options.address_width)};
    return NativeDomain::create(iommu, IovaRange{Iova{0}, last}, options.page_sizes);
}

}  // namespace

ModelRules const kNative{possible, table_page, paddr_bits, create_domain};

}  // namespace pinfold::iommu
