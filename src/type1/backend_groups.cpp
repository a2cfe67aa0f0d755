// How groups come and go: domains, IOVA ranges, page sizes. Section 6 of the rules.
#include <algorithm>

#include "type1/backend.hpp"
#include "type1/rollback.hpp"

namespace pinfold::type1 {

Result<> Backend::attach(Group& group, host::Process* caller)
{
    if (invalid_vaddrs_ != 0) return fail(Errno::busy);
    groups_.reserve(groups_.size() + 1);
    // Only its driver's pins and writes are an emulated group's, and they are all known.
    group.pinned_page_dirty_scope = group.emulated();
    if (group.emulated()) {
        groups_.push_back(&group);
        return {};
    }

    // A fresh domain is tried even where the group ends up in one that is here already (rule A-1).
    auto fresh = group.iommu().create_domain();
    if (!fresh) return fail(settings_.kernel < Kernel::v6_12 ? Errno::io : fresh.error());
    if (nesting_ == Nesting::yes && !group.can_nest()) return fail(Errno::inval);
    Rollback block{[&] { group.block(); }};
    TRY(group.attach(**fresh));
    auto ranges = TRY(ranges_with(group, (*fresh)->aperture()));
    if (group.msi_isolation() == MsiIsolation::no && !settings_.allow_unsafe_interrupts) {
        write_line(
            settings_.log,
            "vfio_iommu_type1_attach_group: No interrupt remapping support.  Use the module "
            "param \"allow_unsafe_interrupts\" to enable VFIO IOMMU support on this platform");
        return fail(Errno::perm);
    }
    TRY(take_into_domain(group, std::move(*fresh), ranges.ranges(), caller));

    iova_ranges_ = std::move(ranges);
    groups_.push_back(&group);
    block.commit();
    return {};
}

// Into a domain that is here already, or else the fresh one, which then holds what is mapped.
Result<> Backend::take_into_domain(Group& group, std::unique_ptr<iommu::Domain> fresh,
                                   std::span<IovaRange const> ranges, host::Process* caller)
{
    bool const coherent = fresh->enforce_coherency();
    if (domains_.join(group, coherent)) return {};

    auto const fgsp =
        settings_.kernel < Kernel::v7_3 ? domains_.probe(*fresh, ranges) : Domains::Fgsp::no;
    bool const first = domains_.empty();
    TRY(domains_.adopt(fresh, group, coherent, fgsp, dmas_));
    if (first) {
        Rollback leave{[&] { domains_.remove(group); }};
        TRY(pin_all(caller));
        leave.commit();
    }
    update_page_sizes();
    return {};
}

// Mappings that were made while there was no domain are pinned and mapped now (rules A-6, P-17).
// All or nothing.
Result<> Backend::pin_all(host::Process* caller)
{
    auto position = dmas_.begin();
    Rollback undo{[&] {
        for (auto done = dmas_.begin(); done != position; ++done) {
            take_out(done->second, pinning());
            done->second.mapped = false;
        }
        leaving_.unpin();
    }};
    for (; position != dmas_.end(); ++position) {
        Dma& dma = position->second;
        if (caller != nullptr) {
            TRY(pin_and_map(dma, *caller));
            continue;
        }
        host::Mm::Use const use{*dma.mm};
        if (!use) return fail(Errno::nodev);
        TRY(pin_and_map(dma, use.process()));
    }
    undo.commit();
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
    for (Group const* const group : groups_)
        if (!group->emulated()) ranges += group->iommu().reserved_regions().size();
    return ranges;
}

void Backend::detach(Group& group)
{
    group.block();
    std::erase(groups_, &group);
    if (!group.emulated()) detach_real(group);
    if (groups_.empty())
        for (auto position = dmas_.begin(); position != dmas_.end();) position = remove(position);
    // What the group wrote while it was here, nobody knows (rule A-14).
    if (dirty_tracking_ && !group.pinned_page_dirty_scope)
        for (auto& [iova, dma] : dmas_) dma.dirty.mark_all();
}

void Backend::detach_real(Group& group)
{
    bool const last_in_domain = domains_.alone(group);
    if (last_in_domain && domains_.count() == 1) unmap_all();
    domains_.remove(group);
    if (last_in_domain) {
        iova_ranges_.widen(domains_.common_aperture());
        update_page_sizes();
    }
    iova_ranges_.close_holes();
    for (Group const* const left : groups_)
        if (!left->emulated()) iova_ranges_.exclude(left->iommu().reserved_regions());
}

// The last domain goes: nothing is pinned any more but what drivers have pinned (rule P-16). The
// mappings stay if an emulated group does.
void Backend::unmap_all()
{
    auto* const activity = settings_.activity;
    if (activity != nullptr && activity->fullest()) activity->leaves(domains_.leaves());
    for (auto& [iova, dma] : dmas_) {
        take_out(dma, pinning());
        dma.mapped = false;
    }
    leaving_.unpin();
}

// Only where a domain has come or gone (rule I-5).
void Backend::update_page_sizes()
{
    page_sizes_ = rules_.reported(domains_.common_page_sizes());
    granule_ = rules_.granule(page_sizes_);
}

}  // namespace pinfold::type1
