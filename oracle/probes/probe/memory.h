/* Memory of the program: what is mapped, and where structures can lie. */
#ifndef PINFOLD_ORACLE_PROBE_MEMORY_H
#define PINFOLD_ORACLE_PROBE_MEMORY_H
#include <sys/mman.h>
#include <unistd.h>
#include "probe/results.h"

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

#endif
