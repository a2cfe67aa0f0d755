/* GET_INFO to the byte, for every argsz: rules I-1 to I-16. */
#include "probe.h"

enum { kRoom = 1024, kPattern = 0xa5 };

/* The structure's length with all capabilities, as the kernel tells it (I-9). */
static uint32_t full_size(int container)
{
    struct vfio_iommu_type1_info info = {.argsz = 16};
    need(ioctl(container, VFIO_IOMMU_GET_INFO, &info) == 0, "GET_INFO");
    return info.argsz;
}

static void ask(char const* rules, int container, uint32_t argsz, bool whole, char const* state)
{
    unsigned char room[kRoom];
    memset(room, kPattern, sizeof room);
    memcpy(room, &argsz, sizeof argsz);
    check(rules, ioctl(container, VFIO_IOMMU_GET_INFO, room), "GET_INFO(argsz %x) %s", argsz,
          state);
    printf("[%s] %016" PRIx64 "\n", rules, fnv1a(room, sizeof room, kHashStart));
    if (!whole) return;
    printf("[%s] ", rules);
    print_bytes(room, 256);
}

static void every_size(int container, char const* state)
{
    uint32_t const n = full_size(container);
    for (uint32_t argsz = 0; argsz <= n + 8; ++argsz)
        ask("I-1 I-2 I-9 I-10 I-11 I-12", container, argsz,
            argsz <= 24 || argsz == n - 1 || argsz == n || argsz == n + 1, state);
    ask("I-11", container, 0x7fffffff, true, state);
    ask("I-11", container, 0x80000000, true, state);
    ask("I-11", container, 0xffffffff, true, state);
}

static void capabilities(int container)
{
    struct vfio_iommu_type1_info const* const info = all_info(container);
    note("I-2 I-3", "flags %x, page sizes %llx", info->flags,
         (unsigned long long)info->iova_pgsizes);
    uint32_t offset = info->cap_offset;
    while (offset != 0) {
        struct vfio_info_cap_header header;
        memcpy(&header, (char const*)info + offset, sizeof header);
        note("I-6 I-7 I-8", "capability %u version %u at %u, next %u", header.id, header.version,
             offset, header.next);
        offset = header.next;
    }
    size_t const migration = capability(info, VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION);
    printf("[I-13 T-1] ");
    print_bytes((char const*)info + migration, 32);
    struct iova_range ranges[16];
    unsigned const count = iova_ranges(container, ranges, 16);
    for (unsigned i = 0; i < count; ++i)
        note("I-15 I-16", "range %" PRIx64 " to %" PRIx64, ranges[i].start, ranges[i].last);
}

/* The structure ends where memory does: bytes of it can be read or written, and others not. */
static void edges(int container)
{
    uint32_t const n = full_size(container);
    uint32_t const sizes[] = {0, 1, 4, 8, 15, 16, 17, 19, 20, 23, 24, 25, 56, n - 1, n, n + 1};
    uint32_t const argszs[] = {15, 16, 20, 24, n - 1, n, n + 1};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; ++s)
        for (size_t a = 0; a < sizeof argszs / sizeof argszs[0]; ++a) {
            unsigned char* const room = before_the_edge(sizes[s]);
            memset(room, kPattern, sizes[s]);
            memcpy(room, &argszs[a], sizes[s] < 4 ? sizes[s] : 4);
            check("I-1 I-11 I-12", ioctl(container, VFIO_IOMMU_GET_INFO, room),
                  "GET_INFO(argsz %x, %u bytes before the edge)", argszs[a], sizes[s]);
            note("I-11 I-12", "%016" PRIx64, fnv1a(room, sizes[s], kHashStart));
        }
    check("I-1", ioctl(container, VFIO_IOMMU_GET_INFO, NULL), "GET_INFO(NULL)");
    check("I-1", ioctl(container, VFIO_IOMMU_GET_INFO, ~0ul), "GET_INFO(-1)");
    for (size_t a = 0; a < sizeof argszs / sizeof argszs[0]; ++a) {
        struct vfio_iommu_type1_info const info = {.argsz = argszs[a]};
        check("I-1", ioctl(container, VFIO_IOMMU_GET_INFO, read_only_copy(&info, sizeof info)),
              "GET_INFO(read-only, argsz %x)", argszs[a]);
    }
}

static void counting(int container)
{
    uint64_t const g = granule(container);
    struct memory const memory = touched("memory", g / page());
    for (uint64_t i = 0; i < 5; ++i) {
        map("I-14", container, kRead, memory, 0, kIova + i * g, g);
        note("I-14", "available %ld", dma_available(container));
    }
    ask("I-14", container, full_size(container), true, "with five mappings");
    unmap("I-14 U-12", container, 0, kIova + g, 2 * g);
    note("I-14 U-12", "available %ld", dma_available(container));
    unmap("I-14 U-12", container, kAll, 0, 0);
    note("I-14 U-12", "available %ld", dma_available(container));
    release(memory);
}

static void version(unsigned long type, char const* state)
{
    heading(state);
    struct place const place = settle(type);
    every_size(place.container, state);
    capabilities(place.container);
    edges(place.container);
    counting(place.container);
    leave(place);
}

int main(void)
{
    begin();
    version(3, "v2");
    version(1, "v1");
    return finish();
}
