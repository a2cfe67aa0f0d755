// AMD-Vi with host page tables ("v1"), which grow with what is mapped.
#include <algorithm>
#include <utility>

#include "iommu/model.hpp"
#include "iommu/radix_domain.hpp"
#include "pagetable/amdv1.hpp"

namespace pinfold::iommu {
namespace {

using pagetable::Amdv1;
using pagetable::Overmap;

constexpr unsigned kMinWidth = 32;
constexpr unsigned kFirstLevels = 3;              // as Linux begins
constexpr PageSize k512G = PageSize::lg2_of(39);  // hardware gets it wrong

bool possible(Iommu::Options const& options)
{
    return options.address_width >= kMinWidth && options.address_width <= 64 &&
           options.page_sizes.has(k4K) && options.page_sizes.smallest() == k4K &&
           !options.page_sizes.has(k512G);
}

std::optional<PageSize> table_page(Iommu::Options const&) { return k4K; }

unsigned paddr_bits(Iommu::Options const&) { return Amdv1::kPaddrBits; }

// Before 7.3 the driver does not look at the width that the firmware tells.
unsigned width(Iommu::Options const& options)
{
    return options.kernel < Kernel::v7_3 ? 64 : options.address_width;
}

// 6.1 names sizes that no paddr is wide enough for, 6.12 does not, and 7.3 leaves out those of half
// the IOVAs and more as well. None of them can ever be mapped.
PageSizes page_sizes(Iommu::Options const& options)
{
    if (options.kernel == Kernel::v6_1) return options.page_sizes;
    unsigned const bits = std::min(Amdv1::kPaddrBits, width(options) - 1);
    return options.page_sizes & PageSizes{PageSize::lg2_of(bits).mask()};
}

// Before 7.3 the driver takes away what it finds mapped.
Overmap overmap(Iommu::Options const& options)
{
    return options.kernel < Kernel::v7_3 ? Overmap::replaces : Overmap::refuses;
}

Result<std::unique_ptr<Domain>> create_domain(Iommu const& iommu,
                                              std::shared_ptr<pagetable::TableMemory> memory)
{
    Iommu::Options const& options = iommu.options();
    return RadixDomain<Amdv1>::create(iommu, std::move(memory),
                                      {.shape = {.levels = kFirstLevels,
                                                 .width = width(options),
                                                 .page_sizes = page_sizes(options),
                                                 .overmap = overmap(options),
                                                 .tracking = tracking(options)},
                                       .can_enforce_coherency = true,
                                       .format = "AMD host page table"});
}

}  // namespace

ModelRules const kAmdvi{possible, table_page, paddr_bits, create_domain};

}  // namespace pinfold::iommu
