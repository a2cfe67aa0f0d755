#include "uapi/container_file.hpp"

#include <linux/vfio.h>

#include <algorithm>
#include <bit>

#include "uapi/info_encoding.hpp"
#include "uapi/user_memory.hpp"

namespace pinfold::uapi {
namespace {

// The least argsz of a structure: the end of the last field that every kernel had.
#define PINFOLD_END_OF(type, field) (offsetof(type, field) + sizeof(type::field))
constexpr std::size_t kInfoLeast = PINFOLD_END_OF(vfio_iommu_type1_info, iova_pgsizes);
constexpr std::size_t kMapLeast = PINFOLD_END_OF(vfio_iommu_type1_dma_map, size);
constexpr std::size_t kUnmapLeast = PINFOLD_END_OF(vfio_iommu_type1_dma_unmap, size);
constexpr std::size_t kDirtyLeast = PINFOLD_END_OF(vfio_iommu_type1_dirty_bitmap, flags);
#undef PINFOLD_END_OF

constexpr std::uint32_t kMapFlags =
    VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE | VFIO_DMA_MAP_FLAG_VADDR;
constexpr std::uint32_t kUnmapFlags =
    VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP | VFIO_DMA_UNMAP_FLAG_ALL | VFIO_DMA_UNMAP_FLAG_VADDR;
constexpr std::uint32_t kDirtyFlags = VFIO_IOMMU_DIRTY_PAGES_FLAG_START |
                                      VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP |
                                      VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP;

type1::Bitmap bitmap_from(vfio_bitmap const& bitmap)
{
    return {bitmap.pgsize, bitmap.size, Vaddr{std::bit_cast<std::uint64_t>(bitmap.data)}};
}

}  // namespace

ContainerFile::ContainerFile(std::shared_ptr<type1::Container> container, Kernel kernel)
    : container_{std::move(container)}, kernel_{kernel}
{
}

Reply ContainerFile::ioctl(Client& client, std::uint32_t request, std::uint64_t arg)
{
    switch (request) {
        case VFIO_GET_API_VERSION: return VFIO_API_VERSION;
        case VFIO_CHECK_EXTENSION: return container_->check_extension(arg) ? 1 : 0;
        case VFIO_SET_IOMMU: TRY(container_->set_iommu(arg)); return 0;
        default: break;
    }
    if (!container_->version()) return fail(Errno::inval);
    switch (request) {
        case VFIO_IOMMU_GET_INFO: return get_info(client, arg);
        case VFIO_IOMMU_MAP_DMA: return map_dma(client, arg);
        case VFIO_IOMMU_UNMAP_DMA: return unmap_dma(client, arg);
        case VFIO_IOMMU_DIRTY_PAGES: return dirty_pages(client, arg);
        default: return fail(Errno::notty);
    }
}

// Rules I-1 to I-12. The capabilities go out before the header, which stays untouched if they
// cannot.
Reply ContainerFile::get_info(Client& client, std::uint64_t arg)
{
    InfoHeader header{};
    TRY(read_user(client, arg, header, kInfoLeast));
    if (header.argsz < kInfoLeast) return fail(Errno::inval);
    auto const info = TRY(container_->info());
    header.flags = VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS;
    header.iova_pgsizes = info.page_sizes.bitmap();
    std::size_t const needed = info_size(info, kernel_);
    std::size_t const covered = header_written(header.argsz, kernel_);
    if (header.argsz < needed) {
        header.argsz = static_cast<std::uint32_t>(needed);
    } else {
        TRY(write_user_bytes(client, arg + sizeof header, encode_capabilities(info, kernel_)));
        header.cap_offset = sizeof header;
    }
    TRY(write_user(client, arg, header, covered));
    return 0;
}

Reply ContainerFile::map_dma(Client& client, std::uint64_t arg)
{
    vfio_iommu_type1_dma_map map;
    TRY(read_user(client, arg, map, kMapLeast));
    if (map.argsz < kMapLeast || (map.flags & ~kMapFlags) != 0) return fail(Errno::inval);

    auto const prot = ((map.flags & VFIO_DMA_MAP_FLAG_READ) != 0 ? Prot::read : Prot::none) |
                      ((map.flags & VFIO_DMA_MAP_FLAG_WRITE) != 0 ? Prot::write : Prot::none);
    TRY(container_->map(client.process(),
                        {.iova = Iova{map.iova},
                         .vaddr = Vaddr{map.vaddr},
                         .size = map.size,
                         .prot = prot,
                         .update_vaddr = (map.flags & VFIO_DMA_MAP_FLAG_VADDR) != 0}));
    return 0;
}

// Rules 4.1. Only success writes the structure back (rules U-1, U-2).
Reply ContainerFile::unmap_dma(Client& client, std::uint64_t arg)
{
    vfio_iommu_type1_dma_unmap unmap;
    TRY(read_user(client, arg, unmap, kUnmapLeast));
    if (unmap.argsz < kUnmapLeast || (unmap.flags & ~kUnmapFlags) != 0) return fail(Errno::inval);
    type1::UnmapRequest request{.iova = Iova{unmap.iova},
                                .size = unmap.size,
                                .all = (unmap.flags & VFIO_DMA_UNMAP_FLAG_ALL) != 0,
                                .invalidate_vaddr = (unmap.flags & VFIO_DMA_UNMAP_FLAG_VADDR) != 0,
                                .dirty = {}};
    if ((unmap.flags & VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP) != 0) {
        if (request.all || request.invalidate_vaddr) return fail(Errno::inval);
        vfio_bitmap bitmap;
        if (unmap.argsz < kUnmapLeast + sizeof bitmap) return fail(Errno::inval);
        TRY(read_user(client, arg + kUnmapLeast, bitmap));
        request.dirty = bitmap_from(bitmap);
    }

    unmap.size = TRY(container_->unmap(client.process(), request));
    TRY(write_user(client, arg, unmap, kUnmapLeast));
    return 0;
}

// Rules 7.1. Version 1 is EACCES whatever the argument is.
Reply ContainerFile::dirty_pages(Client& client, std::uint64_t arg)
{
    if (container_->version() == type1::Version::v1) return fail(Errno::acces);
    vfio_iommu_type1_dirty_bitmap dirty;
    TRY(read_user(client, arg, dirty, kDirtyLeast));
    if (dirty.argsz < kDirtyLeast || (dirty.flags & ~kDirtyFlags) != 0) return fail(Errno::inval);
    switch (dirty.flags) {
        case VFIO_IOMMU_DIRTY_PAGES_FLAG_START: TRY(container_->start_dirty_tracking()); return 0;
        case VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP: TRY(container_->stop_dirty_tracking()); return 0;
        case VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP: return dirty_bitmap(client, arg, dirty.argsz);
        default: return fail(Errno::inval);  // not exactly one of them
    }
}

Reply ContainerFile::dirty_bitmap(Client& client, std::uint64_t arg, std::uint32_t argsz)
{
    vfio_iommu_type1_dirty_bitmap_get query;
    if (argsz - kDirtyLeast < sizeof query) return fail(Errno::inval);
    TRY(read_user(client, arg + kDirtyLeast, query));
    TRY(container_->dirty_bitmap(
        client.process(),
        {.iova = Iova{query.iova}, .size = query.size, .bitmap = bitmap_from(query.bitmap)}));
    return 0;
}

}  // namespace pinfold::uapi
