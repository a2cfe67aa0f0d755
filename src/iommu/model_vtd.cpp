// VT-d, second stage: 3, 4 or 5 levels, of which a unit may use only some bits.
#include <string>
#include <utility>

#include "iommu/model.hpp"
#include "iommu/radix_domain.hpp"
#include "pagetable/vtdss.hpp"

namespace pinfold::iommu {
namespace {

using pagetable::Overmap;
using pagetable::Vtdss;

constexpr unsigned kMinWidth = 30;

// The fewest that cover the width. REQUIRES: width is possible.
constexpr unsigned levels_of(unsigned width)
{
    unsigned levels = Vtdss::kMinLevels;
    while (Vtdss::kGranuleLg2 + Vtdss::kSlotsLg2 * levels < width) ++levels;
    return levels;
}
constexpr unsigned kMaxWidth = Vtdss::kGranuleLg2 + Vtdss::kSlotsLg2 * Vtdss::kMaxLevels;

bool possible(Iommu::Options const& options)
{
    PageSizes const all{k4K.bytes() | k2M.bytes() | k1G.bytes()};
    return options.address_width >= kMinWidth && options.address_width <= kMaxWidth &&
           options.page_sizes.has(k4K) && (options.page_sizes & all) == options.page_sizes;
}

std::optional<PageSize> table_page(Iommu::Options const&) { return k4K; }

unsigned paddr_bits(Iommu::Options const&) { return Vtdss::kPaddrBits; }

// Before 7.3 the driver sets R in every leaf, so what is mapped WRITE only can be read; and it
// keeps what it finds mapped.
Result<std::unique_ptr<Domain>> create_domain(Iommu const& iommu,
                                              std::shared_ptr<pagetable::TableMemory> memory)
{
    Iommu::Options const& options = iommu.options();
    unsigned const levels = levels_of(options.address_width);
    bool const old = options.kernel < Kernel::v7_3;
    return RadixDomain<Vtdss>::create(
        iommu, std::move(memory),
        {.shape = {.levels = levels,
                   .width = options.address_width,
                   .page_sizes = options.page_sizes,
                   .overmap = old ? Overmap::keeps : Overmap::refuses,
                   .tracking = tracking(options)},
         .can_enforce_coherency = options.enforces_coherency,
         .format = "VT-d second stage, " + std::to_string(levels) + " levels",
         .always = old ? Prot::read : Prot::none});
}

}  // namespace

ModelRules const kVtd{possible, table_page, paddr_bits, create_domain};

}  // namespace pinfold::iommu
