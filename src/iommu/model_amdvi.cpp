// AMD-Vi with host page tables ("v1"), which grow with what is mapped.
#include <utility>

#include "iommu/model.hpp"
#include "iommu/radix_domain.hpp"
#include "pagetable/amdv1.hpp"

namespace pinfold::iommu {
namespace {

using pagetable::Amdv1;

constexpr unsigned kMinWidth = 32;
constexpr unsigned kFirstLevels = 3;              // as Linux begins
constexpr PageSize k512G = PageSize::lg2_of(39);  // hardware gets it wrong
constexpr PageSizes kBelowPaddrBits{PageSize::lg2_of(Amdv1::kPaddrBits).mask()};

bool possible(Iommu::Options const& options)
{
    return options.address_width >= kMinWidth && options.address_width <= 64 &&
           options.page_sizes.has(k4K) && options.page_sizes.smallest() == k4K &&
           !options.page_sizes.has(k512G);
}

std::optional<PageSize> table_page(Iommu::Options const&) { return k4K; }

unsigned paddr_bits(Iommu::Options const&) { return Amdv1::kPaddrBits; }

// Older drivers name sizes that no paddr is wide enough for; no mapping ever uses them.
PageSizes page_sizes(Iommu::Options const& options)
{
    return options.kernel < Kernel::v7_3 ? options.page_sizes
                                         : options.page_sizes & kBelowPaddrBits;
}

Result<std::unique_ptr<Domain>> create_domain(Iommu const& iommu,
                                              std::shared_ptr<pagetable::TableMemory> memory)
{
    Iommu::Options const& options = iommu.options();
    return RadixDomain<Amdv1>::create(iommu, std::move(memory),
                                      {.shape = {.levels = kFirstLevels,
                                                 .width = options.address_width,
                                                 .page_sizes = page_sizes(options)},
                                       .can_enforce_coherency = true,
                                       .format = "AMD host page table"});
}

}  // namespace

ModelRules const kAmdvi{possible, table_page, paddr_bits, create_domain};

}  // namespace pinfold::iommu
