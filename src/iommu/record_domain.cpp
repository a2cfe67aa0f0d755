#include "iommu/record_domain.hpp"

#include "iommu/driver_round.hpp"

namespace pinfold::iommu {

RecordDomain::RecordDomain(Iommu const& iommu, IovaRange aperture, PageSizes page_sizes)
    : Domain{iommu}, aperture_{aperture}, page_sizes_{page_sizes}
{
}

RecordDomain::~RecordDomain() { detach_endpoints(); }

std::optional<Domain::Leaf> RecordDomain::walk(Iova iova) const
{
    auto const record = records_.find(iova);
    if (!record) return std::nullopt;
    return Leaf{record->iova, record->paddr, record->prot};
}

// EOVERFLOW: a range wraps; ERANGE: outside the aperture.
Result<> RecordDomain::map_range(Iova iova, Paddr paddr, std::uint64_t size, Prot prot,
                                 std::uint64_t& mapped, Gather&)
{
    auto const range = TRY(IovaRange::of(iova, size));
    TRY(PaddrRange::of(paddr, size));
    if (!aperture_.contains(range)) return fail(Errno::range);

    while (mapped < size) {
        Iova const here = iova + mapped;
        Paddr const there = paddr + mapped;
        std::uint64_t const bytes = driver_round(page_sizes_, here, there, size - mapped);
        TRY(records_.map({here, here + (bytes - 1)}, there, prot));
        tell([&](Issue issue) {
            virtio::map(tag(), {here, here + (bytes - 1)}, there, prot, issue);
        });
        mapped += bytes;
    }
    return {};
}

void RecordDomain::tell(FunctionRef<void(Issue)> request) const
{
    if (commands() != nullptr)
        request([&](Command const& command) { commands()->submit(command); });
}

// Rule X-11: a call that finds less than it asks for forgets what it found, and ends the unmap
// without counting it.
std::uint64_t RecordDomain::unmap_range(Iova iova, std::uint64_t size, Gather& gather, Runs* told)
{
    auto const range = IovaRange::of(iova, size);
    if (!range || !aperture_.contains(*range)) return 0;

    // Records go as a whole, so no cache holds more of one than what is gathered.
    gather.leaves = gather.leaves | PageSizes{page_sizes_.smallest().bytes()};
    std::uint64_t unmapped = 0;
    while (unmapped < size) {
        Iova const here = iova + unmapped;
        std::uint64_t const bytes =
            driver_round(page_sizes_, here, Paddr{here.raw()}, size - unmapped);
        auto const removed = records_.unmap({here, here + (bytes - 1)}, told);
        tell([&](Issue issue) { virtio::unmap(tag(), {here, here + (bytes - 1)}, issue); });
        if (removed.bytes != 0) gather.add({here, removed.last});
        if (removed.bytes < bytes) break;
        unmapped += removed.bytes;
    }
    return unmapped;
}

}  // namespace pinfold::iommu
