#include "iommu/iommu.hpp"

#include <algorithm>
#include <atomic>
#include <utility>

#include "iommu/model.hpp"

namespace pinfold::iommu {

namespace {

ModelRules const& rules_of(Model model)
{
    switch (model) {
        case Model::vtd: return kVtd;
        case Model::amdvi: return kAmdvi;
        case Model::smmuv3: return kSmmuv3;
        case Model::virtio: return kVirtio;
        case Model::native: break;
    }
    return kNative;
}

bool are_ranges(std::vector<ReservedRegion> const& reserved)
{
    return std::ranges::all_of(reserved, [](ReservedRegion const& region) {
        return region.range.start <= region.range.last;
    });
}

}  // namespace

struct Iommu::Impl {
    Options options;
    ModelRules const* rules;
    std::shared_ptr<pagetable::TableMemory> memory;  // nullptr: this model has no tables
    std::atomic<DomainTag> last_tag{0};
};

Result<std::unique_ptr<Iommu>> Iommu::create(Options options)
{
    ModelRules const& rules = rules_of(options.model);
    if (!are_ranges(options.reserved) || !rules.possible(options)) return fail(Errno::inval);
    auto impl = std::make_unique<Impl>(std::move(options), &rules, nullptr, DomainTag{0});
    if (auto const page = rules.table_page(impl->options))
        impl->memory = TRY(pagetable::TableMemory::create(*page, impl->options.table_budget));
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

unsigned Iommu::paddr_bits() const { return impl_->rules->paddr_bits(impl_->options); }

// 0 is the tag of no domain.
DomainTag Iommu::next_tag() const
{
    DomainTag const tag = ++impl_->last_tag;
    return tag != 0 ? tag : next_tag();
}

Result<std::unique_ptr<Domain>> Iommu::create_domain()
{
    return impl_->rules->create_domain(*this, impl_->memory);
}

}  // namespace pinfold::iommu
