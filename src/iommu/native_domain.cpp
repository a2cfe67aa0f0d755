#include "iommu/native_domain.hpp"

#include <bit>
#include <mutex>
#include <utility>

#include "base/read_section.hpp"

namespace pinfold::iommu {
namespace {

// What a gather remembers of the index is a moment; all that went until then may be freed once the
// gather's readers are gone, whoever took it away. The count of tables begins at one.
constexpr std::uint64_t both(std::uint32_t low, std::uint32_t high)
{
    return std::uint64_t{high} << 32 | low;
}
constexpr std::uint32_t low(std::uint64_t both) { return static_cast<std::uint32_t>(both); }
constexpr std::uint32_t high(std::uint64_t both) { return static_cast<std::uint32_t>(both >> 32); }

Retired packed(native::Index::Mark mark)
{
    return {both(mark.records, mark.segments), both(mark.tables, mark.roots)};
}
native::Index::Mark unpacked(Retired retired)
{
    return {low(retired.first), high(retired.first), low(retired.count), high(retired.count)};
}

}  // namespace

Result<std::unique_ptr<Domain>> NativeDomain::create(Iommu const& iommu, IovaRange aperture,
                                                     PageSizes page_sizes)
{
    auto const width = static_cast<unsigned>(std::bit_width(aperture.last.raw()));
    auto index = TRY(native::Index::create(width));
    return std::unique_ptr<Domain>{new NativeDomain{iommu, aperture, page_sizes, std::move(index)}};
}

NativeDomain::NativeDomain(Iommu const& iommu, IovaRange aperture, PageSizes page_sizes,
                           std::unique_ptr<native::Index> index)
    : Domain{iommu}, aperture_{aperture}, page_sizes_{page_sizes}, index_{std::move(index)}
{
}

NativeDomain::~NativeDomain() { detach_endpoints(); }

LeafCounts NativeDomain::leaves() const
{
    std::lock_guard const lock{mutex_};
    return index_->sizes();
}

std::uint64_t NativeDomain::table_bytes() const
{
    std::lock_guard const lock{mutex_};
    return index_->bytes_in_use();
}

// The section is for the thread that maps here: a neighbour's map may replace a node of both.
std::optional<Domain::Leaf> NativeDomain::walk(Iova iova) const
{
    ReadSection const section;
    auto const mapping = index_->find(iova);
    if (!mapping) return std::nullopt;
    return Leaf{mapping->iova, mapping->paddr(), mapping->prot()};
}

Segments NativeDomain::segments(IovaRange range, Access access, std::span<Segment> into) const
{
    Segments segments{range, access, into};
    auto const inside = range.intersection(aperture_);
    if (!inside || inside->start != range.start) return segments;
    ReadSection const section;
    index_->visit(*inside, [&](native::Entry entry, std::uint64_t first, std::uint64_t last) {
        return entry.leaf() &&
               segments.add({Iova{first}, Iova{last}}, entry.paddr(Iova{first}), entry.prot());
    });
    return segments;
}

// EOVERFLOW: a range wraps; ERANGE: outside the aperture; EADDRINUSE. What a map replaces waits for
// the next sync of any gather.
Result<> NativeDomain::map_range(Iova iova, Paddr paddr, std::uint64_t size, Prot prot,
                                 std::uint64_t& mapped, Gather&)
{
    auto const range = TRY(IovaRange::of(iova, size));
    TRY(PaddrRange::of(paddr, size));
    if (!aperture_.contains(range)) return fail(Errno::range);
    std::lock_guard const lock{mutex_};
    TRY(index_->map(range, native::Entry::leaf(iova, paddr, prot)));
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
    std::lock_guard const lock{mutex_};
    std::uint64_t const bytes = index_->unmap(*range, [&](native::Mapping const& gone) {
        if (removed != nullptr) removed->add({gone.iova.start, gone.paddr(), gone.iova.size()});
    });
    if (bytes != 0) gather.retired = packed(index_->mark());
    return bytes;
}

void NativeDomain::release(Retired retired)
{
    if (retired.count == 0) return;
    std::lock_guard const lock{mutex_};
    index_->release(unpacked(retired));
}

}  // namespace pinfold::iommu
