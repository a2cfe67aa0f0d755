/* Devices that read and write memory through mappings: rules M-10, M-17, P-8, U-13, A-2, A-6, A-11,
 * The device is QEMU's edu, which copies up to 4095 bytes (a full 4096 stop QEMU)
 * between an IOVA and a buffer of its own; it has no way to say that it failed. */
#include "probe.h"

enum { kBuffer = 0x40000, kMost = 2048 };

struct edu {
    int fd;
    unsigned char volatile* bar;
};

static uint64_t g;

static struct edu edu_of(int group, char const* bdf)
{
    struct edu edu = {open_device(group, bdf), NULL};
    uint16_t command = 0;
    off_t const config = (off_t)7 << 40;
    need(pread(edu.fd, &command, 2, config + 4) == 2, "COMMAND");
    command |= 6;
    need(pwrite(edu.fd, &command, 2, config + 4) == 2, "COMMAND");
    edu.bar = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, edu.fd, 0);
    need(edu.bar != MAP_FAILED, "BAR 0");
    return edu;
}

static void close_edu(struct edu edu)
{
    munmap((void*)(uintptr_t)edu.bar, 65536);
    close(edu.fd);
}

static void transfer(struct edu edu, uint64_t source, uint64_t destination, uint64_t count,
                     uint64_t direction)
{
    *(uint64_t volatile*)(edu.bar + 0x80) = source;
    *(uint64_t volatile*)(edu.bar + 0x88) = destination;
    *(uint64_t volatile*)(edu.bar + 0x90) = count;
    *(uint64_t volatile*)(edu.bar + 0x98) = 1 | direction;
    while ((*(uint64_t volatile*)(edu.bar + 0x98) & 1) != 0) usleep(1000);
}

static void device_reads(struct edu edu, uint64_t iova, uint64_t count)
{
    transfer(edu, iova, kBuffer, count, 0);
}
static void device_writes(struct edu edu, uint64_t iova, uint64_t count)
{
    transfer(edu, kBuffer, iova, count, 2);
}

/* --- what arrived --- */

static void fill(unsigned char* at, uint64_t size, unsigned seed)
{
    for (uint64_t i = 0; i < size; ++i) at[i] = (unsigned char)(i * 7 + i / 256 + seed);
}

static bool all(unsigned char const* seen, uint64_t size, unsigned char value)
{
    for (uint64_t i = 0; i < size; ++i)
        if (seen[i] != value) return false;
    return true;
}

/* What 16 bytes are: what was sent, what had been there before, nothing (a read that does not
 * translate: QEMU's devices see 0, PCI says 0xff), or anything else. */
static char const* sort(unsigned char const* seen, unsigned char const* sent, unsigned char before,
                        uint64_t size)
{
    if (memcmp(seen, sent, size) == 0) return "data";
    if (all(seen, size, before)) return "untouched";
    return all(seen, size, 0) || all(seen, size, 0xff) ? "nothing" : "other";
}

/* Prints runs of one sort. */
static void compare(char const* rules, char const* what, unsigned char const* seen,
                    unsigned char const* sent, unsigned char before, uint64_t size)
{
    enum { kPiece = 16 };
    char const* last = "";
    printf("[%s] %s:", rules, what);
    for (uint64_t i = 0; i < size; i += kPiece) {
        char const* const now =
            sort(seen + i, sent + i, before, size - i < kPiece ? size - i : kPiece);
        if (now != last) printf(" %s from %" PRIu64, now, i);
        last = now;
    }
    printf("\n");
}

/* A mapping of its own, through which the device's buffer is read out. */
struct window {
    struct memory memory;
    uint64_t iova;
};

static struct window window_of(int container)
{
    struct window const window = {touched("window", g / page()), kIova + (1ull << 24)};
    need(map_dma(container, kBoth, vaddr_of(window.memory, 0), window.iova, g) == 0, "MAP_DMA");
    return window;
}

/* The device's buffer is 0x5a throughout; then it reads from iova; what it has then is compared
 * with sent. */
static void reads(char const* rules, char const* what, struct edu edu, struct window window,
                  uint64_t iova, unsigned char const* sent, uint64_t size)
{
    memset(window.memory.base, 0x5a, kMost);
    device_reads(edu, window.iova, kMost);
    device_reads(edu, iova, size);
    memset(window.memory.base, 0xc3, kMost);
    device_writes(edu, window.iova, kMost);
    compare(rules, what, window.memory.base, sent, 0x5a, size);
}

/* The device's buffer is a pattern; it writes it to iova; memory at that place, 0xc3 throughout
 * before, is compared. */
static void writes(char const* rules, char const* what, struct edu edu, struct window window,
                   uint64_t iova, unsigned char* memory, uint64_t size)
{
    unsigned char sent[kMost];
    fill(sent, kMost, 99);
    memcpy(window.memory.base, sent, kMost);
    device_reads(edu, window.iova, kMost);
    memset(memory, 0xc3, size);
    device_writes(edu, iova, size);
    compare(rules, what, memory, sent, 0xc3, size);
}

/* --- the cases --- */

static void rights(struct place place, struct edu edu, struct window window)
{
    heading("rights");
    struct memory const memory = touched("memory", 4 * g / page());
    fill(memory.base, memory.size, 1);
    for (uint32_t flags = 1; flags <= 3; ++flags) {
        map("M-10", place.container, flags, memory, 0, kIova, g);
        reads("M-10 X-16", "the device reads", edu, window, kIova, memory.base, 256);
        writes("M-10 X-16", "the device writes", edu, window, kIova, memory.base, 256);
        fill(memory.base, memory.size, 1);
        unmap("X-16", place.container, 0, kIova, g);
        reads("X-16", "the device reads what is unmapped", edu, window, kIova, memory.base, 256);
        writes("X-16", "the device writes what is unmapped", edu, window, kIova, memory.base, 256);
        fill(memory.base, memory.size, 1);
    }
    release(memory);
}

static void borders(struct place place, struct edu edu, struct window window)
{
    heading("borders");
    struct memory const memory = touched("memory", 4 * g / page());
    fill(memory.base, memory.size, 2);
    map("X-16", place.container, kBoth, memory, g, kIova + g, 2 * g);
    reads("X-16", "across pages", edu, window, kIova + 2 * g - 512, memory.base + 2 * g - 512,
          1024);
    writes("X-16", "across pages", edu, window, kIova + 2 * g - 512, memory.base + 2 * g - 512,
           1024);
    fill(memory.base, memory.size, 2);
    reads("X-16", "into a mapping", edu, window, kIova + g - 512, memory.base + g - 512, 1024);
    writes("X-16", "into a mapping", edu, window, kIova + g - 512, memory.base + g - 512, 1024);
    fill(memory.base, memory.size, 2);
    reads("X-16", "out of a mapping", edu, window, kIova + 3 * g - 512, memory.base + 3 * g - 512,
          1024);
    writes("X-16", "out of a mapping", edu, window, kIova + 3 * g - 512, memory.base + 3 * g - 512,
           1024);
    fill(memory.base, memory.size, 2);
    reads("X-16", "a byte", edu, window, kIova + g + 1, memory.base + g + 1, 1);
    reads("X-16", "17 bytes", edu, window, kIova + g + 3, memory.base + g + 3, 17);
    reads("X-16", "2048 bytes", edu, window, kIova + g, memory.base + g, 2048);
    unmap_all(place.container);
    need(map_dma(place.container, kBoth, vaddr_of(window.memory, 0), window.iova, g) == 0,
         "MAP_DMA");
    release(memory);
}

/* The device keeps the pages that were pinned, whatever the program does to its addresses. */
static void changes(struct place place, struct edu edu, struct window window)
{
    heading("memory that changes");
    struct memory const memory = touched("memory", 2 * g / page());
    unsigned char before[256];
    fill(memory.base, memory.size, 3);
    memcpy(before, memory.base, sizeof before);
    map("M-17", place.container, kBoth, memory, 0, kIova, g);
    fill(memory.base, 256, 4);
    reads("M-17", "after a CPU write", edu, window, kIova, memory.base, 256);
    writes("M-17", "and back", edu, window, kIova, memory.base, 256);
    fill(memory.base, 256, 3);
    need(mprotect(memory.base, g, PROT_READ) == 0, "mprotect");
    reads("M-17", "after mprotect(PROT_READ)", edu, window, kIova, before, 256);
    need(mprotect(memory.base, g, PROT_NONE) == 0, "mprotect");
    reads("M-17", "after mprotect(PROT_NONE)", edu, window, kIova, before, 256);
    need(mprotect(memory.base, g, PROT_READ | PROT_WRITE) == 0, "mprotect");
    reads("M-17", "after mprotect back", edu, window, kIova, before, 256);
    need(madvise(memory.base, g, MADV_DONTNEED) == 0, "madvise");
    reads("M-17", "after MADV_DONTNEED", edu, window, kIova, before, 256);
    memset(memory.base, 9, 256);
    reads("M-17", "after a write to the new page", edu, window, kIova, before, 256);
    need(munmap(memory.base, memory.size) == 0, "munmap");
    reads("M-17", "after munmap", edu, window, kIova, before, 256);
    unmap("M-17", place.container, 0, kIova, g);
    reads("X-16", "after the unmap", edu, window, kIova, before, 256);
}

/* What read-only mappings of memory show that the CPU writes to later: on 6.1 an untouched page is
 * the zero page (3.3). */
static void later(struct place place, struct edu edu, struct window window)
{
    heading("memory that is written later");
    static char const* const names[] = {"untouched anonymous", "untouched private file",
                                        "untouched shared file", "untouched shared anonymous"};
    for (int i = 0; i < 4; ++i) {
        int const fd = memfd(g / page());
        struct memory memory;
        if (i == 0) memory = untouched("memory", g / page());
        if (i == 1)
            memory = memory_of("memory", g / page(), PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
        if (i == 2)
            memory = memory_of("memory", g / page(), PROT_READ | PROT_WRITE, MAP_SHARED, fd);
        if (i == 3)
            memory = memory_of("memory", g / page(), PROT_READ | PROT_WRITE,
                               MAP_SHARED | MAP_ANONYMOUS, -1);
        close(fd);
        for (uint32_t flags = 1; flags <= 3; flags += 2) {
            map("3.3", place.container, flags, memory, 0, kIova, g);
            fill(memory.base, 256, 5);
            reads("3.3", names[i], edu, window, kIova, memory.base, 256);
            unmap("3.3", place.container, 0, kIova, g);
        }
        release(memory);
    }
}

/* A child gets its own copy; the device stays with the parent's page. */
static void forked(struct place place, struct edu edu, struct window window)
{
    heading("fork");
    struct memory const memory = touched("memory", g / page());
    map("3.3 P-10", place.container, kBoth, memory, 0, kIova, g);
    int steps[2];
    need(pipe(steps) == 0, "pipe");
    fflush(stdout);
    pid_t const child = fork();
    need(child >= 0, "fork");
    if (child == 0) {
        char byte;
        close(steps[1]);
        memset(memory.base, 0xee, 256);
        _exit(read(steps[0], &byte, 1) == 0 ? 0 : 1);
    }
    close(steps[0]);
    fill(memory.base, 256, 6);
    reads("3.3 P-10", "the parent's page", edu, window, kIova, memory.base, 256);
    writes("3.3 P-10", "the parent's page", edu, window, kIova, memory.base, 256);
    close(steps[1]);
    int status = 0;
    waitpid(child, &status, 0);
    unmap("P-10", place.container, 0, kIova, g);
    release(memory);
}

/* The same memory at several IOVAs, at the far end of the ranges, and above 4G. */
static void places(struct place place, struct edu edu, struct window window)
{
    heading("places");
    struct memory const memory = touched("memory", 2 * g / page());
    fill(memory.base, memory.size, 7);
    struct iova_range list[16];
    unsigned const count = iova_ranges(place.container, list, 16);
    uint64_t at[34] = {0, 1ull << 32};
    unsigned places = 2;
    for (unsigned i = 0; i < count && i < 16; ++i) {
        at[places++] = list[i].start;
        if (list[i].last != ~0ull) at[places++] = list[i].last + 1 - 2 * g;
    }
    for (unsigned i = 0; i < places; ++i) {
        if (i >= 2 && at[i] == 0) continue;
        map("I-15 X-16", place.container, kBoth, memory, 0, at[i], 2 * g);
        reads("I-15 X-16", "read", edu, window, at[i] + g - 128, memory.base + g - 128, 256);
        writes("I-15 X-16", "write", edu, window, at[i] + g - 128, memory.base + g - 128, 256);
        fill(memory.base, memory.size, 7);
    }
    unmap("U-5", place.container, kAll, 0, 0);
    need(map_dma(place.container, kBoth, vaddr_of(window.memory, 0), window.iova, g) == 0,
         "MAP_DMA");
    for (unsigned i = 0; i < places; ++i)
        reads("X-16", "after the unmap", edu, window, at[i], memory.base, 256);
    release(memory);
}

/* A second device sees the container's mappings from the time it joins until it leaves. */
static void two_devices(struct place place, struct edu edu, struct window window)
{
    heading("two devices");
    struct memory const memory = touched("memory", g / page());
    fill(memory.base, memory.size, 8);
    map("A-6", place.container, kBoth, memory, 0, kIova, g);
    int const second = open_group(kSecond);
    check("G-17 A-6", set_container(second, place.container), "SET_CONTAINER(second)");
    struct edu const other = edu_of(second, kSecond);
    reads("A-2 A-6", "the second reads", other, window, kIova, memory.base, 256);
    writes("A-2 A-6", "the second writes", other, window, kIova, memory.base, 256);
    fill(memory.base, memory.size, 8);
    reads("A-2", "the first reads", edu, window, kIova, memory.base, 256);
    unmap("A-2", place.container, 0, kIova, g);
    reads("A-2", "the second reads what is unmapped", other, window, kIova, memory.base, 256);
    close_edu(other);
    check("A-11", ioctl(second, VFIO_GROUP_UNSET_CONTAINER), "UNSET_CONTAINER(second)");
    close(second);
    map("A-11", place.container, kBoth, memory, 0, kIova, g);
    reads("A-11", "the first reads", edu, window, kIova, memory.base, 256);
    unmap("A-11", place.container, 0, kIova, g);
    release(memory);
}

static void vaddr_gone(struct place place, struct edu edu, struct window window)
{
    heading("a mapping that waits for its vaddr");
    struct memory const memory = touched("memory", g / page());
    struct memory const other = touched("other", g / page());
    fill(memory.base, memory.size, 10);
    map("U-11", place.container, kBoth, memory, 0, kIova, g);
    unmap("U-11", place.container, kVaddr, kIova, g);
    reads("U-11", "the device reads", edu, window, kIova, memory.base, 256);
    writes("U-11", "the device writes", edu, window, kIova, memory.base, 256);
    map("M-21", place.container, kVaddr, other, 0, kIova, g);
    fill(memory.base, memory.size, 10);
    reads("M-21", "the device reads the old memory", edu, window, kIova, memory.base, 256);
    unmap("M-21", place.container, 0, kIova, g);
    release(memory), release(other);
}

int main(void)
{
    begin();
    struct place const place = settle(3);
    g = granule(place.container);
    struct window const window = window_of(place.container);
    struct edu const edu = edu_of(place.group, kFirst);
    rights(place, edu, window);
    borders(place, edu, window);
    changes(place, edu, window);
    later(place, edu, window);
    forked(place, edu, window);
    places(place, edu, window);
    two_devices(place, edu, window);
    vaddr_gone(place, edu, window);
    close_edu(edu);
    leave(place);
    return finish();
}
