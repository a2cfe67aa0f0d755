/* UNMAP_DMA: the order of its checks (4.1, 4.2), what it removes (4.3), what it writes back: rules
 * U-1 to U-12. */
#include "probe.h"

static uint64_t g;

/* --- the structure --- */

struct request {
    uint32_t argsz;
    uint32_t flags;
    uint64_t iova;
    uint64_t size;
    uint64_t pgsize; /* the vfio_bitmap behind it */
    uint64_t bitmap_size;
    uint64_t bitmap;
};

enum violation {
    kArgsz,
    kUnknownFlag,
    kBitmapFlag,
    kAllFlag,
    kVaddrFlag,
    kIovaUnaligned,
    kSizeUnaligned,
    kZeroSize,
    kWraps,
    kBisectsFront,
    kBisectsBack,
    kViolations
};
static char const* const kViolationNames[kViolations] = {
    "argsz", "unknown flag",   "dirty bitmap",   "all",
    "vaddr", "unaligned iova", "unaligned size", "size 0",
    "wraps", "bisects front",  "bisects back"};

/* [kIova, kIova + 4g) is mapped in two halves when this is asked. */
static struct request violate(unsigned set)
{
    static uint64_t bits;
    struct request request = {.argsz = sizeof request,
                              .iova = kIova,
                              .size = 4 * g,
                              .pgsize = g,
                              .bitmap_size = 8,
                              .bitmap = (uintptr_t)&bits};
    if (set >> kUnknownFlag & 1) request.flags |= 8;
    if (set >> kBitmapFlag & 1) request.flags |= VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP;
    if (set >> kAllFlag & 1) request.flags |= VFIO_DMA_UNMAP_FLAG_ALL;
    if (set >> kVaddrFlag & 1) request.flags |= VFIO_DMA_UNMAP_FLAG_VADDR;
    if (set >> kBisectsFront & 1) request.iova += g;
    if (set >> kBisectsBack & 1) request.size -= 2 * g;
    if (set >> kIovaUnaligned & 1) request.iova += 512;
    if (set >> kSizeUnaligned & 1) request.size += 512;
    if (set >> kWraps & 1) request.size = -request.iova + g;
    if (set >> kZeroSize & 1) request.size = 0;
    if (set >> kArgsz & 1) request.argsz = 23;
    return request;
}

/* Fresh mappings, one call, and what is left. */
static void violating(int container, struct memory memory, unsigned set)
{
    unmap_all(container);
    need(map_dma(container, kBoth, vaddr_of(memory, 0), kIova, 2 * g) == 0, "MAP_DMA");
    need(map_dma(container, kBoth, vaddr_of(memory, 0), kIova + 2 * g, 2 * g) == 0, "MAP_DMA");
    struct request request = violate(set);
    int const result = ioctl(container, VFIO_IOMMU_UNMAP_DMA, &request);
    printf(" = %s argsz %x flags %x iova %" PRIx64 " size %" PRIx64 " available %ld\n",
           result == 0 ? "0" : strerrorname_np(errno), request.argsz, request.flags, request.iova,
           request.size, dma_available(container));
}

static void order(unsigned long type, bool tracking)
{
    printf("== order of the checks, v%d, tracking %d\n", type == 1 ? 1 : 2, tracking);
    struct place const place = settle(type);
    struct memory const memory = touched("memory", 4 * g / page());
    struct vfio_iommu_type1_dirty_bitmap start = {.argsz = sizeof start,
                                                  .flags = VFIO_IOMMU_DIRTY_PAGES_FLAG_START};
    if (tracking) need(ioctl(place.container, VFIO_IOMMU_DIRTY_PAGES, &start) == 0, "DIRTY_PAGES");
    for (unsigned one = 0; one < kViolations; ++one)
        for (unsigned two = one; two < kViolations; ++two) {
            printf("[4.1 4.2 U-1] UNMAP_DMA(%s, %s)", kViolationNames[one], kViolationNames[two]);
            violating(place.container, memory, 1u << one | 1u << two);
        }
    for (unsigned set = 0; set < 1u << kViolations; ++set) {
        printf("[4.1 4.2 U-1] UNMAP_DMA(violations %03x)", set);
        violating(place.container, memory, set);
    }
    leave(place);
    release(memory);
}

static void structure(void)
{
    heading("the structure");
    struct place const place = settle(3);
    struct memory const memory = touched("memory", g / page());
    check("4.1", ioctl(place.container, VFIO_IOMMU_UNMAP_DMA, NULL), "UNMAP_DMA(NULL)");
    check("4.1", ioctl(place.container, VFIO_IOMMU_UNMAP_DMA, ~0ul), "UNMAP_DMA(-1)");
    struct request request = {.argsz = 24, .iova = kIova, .size = g};
    uint32_t const near[] = {0, 4, 8, 23, 24};
    for (int i = 0; i < 5; ++i) {
        memcpy(before_the_edge(near[i]), &request, near[i]);
        check("4.1", ioctl(place.container, VFIO_IOMMU_UNMAP_DMA, before_the_edge(near[i])),
              "UNMAP_DMA(%u bytes before the edge)", near[i]);
    }
    map("U-2", place.container, kBoth, memory, 0, kIova, g);
    check("U-2", ioctl(place.container, VFIO_IOMMU_UNMAP_DMA, read_only_copy(&request, 24)),
          "UNMAP_DMA(read-only)");
    state("U-2", place.container);
    uint32_t const sizes[] = {0, 8, 16, 23, 24, 25, 47, 48, 49, 4096, 0x80000000, 0xffffffff};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; ++i) {
        unsigned char room[64];
        memset(room, 0xa5, sizeof room);
        request.argsz = sizes[i];
        request.flags = 0;
        memcpy(room, &request, 24);
        need(map_dma(place.container, kBoth, vaddr_of(memory, 0), kIova, g) == 0, "MAP_DMA");
        check("4.1 U-2", ioctl(place.container, VFIO_IOMMU_UNMAP_DMA, room), "UNMAP_DMA(argsz %x)",
              sizes[i]);
        printf("[U-1 U-2] ");
        print_bytes(room, sizeof room);
        unmap_all(place.container);
    }
    for (uint32_t flags = 0; flags < 17; ++flags) unmap("4.1", place.container, flags, kIova, g);
    unmap("4.1", place.container, 0x80000000, kIova, g);
    unmap("4.1", place.container, 0xffffffff, kIova, g);
    leave(place);
    release(memory);
}

/* --- ranges --- */

static void arguments(int container, struct memory memory)
{
    heading("arguments");
    unmap("U-4", container, 0, kIova, g);
    map("4.2", container, kBoth, memory, 0, kIova, g);
    unmap("4.2 U-1", container, 0, kIova, 0);
    uint64_t const steps[] = {1, 512, 4096, g / 2};
    for (int i = 0; i < 4; ++i) {
        if (steps[i] % g == 0) continue;
        unmap("4.2 U-1 T-1", container, 0, kIova + steps[i], g);
        unmap("4.2 U-1 T-1", container, 0, kIova, steps[i]);
        unmap("4.2 U-1 T-1", container, 0, kIova, g + steps[i]);
    }
    unmap("4.2 U-1", container, 0, kIova, -kIova + g);
    unmap("4.2 U-1", container, 0, kIova + 512, -kIova);
    unmap("4.2 U-1", container, 0, kIova + 512, -kIova + g);
    unmap("4.2 U-1", container, 0, -g, 2 * g);
    unmap("4.2 U-1", container, 0, ~0ull, ~0ull);
    unmap("U-4", container, 0, kIova - g, 3 * g);
    unmap("4.2", container, kAll, 0, g);
    unmap("4.2", container, kAll, g, 0);
    unmap("4.2", container, kAll, 512, 0);
    unmap("4.2", container, kAll | kBitmap, 0, 0);
    unmap("U-5", container, kAll, 0, 0);
    state("U-12", container);
}

/* Three mappings with a hole between: [0,2) [2,3) [5,8) in granules from kIova; each range of up to
 * 9 granules. */
static void every_range(int container, struct memory memory, char const* rules)
{
    for (uint64_t first = 0; first < 9; ++first)
        for (uint64_t size = 1; first + size <= 10; ++size) {
            need(map_dma(container, kBoth, vaddr_of(memory, 0), kIova + g, 2 * g) == 0, "MAP_DMA");
            need(map_dma(container, kRead, vaddr_of(memory, 0), kIova + 3 * g, g) == 0, "MAP_DMA");
            need(map_dma(container, kWrite, vaddr_of(memory, 0), kIova + 6 * g, 3 * g) == 0,
                 "MAP_DMA");
            unmap(rules, container, 0, kIova + first * g, size * g);
            note("U-12", "available %ld locked %ld", dma_available(container), locked());
            unmap_all(container);
        }
}

static void examples_of_v1(int container, struct memory memory)
{
    uint64_t const at[][2] = {{0, 1}, {2, 4}, {0, 6}};
    for (int i = 0; i < 3; ++i) {
        map("U-7", container, kBoth, memory, 0, kIova, 4 * g);
        map("U-7", container, kBoth, memory, 0, kIova + 4 * g, 4 * g);
        unmap("U-6 U-7", container, 0, kIova + at[i][0] * g, at[i][1] * g);
        unmap_all(container);
    }
}

static void many(int container, struct memory memory)
{
    heading("many at once");
    for (uint64_t i = 0; i < 1000; ++i)
        need(map_dma(container, kRead, vaddr_of(memory, 0), kIova + 2 * i * g, g) == 0, "MAP_DMA");
    state("U-8", container);
    unmap("U-3 U-8", container, 0, kIova, 1000 * g);
    unmap("U-3 U-8", container, 0, kIova + 1000 * g, 3 * g);
    unmap("U-3 U-8", container, 0, 0, kIova + 1200 * g);
    state("U-8", container);
    unmap("U-5", container, kAll, 0, 0);
    unmap("U-5", container, kAll, 0, 0);
    state("U-8", container);
}

static void ranges(unsigned long type)
{
    printf("== ranges, v%d\n", type == 1 ? 1 : 2);
    struct place const place = settle(type);
    struct memory const memory = touched("memory", 8 * g / page());
    arguments(place.container, memory);
    every_range(place.container, memory, type == 1 ? "U-6" : "4.2 U-3 U-4");
    if (type == 1) examples_of_v1(place.container, memory);
    many(place.container, memory);
    leave(place);
    release(memory);
}

/* Unmapping what the program has taken away or changed in the meantime. */
static void large(void)
{
    heading("large mappings");
    struct place const place = settle(3);
    uint64_t const sizes[] = {1, 3, 511, 512, 513, 1024};
    for (int i = 0; i < 6; ++i) {
        struct memory const memory = untouched("memory", sizes[i]);
        map("U-13 U-16", place.container, kWrite, memory, 0, kIova, memory.size);
        state("U-16", place.container);
        release(memory);
        state("U-16", place.container);
        unmap("U-13 U-16", place.container, 0, kIova, memory.size);
        state("U-16", place.container);
    }
    leave(place);
}

int main(void)
{
    begin();
    struct place const place = settle(3);
    g = granule(place.container);
    leave(place);
    order(3, false);
    order(3, true);
    order(1, false);
    structure();
    ranges(3);
    ranges(1);
    large();
    return finish();
}
