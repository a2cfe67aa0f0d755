// How groups come and go: domains, IOVA ranges, page sizes. Section 6 of the rules.
#include <algorithm>

#include "type1/backend.hpp"
#include "type1/page_sizes.hpp"
#include "type1/rollback.hpp"

namespace pinfold::type1 {

Result<> Backend::attach(Group& group)
{
    if (invalid_vaddrs_ != 0) return fail(Errno::busy);
    groups_.reserve(groups_.size() + 1);

    // A fresh domain is tried even where the group ends up in one that is here already (rule A-1).
    auto fresh = TRY(group.iommu().create_domain());
    Rollback block{[&] { group.block(); }};
    TRY(group.attach(*fresh));
    auto ranges = TRY(ranges_with(group, fresh->aperture()));
    if (group.msi_isolation() == MsiIsolation::no && !settings_.allow_unsafe_interrupts)
        return fail(Errno::perm);
    if (!domains_.join(group)) {
        TRY(domains_.adopt(fresh, group, dmas_));
        update_page_sizes();
    }

    iova_ranges_ = std::move(ranges);
    groups_.push_back(&group);
    block.commit();
    return {};
}

// The ranges as they would be with `group`, in a domain with `aperture`. EINVAL: something is
// mapped where they no longer go, or they would be empty.
Result<IovaRanges> Backend::ranges_with(Group const& group, IovaRange aperture)
{
    if (iova_ranges_.conflicts(aperture, dmas_)) return fail(Errno::inval);
    auto const& reserved = group.iommu().reserved_regions();
    for (iommu::ReservedRegion const& region : reserved)
        if (binding(region) && overlapping(dmas_, region.range)) return fail(Errno::inval);

    IovaRanges ranges = iova_ranges_;
    ranges.reserve(most_ranges() + reserved.size());
    ranges.narrow(aperture);
    ranges.exclude(reserved);
    if (ranges.empty()) return fail(Errno::inval);
    return ranges;
}

// Room that lets detach() rebuild the ranges without allocating: each region splits at most once.
std::size_t Backend::most_ranges() const
{
    std::size_t ranges = 1;
    for (Group const* const group : groups_) ranges += group->iommu().reserved_regions().size();
    return ranges;
}

void Backend::detach(Group& group)
{
    group.block();
    bool const last_in_domain = domains_.alone(group);
    if (last_in_domain && domains_.count() == 1)
        for (auto position = dmas_.begin(); position != dmas_.end();) position = remove(position);
    domains_.remove(group);
    std::erase(groups_, &group);

    if (last_in_domain) {
        iova_ranges_.widen(domains_.common_aperture());
        update_page_sizes();
    }
    iova_ranges_.close_holes();
    for (Group const* const left : groups_) iova_ranges_.exclude(left->iommu().reserved_regions());
}

// Only where a domain has come or gone (rule I-5).
void Backend::update_page_sizes()
{
    page_sizes_ = reported_page_sizes(domains_.common_page_sizes(), settings_.memory.page_size());
    granule_ = granule(page_sizes_);
}

}  // namespace pinfold::type1
