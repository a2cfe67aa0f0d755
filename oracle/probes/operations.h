/* What the random streams are made of: operations as text, one a line, with all their arguments.
 *
 *     17 MAP_DMA(0 32 3 area:5:0 low:2:0 zero:4:0 0)
 *
 * is operation 17: in container 0, argsz 32, flags 3, from page 5 of the area, at two pages behind
 * the anchor "low", four pages, the structure in ordinary memory. A place is ANCHOR:PAGES:BYTES, so
 * that a list says the same for every page size; run() carries a line out and prints it with its
 * outcome. */
#ifndef PINFOLD_ORACLE_OPERATIONS_H
#define PINFOLD_ORACLE_OPERATIONS_H
#include "kinds.h"

enum { kContainers = 2, kGroups = 2, kAreaPages = 64, kBitmapWords = 16 };

static int containers[kContainers] = {-1, -1};
static int groups[kGroups] = {-1, -1};
static int devices[kGroups] = {-1, -1};
static struct memory area;
static unsigned char kind_of[kAreaPages]; /* what LAY put there */
static bool bar_laid;                     /* since the start of the block */
static struct iova_range ranges[16];
static unsigned range_count;

/* --- the text
 * -----------------------------------------------------------------------------------------------------
 */

struct words {
    char name[32];
    unsigned number;
    unsigned count;
    char* word[12];
    char text[256];
};

static inline bool split(char const* line, struct words* words)
{
    int used = 0;
    words->count = 0;
    if (sscanf(line, "%u %31[A-Z_](%n", &words->number, words->name, &used) != 2 || used == 0)
        return false;
    snprintf(words->text, sizeof words->text, "%s", line + used);
    char* rest = words->text;
    rest[strcspn(rest, ")\n")] = '\0';
    while (words->count < 12 && *(rest += strspn(rest, " ")) != '\0') {
        words->word[words->count++] = rest;
        rest += strcspn(rest, " ");
        if (*rest != '\0') *rest++ = '\0';
    }
    return true;
}

/* Words that a shortened or mistyped line lacks are 0. */
static inline uint64_t plain(struct words const* words, unsigned index)
{
    return index < words->count ? strtoull(words->word[index], NULL, 0) : 0;
}

static inline uint64_t anchor(char const* name, uint64_t iova)
{
    if (strcmp(name, "area") == 0) return vaddr_of(area, 0);
    if (strcmp(name, "low") == 0) return kIova;
    if (strcmp(name, "four") == 0) return 4ull << 30;
    if (strcmp(name, "hole") == 0) return ranges[0].last + 1;
    if (strcmp(name, "next") == 0) return range_count > 1 ? ranges[1].start : ranges[0].start;
    if (strcmp(name, "top") == 0) return range_count > 0 ? ranges[range_count - 1].last + 1 : 0;
    if (strcmp(name, "wrap") == 0) return -iova;
    return 0; /* "zero", and "max" with pages below it */
}

/* iova: what "wrap" counts from. */
static inline uint64_t place(struct words const* words, unsigned index, uint64_t iova)
{
    char name[16] = "zero";
    long long pages = 0;
    long long bytes = 0;
    if (index < words->count)
        sscanf(words->word[index], "%15[a-z]:%lld:%lld", name, &pages, &bytes);
    return anchor(name, iova) + (uint64_t)pages * page() + (uint64_t)bytes;
}

static inline int at(int const* list, unsigned count, uint64_t index)
{
    return index < count ? list[index] : -1;
}

/* --- outcomes
 * -----------------------------------------------------------------------------------------------------
 */

static char outcome[512];

__attribute__((format(printf, 1, 2))) static inline void say(char const* format, ...)
{
    size_t const length = strlen(outcome);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(outcome + length, sizeof outcome - length, format, arguments);
    va_end(arguments);
}

static inline void say_result(long result)
{
    if (result < 0)
        say("%s", strerrorname_np(errno));
    else
        say("%ld", result);
}

static inline void say_fd(int fd) { say("%s", fd < 0 ? strerrorname_np(errno) : "fd"); }

static inline int closed(int* fd)
{
    int const result = close(*fd);
    *fd = -1;
    return result;
}

/* --- files
 * --------------------------------------------------------------------------------------------------------
 */

static char const* const kBdf[kGroups] = {"0000:00:04.0", "0000:00:05.0"};

static inline void op_open_container(struct words const* words)
{
    uint64_t const index = plain(words, 0) % kContainers;
    if (containers[index] >= 0) {
        say("open");
        return;
    }
    containers[index] = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
    say_fd(containers[index]);
}

static inline void op_close_container(struct words const* words)
{
    say_result(closed(&containers[plain(words, 0) % kContainers]));
}

static inline void op_open_group(struct words const* words)
{
    uint64_t const index = plain(words, 0) % kGroups;
    int const fd = try_group(kBdf[index]);
    say_fd(fd);
    if (fd < 0) return;
    if (groups[index] >= 0) close(groups[index]);
    groups[index] = fd;
}

static inline void op_close_group(struct words const* words)
{
    say_result(closed(&groups[plain(words, 0) % kGroups]));
}

/* Containers 0 and 1; 2 is the group itself, 3 is no descriptor, 4 is no pointer. */
static inline void op_set_container(struct words const* words)
{
    int const group = at(groups, kGroups, plain(words, 0));
    uint64_t const which = plain(words, 1);
    int const fd = which < kContainers ? containers[which] : which == 2 ? group : -1;
    say_result(which == 4 ? ioctl(group, VFIO_GROUP_SET_CONTAINER, 8) : set_container(group, fd));
}

static inline void op_unset_container(struct words const* words)
{
    say_result(ioctl(at(groups, kGroups, plain(words, 0)), VFIO_GROUP_UNSET_CONTAINER));
}

static inline void read_ranges(int container)
{
    char room[1024];
    struct vfio_iommu_type1_info* const info = (struct vfio_iommu_type1_info*)room;
    info->argsz = 16;
    if (ioctl(container, VFIO_IOMMU_GET_INFO, info) == 0)
        range_count = iova_ranges(container, ranges, 16);
}

static inline void op_set_iommu(struct words const* words)
{
    int const container = at(containers, kContainers, plain(words, 0));
    long const result = ioctl(container, VFIO_SET_IOMMU, plain(words, 1));
    say_result(result);
    if (result == 0) read_ranges(container);
}

/* With memory and bus master switched on. */
static inline void op_open_device(struct words const* words)
{
    uint64_t const index = plain(words, 0) % kGroups;
    int const fd = ioctl(at(groups, kGroups, index), VFIO_GROUP_GET_DEVICE_FD, kBdf[index]);
    say_fd(fd);
    if (fd < 0) return;
    if (devices[index] >= 0) close(devices[index]);
    devices[index] = fd;
    uint16_t command = 0;
    (void)!pread(fd, &command, 2, ((off_t)7 << 40) + 4);
    command |= 6;
    (void)!pwrite(fd, &command, 2, ((off_t)7 << 40) + 4);
}

static inline void op_close_device(struct words const* words)
{
    say_result(closed(&devices[plain(words, 0) % kGroups]));
}

static inline void op_get_status(struct words const* words)
{
    struct vfio_group_status status = {.argsz = (uint32_t)plain(words, 1)};
    say_result(ioctl(at(groups, kGroups, plain(words, 0)), VFIO_GROUP_GET_STATUS, &status));
    say(" flags %x", status.flags);
}

static inline void op_check_extension(struct words const* words)
{
    say_result(
        ioctl(at(containers, kContainers, plain(words, 0)), VFIO_CHECK_EXTENSION, plain(words, 1)));
}

static inline void op_unknown(struct words const* words)
{
    say_result(ioctl(at(containers, kContainers, plain(words, 0)), plain(words, 1), 0));
}

/* --- Type1
 * --------------------------------------------------------------------------------------------------------
 */

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

/* What container 0 has taken since the start of the block. What is mapped somewhere now was mapped
 * there by the last of these: two mappings never overlap. */
struct taken {
    uint64_t iova;
    uint64_t size;
    uint32_t flags;
};
static struct taken taken[2048];
static unsigned taken_count;

static inline void note_mapping(uint64_t iova, uint64_t size, uint32_t flags)
{
    if (taken_count < sizeof taken / sizeof taken[0])
        taken[taken_count++] = (struct taken){iova, size, flags};
}

static inline uint32_t last_flags(uint64_t iova)
{
    for (unsigned i = taken_count; i > 0; --i)
        if (iova - taken[i - 1].iova < taken[i - 1].size) return taken[i - 1].flags;
    return 0;
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

/* --- memory
 * -------------------------------------------------------------------------------------------------------
 */

struct span {
    uint64_t first;
    uint64_t count;
    unsigned char* base;
    uint64_t size;
};

static inline struct span span(struct words const* words, unsigned index)
{
    struct span span = {plain(words, index) % kAreaPages, plain(words, index + 1), NULL, 0};
    if (span.count == 0 || span.count > kAreaPages - span.first)
        span.count = kAreaPages - span.first;
    span.base = area.base + span.first * page();
    span.size = span.count * page();
    return span;
}

static inline bool is_bar(uint64_t index)
{
    return strcmp(kKinds[kind_of[index]].name, "bar") == 0;
}

static inline void op_lay(struct words const* words)
{
    struct span const over = span(words, 1);
    uint64_t const kind = plain(words, 0) % kKindCount;
    kind_device = devices[0];
    kKinds[kind].lay(over.base, over.size);
    memset(kind_of + over.first, (int)kind, over.count);
    bar_laid |= is_bar(over.first);
    say("0");
}

/* Memory of a kind that cannot be had is an errno here and not a signal. */
static inline ssize_t copy(bool out, void* remote, void* local, size_t size)
{
    struct iovec const here = {local, size};
    struct iovec const there = {remote, size};
    return syscall(out ? SYS_process_vm_writev : SYS_process_vm_readv, getpid(), &here, 1ul, &there,
                   1ul, 0ul);
}

static inline void op_touch(struct words const* words)
{
    struct span const over = span(words, 0);
    for (uint64_t i = 0; i < over.count; ++i) {
        unsigned char byte = (unsigned char)(plain(words, 2) + i);
        if (!is_bar(over.first + i))
            say("%c", copy(true, over.base + i * page() + 64 * i, &byte, 1) == 1 ? 'y' : 'n');
    }
}

static inline void op_read(struct words const* words)
{
    static unsigned char room[65536];
    struct span const over = span(words, 0);
    uint64_t hash = kHashStart;
    for (uint64_t i = 0; i < over.count; ++i) {
        if (is_bar(over.first + i)) continue;
        ssize_t const size = copy(false, over.base + i * page(), room, 4096);
        hash = size < 0 ? fnv1a("!", 1, hash) : fnv1a(room, (size_t)size, hash);
    }
    say("%016" PRIx64, hash);
}

static inline void op_protect(struct words const* words)
{
    struct span const over = span(words, 0);
    for (uint64_t i = 0; i < over.count; ++i)
        if (is_bar(over.first + i)) return say("a BAR");
    say_result(mprotect(over.base, over.size, (int)plain(words, 2) & 7));
}

static inline void op_drop(struct words const* words)
{
    struct span const over = span(words, 0);
    for (uint64_t i = 0; i < over.count; ++i)
        if (is_bar(over.first + i)) return say("a BAR");
    say_result(madvise(over.base, over.size, MADV_DONTNEED));
}

/* A child that writes to the pages and ends; what is shared shows it. */
static inline void op_fork(struct words const* words)
{
    struct span const over = span(words, 0);
    fflush(stdout);
    pid_t const child = fork();
    if (child == 0) {
        unsigned char byte = 0xc0;
        for (uint64_t i = 0; i < over.count; ++i)
            if (!is_bar(over.first + i)) copy(true, over.base + i * page() + 8, &byte, 1);
        _exit(0);
    }
    int status = 0;
    need(child > 0 && waitpid(child, &status, 0) == child, "fork");
    say("%x", status);
}

static inline void op_limit(struct words const* words)
{
    memlock_limit(plain(words, 0) * page() + plain(words, 1));
    say("0");
}

static inline void op_ipc_lock(struct words const* words)
{
    ipc_lock(plain(words, 0) != 0);
    say("0");
}

static inline void op_locked(struct words const* words)
{
    (void)words;
    say("%ld", locked());
}

/* --- DMA
 * ----------------------------------------------------------------------------------------------------------
 */

static inline void edu_transfer(unsigned char volatile* bar, uint64_t source, uint64_t destination,
                                uint64_t count, uint64_t direction)
{
    *(uint64_t volatile*)(bar + 0x80) = source;
    *(uint64_t volatile*)(bar + 0x88) = destination;
    *(uint64_t volatile*)(bar + 0x90) = count;
    *(uint64_t volatile*)(bar + 0x98) = 1 | direction;
    while ((*(uint64_t volatile*)(bar + 0x98) & 1) != 0) usleep(2000);
}

/* What the device got, in pieces of 8 bytes; a piece that did not translate is 0 from QEMU's
 * devices and all ones by PCI. */
static inline uint64_t pieces_hash(unsigned char const* seen, uint64_t count)
{
    uint64_t hash = kHashStart;
    for (uint64_t i = 0; i + 8 <= count; i += 8) {
        uint64_t piece;
        memcpy(&piece, seen + i, sizeof piece);
        if (piece == ~0ull) piece = 0;
        hash = fnv1a(&piece, sizeof piece, hash);
    }
    return hash;
}

/* --- faults: which parts of a transfer do not come through --- */

static unsigned
    lost; /* since the start of the block: pieces of transfers, each within 4K of IOVA */
static unsigned unsure; /* DMA operations of which that is not known */

/* Whether container 0 has a mapping there: EEXIST comes before all that could keep a page at 0 from
 * being mapped. */
static inline bool is_mapped(uint64_t iova, uint64_t unit)
{
    return map_dma(containers[0], kRead, 0, iova & ~(unit - 1), unit) != 0 && errno == EEXIST;
}

/* An SMMU (known by its window for messages at 128M) cannot keep a device from reading what it may
 * write. */
static inline bool reads_what_it_writes(void)
{
    return range_count > 0 && ranges[0].last == 0x7ffffff;
}

static inline bool comes_through(uint64_t iova, uint64_t unit, bool is_read)
{
    if (!is_mapped(iova, unit)) return false;
    uint32_t const flags = last_flags(iova);
    return (flags & (is_read ? kRead : kWrite)) != 0 || (is_read && reads_what_it_writes());
}

static inline bool is_nothing(unsigned char const* bytes, uint64_t count)
{
    for (uint64_t i = 0; i < count; ++i)
        if (bytes[i] != 0 && bytes[i] != 0xff) return false;
    return true;
}

/* Of `count` bytes at `iova`. seen: what the device read there, or NULL. */
static inline unsigned lost_pieces(uint64_t iova, uint64_t count, unsigned char const* seen)
{
    uint64_t const unit = granule(containers[0]);
    unsigned pieces = 0;
    for (uint64_t done = 0; done < count;) {
        uint64_t const here = iova + done;
        uint64_t const left = 4096 - here % 4096;
        uint64_t const size = left < count - done ? left : count - done;
        if (!comes_through(here, unit, seen != NULL)) {
            ++pieces;
            if (seen != NULL && !is_nothing(seen + done, size)) say(" something");
        }
        done += size;
    }
    return pieces;
}

/* The device reads from one place, what it got goes out through a mapping of its own; then it
 * writes a pattern to another. Left out where a BAR may be mapped: a device that writes to its own
 * registers is nobody's rule. */
static inline void op_dma(struct words const* words)
{
    static struct memory window;
    uint64_t const own = 0x400 * page();
    uint64_t const count = plain(words, 3) % 2049; /* a full 4096 stop QEMU */
    int const device = at(devices, kGroups, plain(words, 0));
    if (bar_laid) return say("left out");
    if (window.base == NULL) window = touched("window", (4095 + page()) / page());
    int const mapped = map_dma(containers[0], kBoth, vaddr_of(window, 0), own, window.size);
    if (mapped != 0) return say_result(mapped);
    note_mapping(own, window.size, kBoth);
    unsigned char volatile* const bar =
        mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, device, 0);
    if (bar == MAP_FAILED) {
        say_result(-1);
    } else {
        uint64_t const source = place(words, 1, 0);
        uint64_t const destination = place(words, 2, 0);
        memset(window.base, 0x5a, 4096);
        edu_transfer(bar, source, 0x40000, count, 0);
        edu_transfer(bar, 0x40000, own, count, 2);
        say("%016" PRIx64, pieces_hash(window.base, count));
        /* Where the window stays as it was, the device is in another container than 0. */
        bool const is_elsewhere =
            window.base[0] == 0x5a && memcmp(window.base, window.base + 1, count - 1) == 0;
        unsigned const here = is_elsewhere ? 0
                                           : lost_pieces(source, count, window.base) +
                                                 lost_pieces(destination, count, NULL);
        if (is_elsewhere) ++unsure;
        lost += here;
        say(is_elsewhere ? " elsewhere" : " lost %u", here);
        for (unsigned i = 0; i < 4096; ++i) window.base[i] = (unsigned char)(i * 3 + count);
        edu_transfer(bar, own, 0x40000, count, 0);
        edu_transfer(bar, 0x40000, destination, count, 2);
        munmap((void*)(uintptr_t)bar, 65536);
    }
    uint64_t size = window.size;
    say(" %d", unmap_dma(containers[0], 0, own, &size));
}

/* --- running
 * ------------------------------------------------------------------------------------------------------
 */

static struct {
    char const* name;
    void (*run)(struct words const* words);
} const kOperations[] = {{"MAP_DMA", op_map},
                         {"UNMAP_DMA", op_unmap},
                         {"DIRTY_PAGES", op_dirty},
                         {"GET_INFO", op_get_info},
                         {"AVAILABLE", op_available},
                         {"LOCKED", op_locked},
                         {"LAY", op_lay},
                         {"TOUCH", op_touch},
                         {"READ", op_read},
                         {"PROTECT", op_protect},
                         {"DROP", op_drop},
                         {"FORK", op_fork},
                         {"LIMIT", op_limit},
                         {"IPC_LOCK", op_ipc_lock},
                         {"CHECK_EXTENSION", op_check_extension},
                         {"UNKNOWN", op_unknown},
                         {"GET_STATUS", op_get_status},
                         {"OPEN_CONTAINER", op_open_container},
                         {"CLOSE_CONTAINER", op_close_container},
                         {"OPEN_GROUP", op_open_group},
                         {"CLOSE_GROUP", op_close_group},
                         {"SET_CONTAINER", op_set_container},
                         {"UNSET_CONTAINER", op_unset_container},
                         {"SET_IOMMU", op_set_iommu},
                         {"OPEN_DEVICE", op_open_device},
                         {"CLOSE_DEVICE", op_close_device},
                         {"DMA", op_dma}};

/* The outcome, which is valid until the next call; NULL for a line that is no operation. */
static inline char const* run(char const* line)
{
    struct words words;
    if (!split(line, &words)) return NULL;
    outcome[0] = '\0';
    for (size_t i = 0; i < sizeof kOperations / sizeof kOperations[0]; ++i)
        if (strcmp(words.name, kOperations[i].name) == 0) {
            kOperations[i].run(&words);
            return outcome;
        }
    return NULL;
}

static inline void start_from_nothing(void)
{
    for (int i = 0; i < kGroups; ++i) {
        if (devices[i] >= 0) closed(&devices[i]);
        if (groups[i] >= 0) closed(&groups[i]);
    }
    for (int i = 0; i < kContainers; ++i)
        if (containers[i] >= 0) closed(&containers[i]);
    if (area.base == NULL) area = reserved("area", kAreaPages);
    lay_anonymous(area.base, area.size, PROT_NONE, MAP_PRIVATE);
    memset(kind_of, 0, sizeof kind_of);
    bar_laid = false;
    taken_count = 0;
    lost = 0;
    unsure = 0;
    range_count = 0;
    memset(ranges, 0, sizeof ranges);
    ipc_lock(true);
    memlock_limit(kAreaPages * page());
}

#endif
