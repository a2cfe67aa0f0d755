#include "uapi/info_encoding.hpp"

#include <linux/vfio.h>

#include <algorithm>
#include <cstring>

namespace pinfold::uapi {
namespace {

static_assert(sizeof(InfoHeader) == sizeof(vfio_iommu_type1_info) &&
              offsetof(InfoHeader, iova_pgsizes) == offsetof(vfio_iommu_type1_info, iova_pgsizes) &&
              offsetof(InfoHeader, cap_offset) == offsetof(vfio_iommu_type1_info, cap_offset));

struct Migration {
    vfio_info_cap_header header;
    std::uint32_t flags, pad;
    std::uint64_t pgsize_bitmap, max_dirty_bitmap_size;
};
static_assert(sizeof(Migration) == sizeof(vfio_iommu_type1_info_cap_migration));

struct DmaAvail {
    vfio_info_cap_header header;
    std::uint32_t avail, pad;
};
static_assert(offsetof(DmaAvail, avail) == offsetof(vfio_iommu_type1_info_dma_avail, avail));

struct IovaRanges {
    vfio_info_cap_header header;
    std::uint32_t nr_iovas, reserved;
};
static_assert(sizeof(IovaRanges) == offsetof(vfio_iommu_type1_info_cap_iova_range, iova_ranges));

constexpr std::uint32_t kMigrationAt = sizeof(InfoHeader);
constexpr std::uint32_t kDmaAvailAt = kMigrationAt + sizeof(Migration);

bool padded(Kernel kernel) { return kernel >= Kernel::v6_12; }

// Where the capability behind DMA_AVAIL begins (rule I-7).
std::uint32_t iova_ranges_at(Kernel kernel)
{
    return kDmaAvailAt + (padded(kernel) ? sizeof(DmaAvail) : offsetof(DmaAvail, pad));
}

class Writer {
public:
    explicit Writer(InfoBytes& bytes) : to_{bytes.data()} {}
    template <class T>
    void put(T const& value, std::size_t size = sizeof(T))
    {
        std::memcpy(to_, &value, size);
        to_ += size;
    }

private:
    std::byte* to_;
};

}  // namespace

std::size_t header_written(std::uint32_t argsz, Kernel kernel)
{
    if (padded(kernel)) return std::min<std::size_t>(argsz, sizeof(InfoHeader));
    return argsz < offsetof(InfoHeader, pad) ? offsetof(InfoHeader, cap_offset)
                                             : offsetof(InfoHeader, pad);
}

std::size_t info_size(type1::Info const& info, Kernel kernel)
{
    if (info.iova_ranges.empty()) return iova_ranges_at(kernel);
    return iova_ranges_at(kernel) + sizeof(IovaRanges) +
           info.iova_ranges.size() * sizeof(vfio_iova_range);
}

InfoBytes encode_capabilities(type1::Info const& info, Kernel kernel)
{
    auto const ranges = static_cast<std::uint32_t>(info.iova_ranges.size());
    InfoBytes bytes(info_size(info, kernel) - sizeof(InfoHeader));
    Writer out{bytes};
    out.put(Migration{.header = {VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION, 1, kDmaAvailAt},
                      .flags = 0,
                      .pad = 0,
                      .pgsize_bitmap = info.granule,
                      .max_dirty_bitmap_size = type1::kMostBitmapBytes});
    std::uint32_t const next = iova_ranges_at(kernel);
    out.put(DmaAvail{.header = {VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, 1, ranges == 0 ? 0 : next},
                     .avail = info.dma_avail,
                     .pad = 0},
            next - kDmaAvailAt);
    if (ranges == 0) return bytes;
    out.put(IovaRanges{
        .header = {VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, 1, 0}, .nr_iovas = ranges, .reserved = 0});
    for (IovaRange const range : info.iova_ranges)
        out.put(vfio_iova_range{range.start.raw(), range.last.raw()});
    return bytes;
}

}  // namespace pinfold::uapi
