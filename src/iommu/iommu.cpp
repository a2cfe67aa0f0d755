#include "iommu/iommu.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "iommu/native_domain.hpp"
#include "iommu/radix_domain.hpp"
#include "pagetable/vtdss.hpp"

namespace pinfold::iommu {

namespace {

constexpr unsigned kMinNativeWidth = 16;
constexpr unsigned kMaxNativeWidth = 64;

using pagetable::Vtdss;

// Adjusted guest address widths: 9 bits for each level above the page.
constexpr unsigned vtd_width(unsigned levels)
{
    return Vtdss::kGranuleLg2 + Vtdss::kSlotsLg2 * levels;
}

std::optional<unsigned> vtd_levels(unsigned width)
{
    for (unsigned levels = Vtdss::kMinLevels; levels <= Vtdss::kMaxLevels; ++levels)
        if (vtd_width(levels) == width) return levels;
    return std::nullopt;
}

bool vtd_can_have(Iommu::Options const& options)
{
    PageSizes const possible{k4K.bytes() | k2M.bytes() | k1G.bytes()};
    return vtd_levels(options.address_width) && options.page_sizes.has(k4K) &&
           (options.page_sizes & possible) == options.page_sizes;
}

bool native_can_have(Iommu::Options const& options)
{
    if (options.address_width < kMinNativeWidth || options.address_width > kMaxNativeWidth)
        return false;
    // Sizes beyond the width never fit, and are no harm.
    return !options.page_sizes.empty() && options.page_sizes.smallest() >= k4K &&
           options.page_sizes.smallest().lg2() < options.address_width;
}

bool possible(Iommu::Options const& options)
{
    bool const ranges = std::ranges::all_of(options.reserved, [](ReservedRegion const& region) {
        return region.range.start <= region.range.last;
    });
    if (!ranges) return false;
    switch (options.model) {
        case Model::vtd: return vtd_can_have(options);
        case Model::native: return native_can_have(options);
        case Model::amdvi:
        case Model::smmuv3:
        case Model::virtio: break;
    }
    return false;
}

}  // namespace

struct Iommu::Impl {
    Options options;
    std::shared_ptr<pagetable::TableMemory> memory;  // nullptr: this model has no tables
};

Result<std::unique_ptr<Iommu>> Iommu::create(Options options)
{
    if (!possible(options)) return fail(Errno::inval);
    auto impl = std::make_unique<Impl>();
    if (options.model == Model::vtd)
        impl->memory = TRY(pagetable::TableMemory::create(k4K, options.table_budget));
    impl->options = std::move(options);
    return std::unique_ptr<Iommu>{new Iommu{std::move(impl)}};
}

Iommu::Iommu(std::unique_ptr<Impl> impl) : impl_{std::move(impl)} {}
Iommu::~Iommu() = default;

Iommu::Options const& Iommu::options() const { return impl_->options; }
PageSizes Iommu::page_sizes() const { return impl_->options.page_sizes; }
std::vector<ReservedRegion> const& Iommu::reserved_regions() const
{
    return impl_->options.reserved;
}

unsigned Iommu::paddr_bits() const
{
    switch (impl_->options.model) {
        case Model::vtd: return Vtdss::kPaddrBits;
        case Model::amdvi:
        case Model::smmuv3:
        case Model::virtio:
        case Model::native: break;
    }
    return 64;
}

Result<std::unique_ptr<Domain>> Iommu::create_domain()
{
    Options const& options = impl_->options;
    switch (options.model) {
        case Model::vtd: {
            unsigned const levels = vtd_levels(options.address_width).value();
            return RadixDomain<Vtdss>::create(
                *this, impl_->memory,
                {levels, options.page_sizes, options.enforces_coherency,
                 "VT-d second stage, " + std::to_string(levels) + " levels"});
        }
        case Model::amdvi:
        case Model::smmuv3:
        case Model::virtio:
        case Model::native: break;
    }
    Iova const last{~std::uint64_t{0} >> (64 - options.address_width)};
    return std::make_unique<NativeDomain>(*this, IovaRange{Iova{0}, last}, options.page_sizes);
}

}  // namespace pinfold::iommu
