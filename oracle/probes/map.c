/* MAP_DMA: the order of its checks (3.1), what it takes for memory (3.3), rules M-1 to M-17. */
#include "kinds.h"

static uint64_t g;

/* --- the order of the checks --- */

enum violation {
    kArgsz,
    kUnknownFlag,
    kZeroSize,
    kIovaWraps,
    kVaddrWraps,
    kFlags,
    kIovaUnaligned,
    kVaddrUnaligned,
    kSizeUnaligned,
    kOverlap,
    kOutOfRange,
    kNoMemory,
    kViolations
};
static char const* const kViolationNames[kViolations] = {
    "argsz",          "unknown flag", "size 0",         "iova wraps",
    "vaddr wraps",    "flags",        "unaligned iova", "unaligned vaddr",
    "unaligned size", "overlap",      "out of range",   "no memory"};

/* A mapping that is there lies at the end of the first range, so that a request can overlap it and
 * leave the range. */
static uint64_t top_of_first_range;

static struct vfio_iommu_type1_dma_map violate(struct memory memory, unsigned set)
{
    bool const overlap = set >> kOverlap & 1;
    bool const outside = set >> kOutOfRange & 1;
    struct vfio_iommu_type1_dma_map request = {
        .argsz = set >> kArgsz & 1 ? 31 : sizeof request,
        .flags = kBoth,
        .vaddr = vaddr_of(memory, set >> kNoMemory & 1 ? 2 * g : 0),
        .iova = overlap   ? top_of_first_range
                : outside ? top_of_first_range + g
                          : kIova,
        .size = overlap && outside ? 2 * g : g};
    if (set >> kUnknownFlag & 1) request.flags |= 8;
    if (set >> kFlags & 1) request.flags |= VFIO_DMA_MAP_FLAG_VADDR;
    if (set >> kIovaWraps & 1) request.size = -request.iova + g;
    if (set >> kVaddrWraps & 1) {
        request.vaddr = -g;
        if (request.size == g) request.size = 2 * g;
    }
    if (set >> kIovaUnaligned & 1) request.iova += 512;
    if (set >> kVaddrUnaligned & 1) request.vaddr += 512;
    if (set >> kSizeUnaligned & 1) request.size += 512;
    if (set >> kZeroSize & 1) request.size = 0;
    return request;
}

static char const* violating(int container, struct memory memory, unsigned set)
{
    struct vfio_iommu_type1_dma_map request = violate(memory, set);
    if (ioctl(container, VFIO_IOMMU_MAP_DMA, &request) != 0) return strerrorname_np(errno);
    uint64_t size = request.size;
    need(unmap_dma(container, 0, request.iova, &size) == 0, "UNMAP_DMA");
    return "0";
}

static void order(unsigned long type)
{
    heading(type == 3 ? "order of the checks, v2" : "order of the checks, v1");
    struct place const place = settle(type);
    struct iova_range ranges[16];
    need(iova_ranges(place.container, ranges, 16) >= 1, "IOVA ranges");
    top_of_first_range = ranges[0].last + 1 - g;
    struct memory const memory = touched("memory", 4 * g / page());
    need(munmap(memory.base + 2 * g, 2 * g) == 0, "munmap");
    map("M-1", place.container, kBoth, memory, 0, top_of_first_range, g);
    for (unsigned one = 0; one < kViolations; ++one)
        for (unsigned two = one; two < kViolations; ++two)
            printf("[3.1 M-1] MAP_DMA(%s, %s) = %s\n", kViolationNames[one], kViolationNames[two],
                   violating(place.container, memory, 1u << one | 1u << two));
    for (unsigned set = 0; set < 1u << kViolations; ++set) {
        if (set % 16 == 0) printf("[3.1] MAP_DMA with violations %03x:", set);
        printf(" %s%s", violating(place.container, memory, set), set % 16 == 15 ? "\n" : "");
    }
    state("M-1", place.container);
    leave(place);
}

/* --- the structure --- */

static void structure(void)
{
    heading("the structure");
    struct place const place = settle(3);
    struct memory const memory = touched("memory", 2 * g / page());
    check("3.1", ioctl(place.container, VFIO_IOMMU_MAP_DMA, NULL), "MAP_DMA(NULL)");
    check("3.1", ioctl(place.container, VFIO_IOMMU_MAP_DMA, ~0ul), "MAP_DMA(-1)");
    struct vfio_iommu_type1_dma_map request = {
        .argsz = 32, .flags = kBoth, .vaddr = vaddr_of(memory, 0), .iova = kIova, .size = g};
    uint32_t const near[] = {0, 4, 8, 31};
    for (int i = 0; i < 4; ++i) {
        memcpy(before_the_edge(near[i]), &request, near[i]);
        check("3.1", ioctl(place.container, VFIO_IOMMU_MAP_DMA, before_the_edge(near[i])),
              "MAP_DMA(%u bytes before the edge)", near[i]);
    }
    check("M-2",
          ioctl(place.container, VFIO_IOMMU_MAP_DMA, read_only_copy(&request, sizeof request)),
          "MAP_DMA(read-only)");
    unmap("M-2", place.container, 0, kIova, g);
    uint32_t const sizes[] = {0,  1,  8,    16,         24,         31,        32,
                              33, 40, 4096, 0x7fffffff, 0x80000000, 0xffffffff};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; ++i) {
        request.argsz = sizes[i];
        check("3.1", ioctl(place.container, VFIO_IOMMU_MAP_DMA, &request), "MAP_DMA(argsz %x)",
              sizes[i]);
        note("M-2", "%x %x %llx %llx", request.argsz, request.flags,
             (unsigned long long)request.iova, (unsigned long long)request.size);
        unmap_all(place.container);
    }
    for (uint32_t flags = 0; flags < 17; ++flags) {
        map("3.1", place.container, flags, memory, 0, kIova, g);
        unmap_all(place.container);
    }
    map("3.1", place.container, 0x80000001, memory, 0, kIova, g);
    map("3.1", place.container, 0xffffffff, memory, 0, kIova, g);
    state("M-2", place.container);
    leave(place);
    release(memory);
}

/* --- alignment, wrap, overlap, ranges --- */

static void alignment(int container, struct memory memory)
{
    heading("alignment");
    uint64_t const steps[] = {1, 8, 512, 1024, 4096, g / 2, g};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; ++i) {
        map("3.1 T-1", container, kBoth, memory, steps[i], kIova, g);
        unmap_all(container);
        map("3.1 T-1", container, kBoth, memory, 0, kIova + steps[i], g);
        unmap_all(container);
        map("3.1 T-1", container, kBoth, memory, 0, kIova, g + steps[i]);
        unmap_all(container);
        map("3.1 T-1 T-2", container, kBoth, memory, 0, kIova, steps[i]);
        unmap_all(container);
    }
}

static void wraps(int container, struct memory memory)
{
    heading("wraps");
    map("3.1", container, kBoth, memory, 0, kIova, 0);
    map("3.1", container, kBoth, memory, 0, kIova, -kIova + g);
    map("3.1", container, kBoth, memory, 0, kIova + 512, -kIova);
    map("3.1", container, 0, memory, 0, kIova, -kIova + g);
    map("3.1", container, kBoth, memory, 0, -g, 2 * g);
    map("3.1", container, kBoth, memory, 0, ~0ull, 1);
    map("3.1", container, kBoth, memory, 0, ~0ull, 2);
    map("3.1", container, kBoth, memory, 0, 1, ~0ull);
    map("3.1", container, kBoth, memory, 0, g, -g + 1);
    struct memory const top = {"top of memory", (unsigned char*)-g, g};
    map("3.1 M-5", container, kBoth, top, 0, kIova, g);
    map("3.1", container, kBoth, top, 0, kIova, 2 * g);
    map("3.1", container, kBoth, top, 512, kIova, g);
    struct memory const kernel = {"kernel memory", (unsigned char*)0xffff880000000000, g};
    map("M-5", container, kRead, kernel, 0, kIova, g);
    struct memory const null = {"null", NULL, g};
    map("M-5", container, kRead, null, 0, kIova, g);
    struct memory const middle = {"not canonical", (unsigned char*)0x4000000000000000, g};
    map("M-5", container, kRead, middle, 0, kIova, g);
}

static void overlaps(int container, struct memory memory)
{
    heading("overlaps");
    uint64_t const at = kIova + 8 * g;
    map("M-1", container, kBoth, memory, 0, at, 2 * g);
    map("M-1", container, kBoth, memory, 0, at, 2 * g);
    map("M-1", container, kRead, memory, g, at, g);
    map("M-1", container, kRead, memory, g, at + g, g);
    map("M-1", container, kRead, memory, g, at + g, 2 * g);
    map("M-1", container, kRead, memory, g, at - g, 2 * g);
    map("M-1", container, kRead, memory, 0, at - g, 4 * g);
    map("M-1", container, kBoth, memory, 0, at - g, g);
    map("M-1", container, kBoth, memory, 0, at + 2 * g, g);
    map("M-1", container, kBoth, memory, 0, at + 512, 512);
    state("M-1", container);
    unmap_all(container);
    map("M-5", container, kBoth, memory, 0, 0, g);
    unmap("M-5", container, 0, 0, g);
}

static void border(int container, struct memory memory, uint64_t first)
{
    uint64_t const starts[] = {first - 2 * g, first - g, first, first + g};
    for (int i = 0; i < 4; ++i)
        for (uint64_t size = g; size <= 3 * g; size += g) {
            if (starts[i] + size - 1 == ~0ull) continue; /* M-24 */
            map("3.1 A-21 I-15", container, kBoth, memory, 0, starts[i], size);
            unmap_all(container);
        }
}

static void ranges(int container, struct memory memory)
{
    heading("ranges");
    struct iova_range list[16];
    unsigned const count = iova_ranges(container, list, 16);
    for (unsigned i = 0; i < count; ++i) {
        if (list[i].start != 0) border(container, memory, list[i].start);
        if (list[i].last != ~0ull) border(container, memory, list[i].last + 1);
    }
}

static void requests(void)
{
    struct place const place = settle(3);
    struct memory const memory = touched("memory", 8 * g / page());
    alignment(place.container, memory);
    wraps(place.container, memory);
    overlaps(place.container, memory);
    ranges(place.container, memory);
    state("M-12", place.container);
    leave(place);
    release(memory);
}

/* --- memory of every kind --- */

/* One kind, alone and with good memory around it, mapped with each right. */
static void kind(int container, struct kind const* kind, struct memory area)
{
    static struct {
        char const* name;
        uint64_t first;
        uint64_t pages;
    } const shapes[] = {{"alone", 1, 2},
                        {"its first page", 1, 1},
                        {"with its neighbours", 0, 4},
                        {"behind good", 0, 2},
                        {"before good", 2, 2}};
    for (uint32_t flags = 1; flags <= 3; ++flags)
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; ++i) {
            lay_touched(area.base, area.size);
            kind->lay(area.base + page(), 2 * page());
            long const before = locked();
            int const result = map_dma(container, flags, vaddr_of(area, shapes[i].first * page()),
                                       kIova, shapes[i].pages * page());
            check("3.3 M-10 M-12", result, "MAP_DMA(flags %x, %s, %s)", flags, kind->name,
                  shapes[i].name);
            note("3.3 P-8 P-9", "locked %ld", locked() - before);
            uint64_t size = 0;
            check("3.3", unmap_dma(container, kAll, 0, &size), "UNMAP_DMA(flags 2)");
            note("P-9 U-2", "size %" PRIx64 " locked %ld", size, locked() - before);
            munlock(area.base, area.size);
        }
}

static void kinds(void)
{
    heading("memory");
    struct place const place = settle(3);
    int const device = open_device(place.group, kFirst);
    uint32_t command = 0;
    off_t const config = (off_t)7 << 40;
    need(pread(device, &command, 2, config + 4) == 2, "COMMAND");
    command |= 2;
    need(pwrite(device, &command, 2, config + 4) == 2, "COMMAND");
    kind_device = device;
    struct memory const area = reserved("area", 4);
    for (int i = 0; i < kKindCount; ++i) kind(place.container, &kKinds[i], area);
    release(area);
    close(device);
    leave(place);
}

static _Alignas(65536) unsigned char initialised[65536] = {1};
static _Alignas(65536) unsigned char zeroed[65536];
static _Alignas(65536) unsigned char const constant[65536] = {1};

static void known(int container, char const* name, void const* at)
{
    struct memory const memory = {name, (unsigned char*)((uintptr_t)at & ~(page() - 1)), page()};
    for (uint32_t flags = 1; flags <= 3; ++flags) {
        long const before = locked();
        map_dma(container, flags, vaddr_of(memory, 0), kIova, page());
        unmap_all(container);
        check("3.3", map_dma(container, flags, vaddr_of(memory, 0), kIova, page()),
              "MAP_DMA(flags %x, %s)", flags, name);
        note("3.3", "locked %ld", locked() - before);
        unmap_all(container);
    }
}

/* What every program has. */
static void own_memory(void)
{
    heading("the program's own memory");
    struct place const place = settle(3);
    unsigned char on_the_stack[64] = {1};
    unsigned char* const allocated = malloc(4 * 65536);
    need(allocated != NULL, "malloc");
    memset(allocated, 1, 4 * 65536);
    known(place.container, "initialised data", initialised);
    known(place.container, "zeroed data", zeroed);
    known(place.container, "constant data", constant);
    known(place.container, "text", (void const*)(uintptr_t)&finish);
    known(place.container, "stack", on_the_stack);
    known(place.container, "allocated", allocated + 65536);
    free(allocated);
    leave(place);
}

/* --- larger mappings and failures inside them --- */

static void holes(void)
{
    heading("holes in large mappings");
    struct place const place = settle(3);
    uint64_t const pages = 1100; /* more than two batches of a 4K host (M-7) */
    uint64_t const at[] = {0, 1, 511, 512, 513, 1023, 1024, 1099};
    for (size_t i = 0; i < sizeof at / sizeof at[0]; ++i)
        for (uint32_t flags = 1; flags <= 3; flags += 2) {
            struct memory const memory = untouched("memory", pages);
            need(munmap(memory.base + at[i] * page(), page()) == 0, "munmap");
            check("M-6 M-7 M-12 M-13",
                  map_dma(place.container, flags, vaddr_of(memory, 0), kIova, memory.size),
                  "MAP_DMA(flags %x, hole at %" PRIu64 ")", flags, at[i]);
            state("M-12", place.container);
            if (at[i] > 0) map("M-12", place.container, kBoth, memory, 0, kIova, at[i] * page());
            state("M-12", place.container);
            unmap_all(place.container);
            need(munmap(memory.base, memory.size) == 0, "munmap");
        }
    leave(place);
}

static void changes_afterwards(void)
{
    heading("memory that changes after MAP_DMA");
    struct place const place = settle(3);
    struct memory const memory = touched("memory", 6);
    map("M-17", place.container, kBoth, memory, 0, kIova, 6 * page());
    check("M-17", munmap(memory.base, page()), "munmap()");
    check("M-17", mprotect(memory.base + page(), page(), PROT_NONE), "mprotect()");
    check("M-17", madvise(memory.base + 2 * page(), page(), MADV_DONTNEED), "madvise()");
    lay_file_shared(memory.base + 3 * page(), page());
    state("M-17", place.container);
    map("M-17 3.3", place.container, kBoth, memory, 0, kIova + 8 * page(), page());
    map("M-17 3.3", place.container, kBoth, memory, page(), kIova + 8 * page(), page());
    map("M-17 3.3", place.container, kBoth, memory, 2 * page(), kIova + 8 * page(), 4 * page());
    state("M-17", place.container);
    unmap("M-17 P-9", place.container, 0, kIova, 6 * page());
    state("M-17", place.container);
    unmap_all(place.container);
    leave(place);
    need(munmap(memory.base, memory.size) == 0, "munmap");
}

static void shared_with_a_child(void)
{
    heading("memory shared with a child");
    struct place const place = settle(3);
    struct memory const memory = touched("memory", 4);
    int hold[2];
    need(pipe(hold) == 0, "pipe");
    fflush(stdout);
    pid_t const child = fork();
    need(child >= 0, "fork");
    if (child == 0) {
        char byte;
        close(hold[1]);
        _exit(read(hold[0], &byte, 1) == 0 && memory.base[0] == 1 ? 0 : 1);
    }
    close(hold[0]);
    map("3.3", place.container, kRead, memory, 0, kIova, 2 * page());
    map("3.3", place.container, kBoth, memory, 2 * page(), kIova + 2 * page(), 2 * page());
    state("3.3", place.container);
    memory.base[0] = 77;
    close(hold[1]);
    int status = 0;
    need(waitpid(child, &status, 0) == child, "waitpid");
    note("3.3", "the child saw its own: %d", WIFEXITED(status) && WEXITSTATUS(status) == 0);
    unmap_all(place.container);
    state("3.3", place.container);
    leave(place);
    release(memory);
}

int main(void)
{
    begin();
    struct place const place = settle(3);
    g = granule(place.container);
    leave(place);
    order(3);
    order(1);
    structure();
    requests();
    kinds();
    own_memory();
    holes();
    changes_afterwards();
    shared_with_a_child();
    return finish();
}
