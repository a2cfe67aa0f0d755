// SMMUv3, stage 1: Arm long-descriptor tables in one granule, chosen by the driver.
#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "iommu/model.hpp"
#include "iommu/radix_domain.hpp"
#include "pagetable/arm_lpae.hpp"

namespace pinfold::iommu {
namespace {

using pagetable::ArmLpae;
using pagetable::Partial;

constexpr unsigned kMinWidth = 32;
constexpr unsigned kMaxWidth = 52;
constexpr std::array kPaddrWidths{32U, 36U, 40U, 42U, 44U, 48U, 52U};

// What tables of a granule can have; empty: it is no granule.
PageSizes family(PageSize granule, unsigned paddr_width)
{
    if (granule == k4K) return PageSizes{k4K.bytes() | k2M.bytes() | k1G.bytes()};
    if (granule == k16K) return PageSizes{k16K.bytes() | PageSize::lg2_of(25).bytes()};
    if (granule != k64K) return {};
    std::uint64_t const largest = paddr_width > 48 ? PageSize::lg2_of(42).bytes() : 0;
    return PageSizes{k64K.bytes() | PageSize::lg2_of(29).bytes() | largest};
}

// The host's page size if the unit has it, else the largest size below, else the smallest above.
// Any size of the unit counts, not only granules. REQUIRES: !offered.empty().
PageSize chosen_granule(PageSizes offered, PageSize host_page)
{
    if (offered.has(host_page)) return host_page;
    return offered.best(0, host_page.bytes()).value_or(offered.smallest());
}

PageSizes page_sizes(Iommu::Options const& options)
{
    if (options.page_sizes.empty()) return {};
    PageSize const granule = chosen_granule(options.page_sizes, options.host_page);
    return options.page_sizes & family(granule, options.paddr_width);
}

bool possible(Iommu::Options const& options)
{
    PageSizes const all = family(k4K, 52) | family(k16K, 52) | family(k64K, 52);
    return options.address_width >= kMinWidth && options.address_width <= kMaxWidth &&
           std::ranges::find(kPaddrWidths, options.paddr_width) != kPaddrWidths.end() &&
           (options.page_sizes & all) == options.page_sizes && !page_sizes(options).empty();
}

// The smallest size of a family is its granule, and no size of another granule's is in it.
PageSize granule(Iommu::Options const& options) { return page_sizes(options).smallest(); }

std::optional<PageSize> table_page(Iommu::Options const& options) { return granule(options); }

// Only tables of 64 KiB hold more than 48 bits, of IOVA as of paddr.
unsigned narrowed(unsigned width, PageSize granule)
{
    return std::min(width, granule == k64K ? 52U : 48U);
}

unsigned paddr_bits(Iommu::Options const& options)
{
    return narrowed(options.paddr_width, granule(options));
}

// Linux split blocks that an unmap covers in part until 6.12, and refuses since.
template <unsigned GranuleLg2>
Result<std::unique_ptr<Domain>> create_domain_of(Iommu const& iommu,
                                                 std::shared_ptr<pagetable::TableMemory> memory)
{
    using Format = ArmLpae<GranuleLg2>;
    Iommu::Options const& options = iommu.options();
    unsigned const width = narrowed(options.address_width, granule(options));
    unsigned const levels = (width - GranuleLg2 + Format::kSlotsLg2 - 1) / Format::kSlotsLg2;
    std::string const name = std::to_string((1U << GranuleLg2) / 1024) + "K";
    return RadixDomain<Format>::create(
        iommu, std::move(memory),
        {.shape = {.levels = levels,
                   .width = width,
                   .page_sizes = page_sizes(options),
                   .paddr_bits = paddr_bits(options),
                   .partial = options.kernel < Kernel::v7_3 ? Partial::splits : Partial::refuses,
                   .tracking = tracking(options)},
         .can_enforce_coherency = false,
         .format = "Arm LPAE stage 1, " + name + " granule, " + std::to_string(levels) + " levels",
         .occupied = Errno::exist});
}

Result<std::unique_ptr<Domain>> create_domain(Iommu const& iommu,
                                              std::shared_ptr<pagetable::TableMemory> memory)
{
    PageSize const size = granule(iommu.options());
    if (size == k4K) return create_domain_of<k4K.lg2()>(iommu, std::move(memory));
    if (size == k16K) return create_domain_of<k16K.lg2()>(iommu, std::move(memory));
    return create_domain_of<k64K.lg2()>(iommu, std::move(memory));
}

}  // namespace

ModelRules const kSmmuv3{possible, table_page, paddr_bits, create_domain};

}  // namespace pinfold::iommu
