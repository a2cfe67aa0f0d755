#include "type1/domains.hpp"

#include <algorithm>
#include <ranges>
#include <span>

#include "base/read_section.hpp"

namespace pinfold::type1 {
namespace {

void unmap_now(iommu::Domain& domain, IovaRange range)
{
    iommu::Gather gather;
    domain.unmap(range.start, range.size(), gather);
    domain.sync(gather);
}

}  // namespace

PageSizes Domains::common_page_sizes() const
{
    PageSizes common{~std::uint64_t{0}};
    for (Member const& member : domains_) common = common & member.domain->page_sizes();
    return common;
}

IovaRange Domains::common_aperture() const
{
    IovaRange common{Iova{0}, Iova{~std::uint64_t{0}}};
    for (Member const& member : domains_) {
        auto const aperture = member.domain->aperture();
        common.start = std::max(common.start, aperture.start);
        common.last = std::min(common.last, aperture.last);
    }
    return common;
}

bool Domains::enforce_coherency() const { return std::ranges::all_of(domains_, &Member::coherent); }

Result<> Domains::map(Iova iova, Paddr paddr, std::uint64_t size, Prot prot)
{
    for (auto member = domains_.begin(); member != domains_.end(); ++member) {
        auto const mapped = member->domain->map(iova, paddr, size, prot);
        if (mapped) continue;
        for (auto done = domains_.begin(); done != member; ++done)
            unmap_now(*done->domain, {iova, iova + (size - 1)});
        return mapped;
    }
    return {};
}

void Domains::unmap(IovaRange range, Use gone)
{
    if (domains_.empty()) return;
    for (Member& member : domains_ | std::views::drop(1))
        member.domain->unmap(range.start, range.size(), member.gather);
    unmap_head(range, gone);
}

void Domains::sync()
{
    for (Member& member : domains_) member.domain->sync(member.gather);
}

// Run by run, since each is an event of its own to who traces the IOMMU (rule U-13).
void Domains::unmap_head(IovaRange range, Use gone)
{
    iommu::Gather& gather = domains_.front().gather;
    bool const single = domains_.front().fgsp == Fgsp::yes;

    // Offsets, because the position after a range that ends at the top of the space has no name.
    std::uint64_t const size = range.size();
    for (std::uint64_t offset = 0; offset < size;) {
        Iova const iova = range.start + offset;
        auto run = run_at({iova, range.last});
        if (!run) {
            offset += std::min(step().bytes(), size - offset);
            continue;
        }
        if (single) run->size = std::min(run->size, host_page_.bytes());
        std::uint64_t bytes = head().unmap(iova, run->size, gather);
        if (bytes == 0) {  // rule U-14: once more, with nothing outstanding
            sync();
            bytes = head().unmap(iova, run->size, gather);
            if (bytes == 0) break;
        }
        bytes = std::min(bytes, size - offset);
        gone(iova, run->paddr, bytes);
        offset += bytes;
    }
}

void Domains::each_run(IovaRange range, Use use) const
{
    std::uint64_t const size = range.size();
    for (std::uint64_t offset = 0; offset < size;) {
        Iova const iova = range.start + offset;
        auto const run = run_at({iova, range.last});
        if (run) use(iova, run->paddr, run->size);
        offset += run ? run->size : std::min(step().bytes(), size - offset);
    }
}

// The stretch from range.start on that is physically consecutive, as far as look-ups in steps can
// tell; a leaf answers for all the steps inside it. nullopt: nothing is there.
std::optional<Domains::Run> Domains::run_at(IovaRange range) const
{
    ReadSection const section;
    auto leaf = head().walk(range.start);
    if (!leaf) return std::nullopt;
    PageSize const step = this->step();
    Run run{range.start, leaf->paddr + (range.start - leaf->iova.start), 0};
    for (;;) {
        std::uint64_t const in_leaf = leaf->iova.last - (range.start + run.size) + 1;
        run.size += std::max(step.align_down(in_leaf), step.bytes());
        if (run.size >= range.size()) break;
        Iova const next = range.start + run.size;
        leaf = head().walk(next);
        if (!leaf || leaf->paddr + (next - leaf->iova.start) != run.paddr + run.size) break;
    }
    run.size = std::min(run.size, range.size());
    return run;
}

PageSize Domains::step() const { return rules_.unmap_step(head().page_sizes()); }

bool Domains::join(Group& group, bool coherent)
{
    for (Member& member : domains_) {
        bool const suits = member.iommu->options().model == group.iommu().options().model &&
                           member.coherent == coherent;
        if (!suits) continue;
        member.groups.reserve(member.groups.size() + 1);
        if (!group.attach(*member.domain)) continue;
        member.groups.push_back(&group);
        return true;
    }
    return false;
}

Result<> Domains::adopt(std::unique_ptr<iommu::Domain>& fresh, Group& group, bool coherent,
                        Fgsp fgsp, Dmas& dmas)
{
    domains_.reserve(domains_.size() + 1);
    std::vector<Group*> groups{&group};
    if (!domains_.empty())
        for (auto const& [iova, dma] : dmas) TRY(replay(*fresh, dma));

    domains_.insert(domains_.begin(),
                    Member{std::move(fresh), &group.iommu(), coherent, fgsp, std::move(groups)});
    return {};
}

Result<> Domains::replay(iommu::Domain& fresh, Dma const& dma) const
{
    Result<> result;
    each_run(dma.range, [&](Iova iova, Paddr paddr, std::uint64_t size) {
        if (result) result = fresh.map(iova, paddr, size, dma.prot);
    });
    return result;
}

// No frame is behind the two pages: nothing but the table is looked at.
Domains::Fgsp Domains::probe(iommu::Domain& fresh, std::span<IovaRange const> ranges) const
{
    std::uint64_t const page = host_page_.bytes();
    PageSize const window = PageSize::lg2_of(host_page_.lg2() + 1);
    for (IovaRange const range : ranges) {
        Iova const start{window.align_up(range.start.raw())};
        if (start < range.start || start >= range.last || range.last - start < window.bytes())
            continue;
        if (!fresh.map(start, Paddr{0}, window.bytes(), Prot::read_write)) return Fgsp::no;
        iommu::Gather gather;
        bool const splits = fresh.unmap(start, page, gather) == page;
        if (splits) fresh.unmap(start + page, page, gather);
        fresh.sync(gather);
        return splits ? Fgsp::no : Fgsp::yes;
    }
    return Fgsp::no;
}

bool Domains::alone(Group const& group) const
{
    return std::ranges::any_of(domains_, [&](Member const& member) {
        return member.groups.size() == 1 && member.groups.front() == &group;
    });
}

iommu::LeafCounts Domains::leaves() const
{
    iommu::LeafCounts sum{};
    for (auto const& member : domains_) {
        auto const counts = member.domain->leaves();
        for (std::size_t lg2 = 0; lg2 < sum.size(); ++lg2) sum[lg2] += counts[lg2];
    }
    return sum;
}

void Domains::remove(Group& group)
{
    for (Member& member : domains_) std::erase(member.groups, &group);
    std::erase_if(domains_, [](Member const& member) { return member.groups.empty(); });
}

}  // namespace pinfold::type1
