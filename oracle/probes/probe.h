/* What the probes share: they are plain VFIO clients that print what each call answers, and nothing
 * that differs from one run to the next: no address, no descriptor, no group number.
 *
 * A line that checks rules begins with their numbers: "[M-1 U-2] MAP_DMA(...) = EEXIST". A number
 * such as 3.1 stands for the numbered list of that section of docs/type1.md. The name before the
 * parenthesis and the errno make the pair that coverage counts. Lines without brackets are
 * headings. */
#ifndef PINFOLD_ORACLE_PROBE_H
#define PINFOLD_ORACLE_PROBE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <linux/vfio.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static char const* const kFirst = "0000:00:04.0"; /* two edu devices, each in a group of its own */
static char const* const kSecond = "0000:00:05.0";
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

/* --- results
 * -----------------------------------------------------------------------------------------------------
 */

/* Prints "[rules] call = value or errno" and hands the value through. errno is that of the call: it
 * must be the last. */
__attribute__((format(printf, 3, 4))) static inline long check(char const* rules, long value,
                                                               char const* call, ...)
{
    int const error = errno;
    va_list arguments;
    va_start(arguments, call);
    printf("[%s] ", rules);
    vprintf(call, arguments);
    va_end(arguments);
    if (value < 0)
        printf(" = %s\n", strerrorname_np(error));
    else
        printf(" = %ld\n", value);
    errno = error;
    return value;
}

/* The same for what returns a descriptor, whose number says nothing. */
__attribute__((format(printf, 3, 4))) static inline int check_fd(char const* rules, int fd,
                                                                 char const* call, ...)
{
    int const error = errno;
    va_list arguments;
    va_start(arguments, call);
    printf("[%s] ", rules);
    vprintf(call, arguments);
    va_end(arguments);
    printf(" = %s\n", fd < 0 ? strerrorname_np(error) : "fd");
    errno = error;
    return fd;
}

__attribute__((format(printf, 2, 3))) static inline void note(char const* rules, char const* text,
                                                              ...)
{
    va_list arguments;
    va_start(arguments, text);
    printf("[%s] ", rules);
    vprintf(text, arguments);
    va_end(arguments);
    printf("\n");
}

static inline void heading(char const* text) { printf("== %s\n", text); }

/* What a probe cannot do without. */
static inline void need(bool fulfilled, char const* what)
{
    if (fulfilled) return;
    printf("cannot go on: %s: %s\n", what, strerrorname_np(errno));
    fflush(stdout);
    exit(1);
}

static inline uint64_t fnv1a(void const* data, size_t size, uint64_t hash)
{
    unsigned char const* const bytes = data;
    for (size_t i = 0; i < size; ++i) hash = (hash ^ bytes[i]) * 0x100000001b3u;
    return hash;
}
static uint64_t const kHashStart = 0xcbf29ce484222325u;

static inline void print_bytes(void const* data, size_t size)
{
    unsigned char const* const bytes = data;
    for (size_t i = 0; i < size; ++i) printf("%s%02x", i != 0 && i % 8 == 0 ? " " : "", bytes[i]);
    printf("\n");
}

/* --- memory
 * ------------------------------------------------------------------------------------------------------
 */

struct memory {
    char const* name;
    unsigned char* base;
    uint64_t size;
};

static inline uint64_t page(void)
{
    static uint64_t size;
    if (size == 0) size = (uint64_t)sysconf(_SC_PAGESIZE);
    return size;
}

/* Far from where the kernel puts what others map, so that nobody moves into a hole. */
static inline struct memory memory_of(char const* name, uint64_t pages, int protection, int flags,
                                      int fd)
{
    static uint64_t next = 1ull << 40;
    struct memory memory = {name, NULL, pages * page()};
    void* const wanted = (void*)(uintptr_t)next;
    next += (memory.size + (16ull << 20)) & ~((16ull << 20) - 1);
    memory.base = mmap(wanted, memory.size, protection, flags | MAP_FIXED_NOREPLACE, fd, 0);
    need(memory.base != MAP_FAILED, name);
    return memory;
}

static inline struct memory untouched(char const* name, uint64_t pages)
{
    return memory_of(name, pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

/* Private memory, every page written. */
static inline struct memory touched(char const* name, uint64_t pages)
{
    struct memory const memory = untouched(name, pages);
    for (uint64_t i = 0; i < memory.size; i += page())
        memory.base[i] = (unsigned char)(i / page() + 1);
    return memory;
}

static inline int memfd(uint64_t pages)
{
    int const fd = memfd_create("probe", MFD_CLOEXEC);
    need(fd >= 0 && ftruncate(fd, (off_t)(pages * page())) == 0, "memfd");
    return fd;
}

static inline void release(struct memory memory)
{
    need(munmap(memory.base, memory.size) == 0, "munmap");
}

/* size bytes that end where a page without access begins, so that one byte more is a fault. */
static inline void* before_the_edge(uint64_t size)
{
    static unsigned char* edge;
    if (edge == NULL) {
        edge = mmap(NULL, 5 * page(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        need(edge != MAP_FAILED && mprotect(edge + 4 * page(), page(), PROT_NONE) == 0, "edge");
    }
    return edge + 4 * page() - size;
}

/* A page that can be read and not written, with a copy of the bytes at its start. */
static inline void* read_only_copy(void const* data, size_t size)
{
    static unsigned char* copy;
    if (copy == NULL) copy = mmap(NULL, page(), PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    need(copy != MAP_FAILED && mprotect(copy, page(), PROT_READ | PROT_WRITE) == 0,
         "read-only page");
    memcpy(copy, data, size);
    need(mprotect(copy, page(), PROT_READ) == 0, "read-only page");
    return copy;
}

/* --- opening
 * -----------------------------------------------------------------------------------------------------
 */

static inline int open_container(void)
{
    int const fd = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
    need(fd >= 0, "/dev/vfio/vfio");
    return fd;
}

static inline void group_path(char const* bdf, char* path, size_t size)
{
    char link[128];
    char target[256];
    snprintf(link, sizeof link, "/sys/bus/pci/devices/%s/iommu_group", bdf);
    ssize_t const length = readlink(link, target, sizeof target - 1);
    need(length >= 0, link);
    target[length] = '\0';
    snprintf(path, size, "/dev/vfio/%s", strrchr(target, '/') + 1);
}

/* -1 where it cannot be opened. */
static inline int try_group(char const* bdf)
{
    char path[300];
    group_path(bdf, path, sizeof path);
    return open(path, O_RDWR | O_CLOEXEC);
}

static inline int open_group(char const* bdf)
{
    int const fd = try_group(bdf);
    need(fd >= 0, "group");
    return fd;
}

static inline int set_container(int group, int container)
{
    return ioctl(group, VFIO_GROUP_SET_CONTAINER, &container);
}

struct place {
    int container;
    int group;
};

/* A container with the first edu's group and a back end; type 0 leaves the back end out. */
static inline struct place settle(unsigned long type)
{
    struct place const place = {open_container(), open_group(kFirst)};
    need(set_container(place.group, place.container) == 0, "SET_CONTAINER");
    need(type == 0 || ioctl(place.container, VFIO_SET_IOMMU, type) == 0, "SET_IOMMU");
    return place;
}

static inline void leave(struct place place)
{
    need(close(place.group) == 0 && close(place.container) == 0, "close");
}

static inline int open_device(int group, char const* bdf)
{
    int const fd = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf);
    need(fd >= 0, "GET_DEVICE_FD");
    return fd;
}

/* --- Type1 calls
 * -------------------------------------------------------------------------------------------------
 */

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

/* --- locked memory
 * -----------------------------------------------------------------------------------------------
 */

/* VmLck of this process, in pages. */
static inline long locked(void)
{
    char text[8192];
    int const fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t const length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0) close(fd);
    need(length > 0, "/proc/self/status");
    text[length] = '\0';
    char const* const line = strstr(text, "\nVmLck:");
    need(line != NULL, "VmLck");
    return strtol(line + 7, NULL, 10) * 1024 / (long)page();
}

/* How many mappings can still be made, and how much is locked. */
static inline void state(char const* rules, int container)
{
    printf("[%s] available %ld, locked %ld\n", rules, dma_available(container), locked());
}

/* CAP_IPC_LOCK of this process: with it RLIMIT_MEMLOCK does not count. */
static inline void ipc_lock(bool wanted)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    need(syscall(SYS_capget, &header, data) == 0, "capget");
    if (wanted)
        data[0].effective |= 1u << CAP_IPC_LOCK;
    else
        data[0].effective &= ~(1u << CAP_IPC_LOCK);
    header.pid = 0;
    need(syscall(SYS_capset, &header, data) == 0, "capset");
}

/* The soft limit. The hard one is 8M on a fresh kernel, and not every root may raise it: no probe
 * goes beyond that. */
static inline void memlock_limit(uint64_t bytes)
{
    struct rlimit limit;
    need(getrlimit(RLIMIT_MEMLOCK, &limit) == 0, "getrlimit");
    limit.rlim_cur = bytes;
    need(setrlimit(RLIMIT_MEMLOCK, &limit) == 0, "setrlimit");
}

/* To be called first: huge pages would make physical memory, and so a few answers, differ from run
 * to run. */
static inline void begin(void)
{
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
}

/* The last thing that a probe prints: a run that was cut short lacks it. */
static inline int finish(void)
{
    printf("== end\n");
    fflush(stdout);
    return 0;
}

#endif
