/* Dirty pages: the order of checks (7.1, 7.2), what is written, and what stays behind: rules B-1 to
 * B-12, U-9. */
#include "probe.h"

static uint64_t g;
enum { kStart = 1, kStop = 2, kGet = 4, kHead = 8, kWords = 24 };

struct query {
    uint32_t argsz;
    uint32_t flags;
    uint64_t iova;
    uint64_t size;
    uint64_t pgsize;
    uint64_t bitmap_size;
    uint64_t bitmap;
};

static int switch_tracking(int container, uint32_t flags)
{
    struct vfio_iommu_type1_dirty_bitmap dirty = {.argsz = sizeof dirty, .flags = flags};
    return ioctl(container, VFIO_IOMMU_DIRTY_PAGES, &dirty);
}

static struct query query(uint64_t iova, uint64_t size, void* bits, uint64_t bitmap_size)
{
    return (struct query){sizeof(struct query), kGet, iova, size, g, bitmap_size, (uintptr_t)bits};
}

/* Asks for the range with a buffer of words, each preset. */
static void get(char const* rules, int container, uint64_t iova, uint64_t size, uint64_t preset)
{
    uint64_t words[kWords];
    for (int i = 0; i < kWords; ++i) words[i] = preset;
    struct query request = query(iova, size, words, (size / g + 63) / 64 * 8);
    check(rules, ioctl(container, VFIO_IOMMU_DIRTY_PAGES, &request),
          "DIRTY_PAGES(get %" PRIx64 "+%" PRIx64 ", preset %" PRIx64 ")", iova, size, preset);
    printf("[%s]", rules);
    for (int i = 0; i < kWords; ++i)
        if (words[i] != preset) printf(" %d:%" PRIx64, i, words[i]);
    printf("\n");
}

static void take(char const* rules, int container, uint64_t iova, uint64_t size, uint64_t preset)
{
    uint64_t words[kWords];
    for (int i = 0; i < kWords; ++i) words[i] = preset;
    struct {
        struct vfio_iommu_type1_dma_unmap head;
        uint64_t pgsize, size, bitmap;
    } request = {.head = {.argsz = sizeof request, .flags = kBitmap, .iova = iova, .size = size},
                 .pgsize = g,
                 .size = (size / g + 63) / 64 * 8,
                 .bitmap = (uintptr_t)words};
    int const result = ioctl(container, VFIO_IOMMU_UNMAP_DMA, &request);
    check(rules, result, "UNMAP_DMA(bitmap %" PRIx64 "+%" PRIx64 ", preset %" PRIx64 ")", iova,
          size, preset);
    printf("[%s] size %llx", rules, (unsigned long long)request.head.size);
    for (int i = 0; i < kWords; ++i)
        if (words[i] != preset) printf(" %d:%" PRIx64, i, words[i]);
    printf(" available %ld\n", dma_available(container));
}

/* --- the checks --- */

static void version_1(void)
{
    heading("v1");
    struct place const place = settle(1);
    check("7.1", ioctl(place.container, VFIO_IOMMU_DIRTY_PAGES, NULL), "DIRTY_PAGES(NULL)");
    check("7.1", switch_tracking(place.container, kStart), "DIRTY_PAGES(start)");
    check("7.1", switch_tracking(place.container, kStop), "DIRTY_PAGES(stop)");
    check("7.1", switch_tracking(place.container, 0), "DIRTY_PAGES(flags 0)");
    leave(place);
}

static void head(int container)
{
    heading("the head");
    check("7.1", ioctl(container, VFIO_IOMMU_DIRTY_PAGES, NULL), "DIRTY_PAGES(NULL)");
    check("7.1", ioctl(container, VFIO_IOMMU_DIRTY_PAGES, before_the_edge(7)),
          "DIRTY_PAGES(7 bytes before the edge)");
    for (uint32_t flags = 0; flags < 17; ++flags) {
        uint64_t bits = 0;
        struct query request = query(kIova, g, &bits, 8);
        request.flags = flags;
        check("7.1", ioctl(container, VFIO_IOMMU_DIRTY_PAGES, &request), "DIRTY_PAGES(flags %x)",
              flags);
    }
    for (uint32_t flags = 1; flags <= 4; flags *= 2)
        for (uint32_t argsz = 0; argsz <= 56; ++argsz) {
            uint64_t bits = 0;
            struct query request = query(kIova, g, &bits, 8);
            request.flags = flags;
            request.argsz = argsz;
            check("7.1 7.2 B-3", ioctl(container, VFIO_IOMMU_DIRTY_PAGES, &request),
                  "DIRTY_PAGES(flags %x, argsz %u)", flags, argsz);
        }
    for (uint32_t flags = 1; flags <= 4; flags *= 2) {
        struct query const request = {.argsz = sizeof request, .flags = flags};
        uint32_t const near[] = {8, 12, 47};
        for (int i = 0; i < 3; ++i) {
            memcpy(before_the_edge(near[i]), &request, near[i]);
            check("7.2 B-3", ioctl(container, VFIO_IOMMU_DIRTY_PAGES, before_the_edge(near[i])),
                  "DIRTY_PAGES(flags %x, %u bytes before the edge)", flags, near[i]);
        }
    }
    /* Too short, by what it says and by the memory that is there: the former is told. */
    uint32_t* const brief = before_the_edge(16);
    brief[0] = 16, brief[1] = kGet;
    check("7.2", ioctl(container, VFIO_IOMMU_DIRTY_PAGES, brief),
          "DIRTY_PAGES(argsz 16, 16 bytes before the edge)");
    switch_tracking(container, kStop);
}

enum violation {
    kWraps,
    kZeroSize,
    kKernelBitmap,
    kSmallBitmap,
    kEmptyBitmap,
    kLargeBitmap,
    kPgsize,
    kZeroPgsize,
    kIovaUnaligned,
    kSizeUnaligned,
    kBisects,
    kBadBitmap,
    kViolations
};
static char const* const kViolationNames[kViolations] = {
    "wraps",  "size 0",   "kernel bitmap",  "small bitmap",   "empty bitmap", "large bitmap",
    "pgsize", "pgsize 0", "unaligned iova", "unaligned size", "bisects",      "bitmap not there"};

static struct query violate(unsigned set, void* bits)
{
    struct query request = query(kIova, 4 * g, bits, 8);
    if (set >> kBisects & 1) request.size = g;
    if (set >> kIovaUnaligned & 1) request.iova += 512;
    if (set >> kSizeUnaligned & 1) request.size += 512;
    if (set >> kWraps & 1) request.size = -request.iova + g;
    if (set >> kZeroSize & 1) request.size = 0;
    if (set >> kBadBitmap & 1) request.bitmap = 8;
    if (set >> kKernelBitmap & 1) request.bitmap = 0xffff880000000000;
    if (set >> kSmallBitmap & 1) request.bitmap_size = 7;
    if (set >> kLargeBitmap & 1) request.bitmap_size = 0x10000001;
    if (set >> kEmptyBitmap & 1) request.bitmap_size = 0;
    if (set >> kPgsize & 1) request.pgsize = 2 * g;
    if (set >> kZeroPgsize & 1) request.pgsize = 0;
    return request;
}

static void order(int container, bool tracking)
{
    printf("== order of the checks, tracking %d\n", tracking);
    if (tracking) need(switch_tracking(container, kStart) == 0, "start");
    for (unsigned one = 0; one < kViolations; ++one)
        for (unsigned two = one; two < kViolations; ++two) {
            uint64_t bits[2] = {0, 0};
            struct query request = violate(1u << one | 1u << two, bits);
            check("7.2", ioctl(container, VFIO_IOMMU_DIRTY_PAGES, &request),
                  "DIRTY_PAGES(get, %s, %s)", kViolationNames[one], kViolationNames[two]);
            note("7.2", "%" PRIx64 " %" PRIx64, bits[0], bits[1]);
        }
    for (unsigned set = 0; set < 1u << kViolations; ++set) {
        uint64_t bits[2] = {0, 0};
        struct query request = violate(set, bits);
        int const result = ioctl(container, VFIO_IOMMU_DIRTY_PAGES, &request);
        if (set % 16 == 0) printf("[7.2] DIRTY_PAGES(get) with violations %03x:", set);
        printf(" %s%s", result == 0 ? "0" : strerrorname_np(errno), set % 16 == 15 ? "\n" : "");
    }
    switch_tracking(container, kStop);
}

/* How large the bitmap must be, and may be. */
static void sizes(int container)
{
    heading("bitmap sizes");
    static unsigned char room[4096];
    uint64_t const granules[] = {1, 63, 64, 65, 128, 129};
    uint64_t const bytes[] = {0, 1, 7, 8, 9, 15, 16, 17, 23, 24, 25, 0x10000000, 0x10000001, ~0ull};
    for (int i = 0; i < 6; ++i)
        for (size_t j = 0; j < sizeof bytes / sizeof bytes[0]; ++j) {
            struct query request = query(kIova, granules[i] * g, room, bytes[j]);
            check("7.2", ioctl(container, VFIO_IOMMU_DIRTY_PAGES, &request),
                  "DIRTY_PAGES(get %" PRIu64 " granules into %" PRIx64 " bytes)", granules[i],
                  bytes[j]);
        }
    uint64_t const pgsizes[] = {0, 1,     512,   4096,           16384,      65536, 0x200000,
                                g, 2 * g, 3 * g, g | 1ull << 63, 1ull << 63, g - 1};
    for (size_t i = 0; i < sizeof pgsizes / sizeof pgsizes[0]; ++i) {
        struct query request = query(kIova, 64 * g, room, sizeof room);
        request.pgsize = pgsizes[i];
        check("7.2", ioctl(container, VFIO_IOMMU_DIRTY_PAGES, &request),
              "DIRTY_PAGES(get, pgsize %" PRIx64 ")", pgsizes[i]);
    }
}

/* --- tracking --- */

static void on_and_off(int container, struct memory memory)
{
    heading("on and off");
    get("7.2", container, kIova, g, 0);
    check("B-2", switch_tracking(container, kStop), "DIRTY_PAGES(stop)");
    check("B-1", switch_tracking(container, kStart), "DIRTY_PAGES(start)");
    check("B-1", switch_tracking(container, kStart), "DIRTY_PAGES(start)");
    get("B-4", container, kIova, g, 0);
    map("B-8", container, kBoth, memory, 0, kIova, g);
    get("B-5 B-8", container, kIova, g, 0);
    check("B-1", switch_tracking(container, kStart), "DIRTY_PAGES(start)");
    get("B-5", container, kIova, g, 0);
    check("B-2", switch_tracking(container, kStop), "DIRTY_PAGES(stop)");
    get("7.2", container, kIova, g, 0);
    check("B-2", switch_tracking(container, kStop), "DIRTY_PAGES(stop)");
    check("B-1", switch_tracking(container, kStart), "DIRTY_PAGES(start)");
    get("B-5", container, kIova, g, 0);
    switch_tracking(container, kStop);
    unmap_all(container);
}

static void quirk(int container, struct memory memory)
{
    heading("bits that stay behind");
    switch_tracking(container, kStart);
    map("B-9", container, kBoth, memory, 0, kIova, g);
    map("B-9", container, kRead, memory, 0, kIova + 2 * g, g);
    for (int i = 0; i < 40; ++i) get("B-9 B-11", container, kIova, 4 * g, 0);
    get("B-9 B-10", container, kIova, 4 * g, ~0ull);
    get("B-9 B-10", container, kIova, 4 * g, 0xf0);
    get("B-9 B-11", container, kIova + 2 * g, 4 * g, 0);
    get("B-9 B-11", container, kIova - 62 * g, 80 * g, 0);
    get("B-9 B-11", container, kIova - 62 * g, 80 * g, 0);
    get("B-9 B-11", container, kIova + g, 4 * g, 0);
    check("B-1", switch_tracking(container, kStart), "DIRTY_PAGES(start)");
    get("B-1 B-11", container, kIova, 4 * g, 0);
    switch_tracking(container, kStop);
    switch_tracking(container, kStart);
    get("B-2 B-11", container, kIova, 4 * g, 0);
    unmap("B-11", container, 0, kIova + 2 * g, g);
    map("B-8", container, kWrite, memory, 0, kIova + 2 * g, g);
    get("B-11", container, kIova, 4 * g, 0);
    unmap_all(container);
    map("B-9", container, kBoth, memory, 0, kIova + g, g);
    get("B-9", container, kIova, 4 * g, 0xf0);
    get("B-9 B-11", container, kIova, 4 * g, 0);
    switch_tracking(container, kStop);
    unmap_all(container);
}

/* Mappings of every size around a word, at every offset around a word. */
static void shapes(int container, struct memory memory)
{
    heading("shapes");
    uint64_t const counts[] = {1, 2, 63, 64, 65, 127, 128, 129, 200};
    uint64_t const offsets[] = {0, 1, 2, 31, 63, 64, 65, 100, 128};
    uint64_t const presets[] = {0, ~0ull, 0x8000000000000001, 0xff00ff00ff00ff00};
    for (int c = 0; c < 9; ++c)
        for (int o = 0; o < 9; ++o) {
            switch_tracking(container, kStart);
            map("B-9", container, kRead, memory, 0, kIova + offsets[o] * g, counts[c] * g);
            for (int i = 0; i < 6; ++i)
                get("B-9 B-10 B-11 B-12", container, kIova, 400 * g, presets[i % 4]);
            take("U-9 B-9 B-11", container, kIova, 400 * g, presets[c % 4]);
            switch_tracking(container, kStop);
        }
}

static void neighbours(int container, struct memory memory)
{
    heading("neighbours");
    uint64_t const layout[][2] = {{1, 3},    {4, 1},     {7, 60}, {67, 2},
                                  {130, 64}, {195, 130}, {340, 1}};
    for (int round = 0; round < 2; ++round) {
        switch_tracking(container, kStart);
        for (int i = 0; i < 7; ++i)
            map("B-9", container, kBoth, memory, 0, kIova + layout[i][0] * g, layout[i][1] * g);
        for (int i = 0; i < 8; ++i)
            get("B-9 B-10 B-11", container, kIova, 512 * g, i % 3 == 2 ? 0x1111111111111111 : 0);
        for (int i = 0; i < 4; ++i) get("B-9 B-11", container, kIova + 4 * g, 256 * g - 65 * g, 0);
        for (int i = 0; i < 4; ++i) get("B-4 B-9 B-11", container, kIova + 325 * g, 100 * g, 0);
        get("7.2 U-3", container, kIova + 2 * g, 100 * g, 0);
        get("7.2 U-3", container, kIova + 4 * g, 10 * g, 0);
        get("B-10", container, kIova + 400 * g, 64 * g, 0x77);
        if (round == 0)
            take("U-9", container, kIova, 512 * g, 0);
        else
            for (int i = 0; i < 7; ++i)
                take("U-9", container, kIova + (layout[i][0] - (uint64_t)(i % 2)) * g,
                     (layout[i][1] + (uint64_t)(i % 2)) * g, 0x5);
        switch_tracking(container, kStop);
        unmap_all(container);
    }
}

/* The bitmap ends where memory does: the words before are written, and the error stops the walk. */
static void unwritable(int container, struct memory memory)
{
    heading("a bitmap that cannot be written");
    for (int with_unmap = 0; with_unmap < 2; ++with_unmap)
        for (uint64_t there = 0; there <= 4; ++there) {
            switch_tracking(container, kStart);
            for (uint64_t i = 0; i < 4; ++i)
                map("U-9", container, kBoth, memory, 0, kIova + (64 * i + i) * g, 2 * g);
            uint64_t* const words = before_the_edge(8 * there);
            for (uint64_t i = 0; i < there; ++i) words[i] = 0;
            if (with_unmap == 0) {
                struct query request = query(kIova, 256 * g, words, 32);
                check("7.2 B-9", ioctl(container, VFIO_IOMMU_DIRTY_PAGES, &request),
                      "DIRTY_PAGES(get, %" PRIu64 " words of 4)", there);
            } else {
                struct {
                    struct vfio_iommu_type1_dma_unmap head;
                    uint64_t pgsize, size, bitmap;
                } request = {.head = {.argsz = sizeof request,
                                      .flags = kBitmap,
                                      .iova = kIova,
                                      .size = 256 * g},
                             .pgsize = g,
                             .size = 32,
                             .bitmap = (uintptr_t)words};
                check("U-1 U-9", ioctl(container, VFIO_IOMMU_UNMAP_DMA, &request),
                      "UNMAP_DMA(bitmap, %" PRIu64 " words of 4)", there);
                note("U-1 U-9", "size %llx", (unsigned long long)request.head.size);
            }
            for (uint64_t i = 0; i < there; ++i) note("U-9 B-9", "%" PRIx64, words[i]);
            state("U-9", container);
            get("B-11", container, kIova, 256 * g, 0);
            switch_tracking(container, kStop);
            unmap_all(container);
        }
}

int main(void)
{
    begin();
    version_1();
    struct place const place = settle(3);
    g = granule(place.container);
    struct memory const memory = touched("memory", 200 * g / page());
    head(place.container);
    map("7.2", place.container, kBoth, memory, 0, kIova, 2 * g);
    map("7.2", place.container, kBoth, memory, 0, kIova + 2 * g, 2 * g);
    order(place.container, false);
    order(place.container, true);
    unmap_all(place.container);
    switch_tracking(place.container, kStart);
    sizes(place.container);
    switch_tracking(place.container, kStop);
    on_and_off(place.container, memory);
    quirk(place.container, memory);
    shapes(place.container, memory);
    neighbours(place.container, memory);
    unwritable(place.container, memory);
    leave(place);
    release(memory);
    return finish();
}
