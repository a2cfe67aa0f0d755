/* Operations that ask Type1. */
#ifndef PINFOLD_ORACLE_RANDOM_TYPE1_H
#define PINFOLD_ORACLE_RANDOM_TYPE1_H
#include "random/operation.h"
#include "random/outcome.h"
#include "random/taken.h"

/* Where a structure lies: 0 ordinary memory, 1 nowhere, 2 cut by the end of memory, 3 in memory
 * that is read-only. */
static inline void* placed(void* structure, size_t size, uint64_t where)
{
    if (where == 1) return (void*)8;
    if (where == 2) return memcpy(before_the_edge(size - 8), structure, size - 8);
    if (where == 3) return read_only_copy(structure, size);
    return structure;
}

/* Left out: what ends at 2^64 - 1, which kernels before 6.18 get wrong (M-24 to M-28). */
static inline bool left_out(uint64_t iova, uint64_t size)
{
    if (size == 0 || iova + size != 0) return false;
    say("left out");
    return true;
}

static inline void op_get_info(struct words const* words)
{
    unsigned char room[512];
    uint32_t const argsz = (uint32_t)plain(words, 1);
    memset(room, 0xa5, sizeof room);
    memcpy(room, &argsz, sizeof argsz);
    void* const where = placed(room, 24, plain(words, 2));
    say_result(ioctl(at(containers, kContainers, plain(words, 0)), VFIO_IOMMU_GET_INFO, where));
    if (where == room) say(" %016" PRIx64, fnv1a(room, sizeof room, kHashStart));
}

static inline void op_map(struct words const* words)
{
    uint64_t const iova = place(words, 4, 0);
    struct vfio_iommu_type1_dma_map map = {.argsz = (uint32_t)plain(words, 1),
                                           .flags = (uint32_t)plain(words, 2),
                                           .vaddr = place(words, 3, 0),
                                           .iova = iova,
                                           .size = place(words, 5, iova)};
    if (left_out(map.iova, map.size)) return;
    long const result = ioctl(at(containers, kContainers, plain(words, 0)), VFIO_IOMMU_MAP_DMA,
                              placed(&map, sizeof map, plain(words, 6)));
    say_result(result);
    if (result == 0 && plain(words, 0) == 0 && (map.flags & kBoth) != 0)
        note_mapping(map.iova, map.size, map.flags);
}

struct bitmap_tail {
    uint64_t pgsize;
    uint64_t size;
    uint64_t data;
};

/* Words 5 to 7 of an unmap or a query: pgsize, size, and what the buffer is preset with; where 4
 * has no buffer. */
static inline struct bitmap_tail tail(struct words const* words, unsigned first, uint64_t* bits)
{
    uint64_t const preset = plain(words, first + 2);
    for (int i = 0; i < kBitmapWords; ++i) bits[i] = preset;
    return (struct bitmap_tail){place(words, first, 0), plain(words, first + 1),
                                plain(words, first + 3) == 4 ? 8 : (uintptr_t)bits};
}

static inline void say_bits(uint64_t const* bits)
{
    uint64_t const hash = fnv1a(bits, kBitmapWords * sizeof *bits, kHashStart);
    say(" %" PRIx64 " %" PRIx64 " %016" PRIx64, bits[0], bits[1], hash);
}

static inline void op_unmap(struct words const* words)
{
    uint64_t bits[kBitmapWords];
    uint64_t const iova = place(words, 3, 0);
    uint64_t const where = plain(words, 8);
    struct {
        struct vfio_iommu_type1_dma_unmap head;
        struct bitmap_tail tail;
    } unmap = {.head = {.argsz = (uint32_t)plain(words, 1),
                        .flags = (uint32_t)plain(words, 2),
                        .iova = iova,
                        .size = place(words, 4, iova)},
               .tail = tail(words, 5, bits)};
    if (left_out(iova, unmap.head.size)) return;
    say_result(ioctl(at(containers, kContainers, plain(words, 0)), VFIO_IOMMU_UNMAP_DMA,
                     placed(&unmap, sizeof unmap, where)));
    if (where == 0 || where == 4) say(" size %llx", (unsigned long long)unmap.head.size);
    if ((unmap.head.flags & kBitmap) != 0) say_bits(bits);
}

static inline void op_dirty(struct words const* words)
{
    uint64_t bits[kBitmapWords];
    uint64_t const iova = place(words, 3, 0);
    struct {
        struct vfio_iommu_type1_dirty_bitmap head;
        uint64_t iova;
        uint64_t size;
        struct bitmap_tail tail;
    } dirty = {.head = {.argsz = (uint32_t)plain(words, 1), .flags = (uint32_t)plain(words, 2)},
               .iova = iova,
               .size = place(words, 4, iova),
               .tail = tail(words, 5, bits)};
    say_result(ioctl(at(containers, kContainers, plain(words, 0)), VFIO_IOMMU_DIRTY_PAGES,
                     placed(&dirty, sizeof dirty, plain(words, 8))));
    if ((dirty.head.flags & 4) != 0) say_bits(bits);
}

static inline void op_available(struct words const* words)
{
    char room[1024];
    struct vfio_iommu_type1_info* const info = (struct vfio_iommu_type1_info*)room;
    int const container = at(containers, kContainers, plain(words, 0));
    info->argsz = 16;
    int const result = ioctl(container, VFIO_IOMMU_GET_INFO, info);
    if (result == 0)
        say("%ld", dma_available(container));
    else
        say_result(result);
}

#endif
