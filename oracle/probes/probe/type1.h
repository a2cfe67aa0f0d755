/* Calls of Type1. */
#ifndef PINFOLD_ORACLE_PROBE_TYPE1_H
#define PINFOLD_ORACLE_PROBE_TYPE1_H
#include <inttypes.h>
#include "probe/files.h"
#include "probe/memory.h"

enum {
    kRead = VFIO_DMA_MAP_FLAG_READ,
    kWrite = VFIO_DMA_MAP_FLAG_WRITE,
    kBoth = 3,
    kVaddr = 4,
    kAll = 2,
    kBitmap = 1
};
static uint64_t const kIova =
    0x10000000; /* lies in the first IOVA range of every machine, and so does what follows */

static inline int map_dma(int container, uint32_t flags, uint64_t vaddr, uint64_t iova,
                          uint64_t size)
{
    struct vfio_iommu_type1_dma_map map = {
        .argsz = sizeof map, .flags = flags, .vaddr = vaddr, .iova = iova, .size = size};
    return ioctl(container, VFIO_IOMMU_MAP_DMA, &map);
}

/* size is in and out. */
static inline int unmap_dma(int container, uint32_t flags, uint64_t iova, uint64_t* size)
{
    struct vfio_iommu_type1_dma_unmap unmap = {
        .argsz = sizeof unmap, .flags = flags, .iova = iova, .size = *size};
    int const result = ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap);
    *size = unmap.size;
    return result;
}

static inline uint64_t vaddr_of(struct memory memory, uint64_t offset)
{
    return (uint64_t)(uintptr_t)memory.base + offset;
}

static inline int map(char const* rules, int container, uint32_t flags, struct memory memory,
                      uint64_t offset, uint64_t iova, uint64_t size)
{
    int const result = map_dma(container, flags, vaddr_of(memory, offset), iova, size);
    check(rules, result, "MAP_DMA(flags %x, %s+%" PRIx64 ", iova %" PRIx64 ", size %" PRIx64 ")",
          flags, memory.name, offset, iova, size);
    return result;
}

/* The size that is printed behind the result is the structure's, also after an error (U-1). */
static inline int unmap(char const* rules, int container, uint32_t flags, uint64_t iova,
                        uint64_t size)
{
    uint64_t out = size;
    int const result = unmap_dma(container, flags, iova, &out);
    int const error = errno;
    printf("[%s] UNMAP_DMA(flags %x, iova %" PRIx64 ", size %" PRIx64 ") = %s size %" PRIx64 "\n",
           rules, flags, iova, size, result == 0 ? "0" : strerrorname_np(error), out);
    errno = error;
    return result;
}

static inline void unmap_all(int container)
{
    uint64_t size = 0;
    need(unmap_dma(container, kAll, 0, &size) == 0, "UNMAP_DMA of all");
}

/* GET_INFO with all capabilities; exits where it does not succeed. */
static inline struct vfio_iommu_type1_info* all_info(int container)
{
    static _Alignas(8) char room[4096];
    struct vfio_iommu_type1_info* const info = (struct vfio_iommu_type1_info*)room;
    memset(room, 0, sizeof room);
    info->argsz = sizeof room;
    need(ioctl(container, VFIO_IOMMU_GET_INFO, info) == 0, "GET_INFO");
    return info;
}

/* Capabilities need not be aligned (I-7), so they are copied out. 0 where there is none. */
static inline size_t capability(struct vfio_iommu_type1_info const* info, uint16_t id)
{
    uint32_t offset = info->cap_offset;
    while (offset != 0) {
        struct vfio_info_cap_header header;
        memcpy(&header, (char const*)info + offset, sizeof header);
        if (header.id == id) return offset;
        offset = header.next;
    }
    return 0;
}

static inline long dma_available(int container)
{
    struct vfio_iommu_type1_info const* const info = all_info(container);
    size_t const offset = capability(info, VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL);
    uint32_t available = 0;
    if (offset == 0) return -1;
    memcpy(&available, (char const*)info + offset + sizeof(struct vfio_info_cap_header),
           sizeof available);
    return (long)available;
}

/* G: what MAP_DMA and UNMAP_DMA are held to. */
static inline uint64_t granule(int container)
{
    uint64_t const sizes = all_info(container)->iova_pgsizes;
    return sizes & -sizes;
}

struct iova_range {
    uint64_t start;
    uint64_t last;
};

/* The number of IOVA ranges; at most limit are copied out. */
static inline unsigned iova_ranges(int container, struct iova_range* ranges, unsigned limit)
{
    struct vfio_iommu_type1_info const* const info = all_info(container);
    size_t const offset = capability(info, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE);
    uint32_t count = 0;
    if (offset == 0) return 0;
    memcpy(&count, (char const*)info + offset + 8, sizeof count);
    for (unsigned i = 0; i < count && i < limit; ++i)
        memcpy(&ranges[i], (char const*)info + offset + 16 + 16 * i, sizeof ranges[i]);
    return count;
}

#endif
