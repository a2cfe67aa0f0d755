#include "iommu/native_domain.hpp"

namespace pinfold::iommu {

NativeDomain::NativeDomain(Iommu const& iommu, IovaRange aperture, PageSizes page_sizes)
    : Domain{iommu}, aperture_{aperture}, page_sizes_{page_sizes}
{
}

NativeDomain::~NativeDomain() { detach_endpoints(); }

std::optional<Domain::Leaf> NativeDomain::walk(Iova iova) const
{
    auto const entry = index_.find(iova);
    if (!entry) return std::nullopt;
    return Leaf{entry->iova, entry->paddr, entry->prot};
}

// EOVERFLOW: a range wraps; ERANGE: outside the aperture; EADDRINUSE.
Result<> NativeDomain::map_range(Iova iova, Paddr paddr, std::uint64_t size, Prot prot,
                                 std::uint64_t& mapped, Gather&)
{
    auto const range = TRY(IovaRange::of(iova, size));
    TRY(PaddrRange::of(paddr, size));
    if (!aperture_.contains(range)) return fail(Errno::range);
    TRY(index_.map(range, paddr, prot));
    mapped = size;
    return {};
}

// Entries go as a whole, so no cache holds more of one than the range does.
std::uint64_t NativeDomain::unmap_range(Iova iova, std::uint64_t size, Gather& gather,
                                        Runs* removed)
{
    auto const range = IovaRange::of(iova, size);
    if (!range || !aperture_.contains(*range)) return 0;
    gather.leaves = gather.leaves | PageSizes{page_sizes_.smallest().bytes()};
    if (removed == nullptr) return index_.unmap(*range);
    return leaf_by_leaf(iova, size, *removed, [&](Iova from, std::uint64_t most) {
        return index_.unmap({from, from + (most - 1)});
    });
}

}  // namespace pinfold::iommu
