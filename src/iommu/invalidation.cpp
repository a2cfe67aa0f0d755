#include "iommu/invalidation.hpp"

#include <algorithm>
#include <bit>

namespace pinfold::iommu {
namespace {

PageSize largest(PageSizes sizes)
{
    return PageSize::lg2_of(static_cast<unsigned>(std::bit_width(sizes.bitmap())) - 1);
}

void issue_two(Issue issue, std::uint64_t low, std::uint64_t high)
{
    Command command;
    command.words = {low, high};
    issue(command);
}

}  // namespace

IovaRange Invalidation::covered() const
{
    if (leaves.empty()) return {Iova{0}, Iova{~std::uint64_t{0}}};
    std::uint64_t const mask = largest(leaves).mask();
    return {Iova{range.start.raw() & ~mask}, Iova{range.last.raw() | mask}};
}

// ---------------------------------------------------------------------------------------- VT-d

namespace vtd {
namespace {

constexpr std::uint64_t kIotlb = 2;  // descriptor types
constexpr std::uint64_t kWait = 5;
constexpr std::uint64_t kByDomain = 2ULL << 4;
constexpr std::uint64_t kByPage = 3ULL << 4;
constexpr std::uint64_t kDrainWrites = 1ULL << 6;
constexpr std::uint64_t kDrainReads = 1ULL << 7;
constexpr std::uint64_t kFence = 1ULL << 6;
constexpr std::uint64_t kLeavesOnly = 1ULL << 6;  // IH

}  // namespace

void invalidate(DomainTag domain, Invalidation const& what, Abilities abilities, Issue issue)
{
    std::uint64_t const low =
        kIotlb | kDrainWrites | kDrainReads | static_cast<std::uint64_t>(domain) << 16;
    auto const [start, last] = what.covered();
    // All pages whose numbers agree above the highest bit in which the first and the last differ.
    auto const pages_lg2 = static_cast<unsigned>(
        std::bit_width((start.raw() >> k4K.lg2()) ^ (last.raw() >> k4K.lg2())));
    if (!abilities.page_selective || pages_lg2 > abilities.most_pages_lg2)
        return issue_two(issue, low | kByDomain, 0);
    PageSize const block = PageSize::lg2_of(k4K.lg2() + pages_lg2);
    std::uint64_t const hint = what.tables ? 0 : kLeavesOnly;
    issue_two(issue, low | kByPage, block.align_down(start.raw()) | hint | pages_lg2);
}

void wait(Issue issue) { issue_two(issue, kWait | kFence, 0); }

}  // namespace vtd

// ----------------------------------------------------------------------------------------- AMD

namespace amd {
namespace {

constexpr std::uint64_t kCompletionWait = 1ULL << 60;
constexpr std::uint64_t kInvalidatePages = 3ULL << 60;
constexpr std::uint64_t kSized = 1ULL << 0;      // S
constexpr std::uint64_t kTablesToo = 1ULL << 1;  // PDE
constexpr unsigned kHighestSizeBit = 51;
constexpr std::uint64_t kEverything = 0x7fff'ffff'ffff'f000;

}  // namespace

// Of a size 2^n the bits below n - 1 are ones, and bit n - 1 is zero.
void invalidate(DomainTag domain, Invalidation const& what, Issue issue)
{
    auto const [start, last] = what.covered();
    std::uint64_t const first_page = k4K.align_down(start.raw());
    std::uint64_t const differ = (start.raw() ^ last.raw()) & ~k4K.mask();
    std::uint64_t address = first_page;
    if (differ != 0) {
        auto const top = static_cast<unsigned>(std::bit_width(differ)) - 1;
        std::uint64_t const below = PageSize::lg2_of(top).mask();
        address = top > kHighestSizeBit ? kEverything : (first_page | below) & ~k4K.mask();
        address |= kSized;
    }
    issue_two(issue, kInvalidatePages | static_cast<std::uint64_t>(domain) << 32,
              address | (what.tables ? kTablesToo : 0));
}

void wait(Issue issue) { issue_two(issue, kCompletionWait, 0); }

}  // namespace amd

// -------------------------------------------------------------------------------------- SMMUv3

namespace smmu {
namespace {

constexpr std::uint64_t kTlbiNhAsid = 0x11;
constexpr std::uint64_t kTlbiNhVa = 0x12;
constexpr std::uint64_t kSync = 0x46;
constexpr std::uint64_t kMostCommands = 512;
constexpr std::uint64_t kLeaf = 1;

// A hint of the level that the leaves are at, if all are at one: 3 is that of the granule.
std::uint64_t level_hint(Invalidation const& what, PageSize granule)
{
    if (what.tables || what.leaves.empty()) return 0;
    unsigned const per_level = granule.lg2() - 3;
    auto const level = [&](PageSize size) { return 4 - (size.lg2() - 3) / per_level; };
    unsigned const lowest = level(what.leaves.smallest());
    return lowest == level(largest(what.leaves)) ? lowest : 0;
}

struct Pages {
    std::uint64_t iova;
    std::uint64_t count;  // granules
};

// Of (num + 1) * 2^scale granules each, until all are named.
void by_range(std::uint64_t low, std::uint64_t high, Pages pages, PageSize granule, Issue issue)
{
    std::uint64_t const granule_code = (granule.lg2() - 10) / 2;
    // A range of one granule without leaf and level is reserved.
    if (pages.count % 2 == 1 && high == 0) ++pages.count;
    while (pages.count != 0) {
        auto const scale = static_cast<unsigned>(std::countr_zero(pages.count));
        std::uint64_t const number = (pages.count >> scale) & 31;
        issue_two(issue, low | (number - 1) << 12 | static_cast<std::uint64_t>(scale) << 20,
                  high | granule_code << 10 | pages.iova);
        pages.count -= number << scale;
        pages.iova += number << (scale + granule.lg2());
    }
}

}  // namespace

void invalidate(DomainTag asid, Invalidation const& what, Abilities abilities, Issue issue)
{
    std::uint64_t const tag = static_cast<std::uint64_t>(asid) << 48;
    PageSize const granule = abilities.granule;
    auto const [start, last] = what.covered();
    std::uint64_t const first = granule.align_down(start.raw());
    std::uint64_t const count = ((last.raw() - first) >> granule.lg2()) + 1;
    std::uint64_t const leaf = what.tables ? 0 : kLeaf;
    // A count of 2^31 and more is beyond what scale can say.
    bool const whole = count >= (abilities.by_range ? std::uint64_t{1} << 31 : kMostCommands);
    if (whole) return issue_two(issue, kTlbiNhAsid | tag, 0);
    if (abilities.by_range) {
        std::uint64_t const hint = level_hint(what, granule) << 8;
        return by_range(kTlbiNhVa | tag, leaf | hint, {first, count}, granule, issue);
    }
    for (std::uint64_t i = 0; i < count; ++i)
        issue_two(issue, kTlbiNhVa | tag, leaf | (first + (i << granule.lg2())));
}

void wait(Issue issue) { issue_two(issue, kSync, 0); }

}  // namespace smmu

// -------------------------------------------------------------------------------------- virtio

namespace virtio {
namespace {

constexpr std::uint64_t kMap = 3;
constexpr std::uint64_t kUnmap = 4;
constexpr std::uint64_t kRead = 1;
constexpr std::uint64_t kWrite = 2;

}  // namespace

void map(DomainTag domain, IovaRange iova, Paddr paddr, Prot prot, Issue issue)
{
    std::uint64_t const flags =
        (allows(prot, Access::read) ? kRead : 0) | (allows(prot, Access::write) ? kWrite : 0);
    issue({{kMap | static_cast<std::uint64_t>(domain) << 32, iova.start.raw(), iova.last.raw(),
            paddr.raw(), flags},
           40});
}

void unmap(DomainTag domain, IovaRange iova, Issue issue)
{
    issue({{kUnmap | static_cast<std::uint64_t>(domain) << 32, iova.start.raw(), iova.last.raw()},
           28});
}

}  // namespace virtio

}  // namespace pinfold::iommu
