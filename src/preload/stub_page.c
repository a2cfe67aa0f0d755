/* The page library: on a machine whose host page is larger than the real one, the client sees the
 * machine's. Loaded before the stub, and only for such a machine; it knows nothing of VFIO. The
 * memory calls round, place and fail by that size as a kernel with such pages would, and then go on
 * to the stub in whole pages of it. docs/deviations.md lists what cannot be imitated from here.
 *
 * Every function has the C library's contract (errno included). Thread safe; async-signal-safe
 * where the C library's function is. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "machine/run_names.h"

static size_t page; /* the machine's host page; 0: not asked yet */
static size_t real; /* that of the kernel below */

/* ---- the next library's functions ---- */

static struct {
    void* (*mmap)(void*, size_t, int, int, int, off_t);
    int (*munmap)(void*, size_t);
    void* (*mremap)(void*, size_t, size_t, int, ...);
    int (*mprotect)(void*, size_t, int);
    int (*madvise)(void*, size_t, int);
    int (*posix_madvise)(void*, size_t, int);
    int (*msync)(void*, size_t, int);
    int (*mincore)(void*, size_t, unsigned char*);
    int (*mlock)(void const*, size_t);
    int (*mlock2)(void const*, size_t, unsigned);
    int (*munlock)(void const*, size_t);
    long (*sysconf)(int);
    unsigned long (*getauxval)(unsigned long);
} next;

/* Without a sensible size from the run everything passes as it is. */
static size_t chosen_page(void)
{
    char const* const text = getenv(PINFOLD_ENV_HOST_PAGE);
    size_t const size = text == NULL ? 0 : strtoul(text, NULL, 10);
    return size > real && (size & (size - 1)) == 0 ? size : real;
}

__attribute__((constructor)) static void begin(void)
{
    if (page != 0) return;
#define NEXT(symbol) *(void**)&next.symbol = dlsym(RTLD_NEXT, #symbol)
    NEXT(mmap);
    NEXT(munmap);
    NEXT(mremap);
    NEXT(mprotect);
    NEXT(madvise);
    NEXT(posix_madvise);
    NEXT(msync);
    NEXT(mincore);
    NEXT(mlock);
    NEXT(mlock2);
    NEXT(munlock);
    NEXT(sysconf);
    NEXT(getauxval);
#undef NEXT
    real = next.getauxval(AT_PAGESZ);
    page = chosen_page();
}

/* Another library's constructor may call us before ours has run. */
#define READY()                                      \
    do {                                             \
        if (__builtin_expect(page == 0, 0)) begin(); \
    } while (0)

static bool aligned(void const* address) { return ((uintptr_t)address & (page - 1)) == 0; }
static void* page_of(void const* address)
{
    return (void*)((uintptr_t)address & ~(uintptr_t)(page - 1));
}
/* 0 also where the sum is beyond 2^64. */
static size_t whole_pages(size_t size) { return (size + page - 1) & ~(page - 1); }

static int refuse(int error)
{
    errno = error;
    return -1;
}

/* ---- how large a page is ---- */

long sysconf(int name)
{
    READY();
    if (name == _SC_PAGESIZE) return (long)page;
    long const value = next.sysconf(name);
    bool const counts_pages = name == _SC_PHYS_PAGES || name == _SC_AVPHYS_PAGES;
    return counts_pages && value > 0 ? value / (long)(page / real) : value;
}

int getpagesize(void)
{
    READY();
    return (int)page;
}

int __getpagesize(void);
int __getpagesize(void) { return getpagesize(); }

long get_phys_pages(void) { return sysconf(_SC_PHYS_PAGES); }
long get_avphys_pages(void) { return sysconf(_SC_AVPHYS_PAGES); }

unsigned long getauxval(unsigned long type)
{
    READY();
    return type == AT_PAGESZ ? page : next.getauxval(type);
}

unsigned long __getauxval(unsigned long type);
unsigned long __getauxval(unsigned long type) { return getauxval(type); }

void* valloc(size_t size)
{
    READY();
    return memalign(page, size);
}

void* pvalloc(size_t size)
{
    READY();
    if (size > SIZE_MAX - page) {
        errno = ENOMEM;
        return NULL;
    }
    return memalign(page, whole_pages(size));
}

/* ---- mmap ---- */

/* Address space of nobody's for now, [size] bytes at a multiple of the page. The calls go to the
 * kernel directly: nothing is pinned there. MAP_FAILED: errno says why. */
static void* reserve(size_t size, int flags)
{
    size_t const slack = page - real;
    if (size > SIZE_MAX - slack) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    int const how = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (flags & MAP_32BIT);
    long const got = syscall(SYS_mmap, NULL, size + slack, PROT_NONE, how, -1, 0L);
    if (got == -1) return MAP_FAILED;
    char* const start = (char*)got;
    char* const place = page_of(start + slack);
    if (place != start) (void)syscall(SYS_munmap, start, place - start);
    if (place != start + slack)
        (void)syscall(SYS_munmap, place + size, (size_t)(start + slack - place));
    return place;
}

/* The same where the caller would like it, if nothing is there. A hint counts from its page's start
 * on. */
static void* reserve_at(void* hint, size_t size, int flags)
{
    void* const wanted = page_of(hint);
    if (wanted != NULL) {
        int const how = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
        long const got = syscall(SYS_mmap, wanted, size, PROT_NONE, how, -1, 0L);
        if ((void*)got == wanted) return wanted;
        if (got != -1) (void)syscall(SYS_munmap, got, size);
    }
    return reserve(size, flags);
}

/* A file's last page reads as zeros behind its end, to the end of the page: what of it the kernel
 * below knows nothing of becomes memory. */
static void fill_last_page(char* start, size_t size, int prot, int flags, int fd, off_t offset)
{
    struct stat status;
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) return;
    size_t const end = ((size_t)status.st_size + real - 1) & ~(real - 1);
    size_t const past = whole_pages((size_t)status.st_size);
    if (end == past || past <= (size_t)offset || end - (size_t)offset >= size) return;
    int const how = (flags & MAP_TYPE) == MAP_PRIVATE ? MAP_PRIVATE : MAP_SHARED;
    (void)syscall(SYS_mmap, start + (end - (size_t)offset), past - end, prot,
                  how | MAP_ANONYMOUS | MAP_FIXED | (flags & MAP_NORESERVE), -1, 0L);
}

/* `size` is of whole pages; `address` says where, with MAP_FIXED or MAP_FIXED_NOREPLACE. */
static void* map_there(void* address, size_t size, int prot, int flags, int fd, off_t offset)
{
    void* const at = next.mmap(address, size, prot, flags, fd, offset);
    int const saved = errno;
    if (at != MAP_FAILED && (flags & MAP_ANONYMOUS) == 0)
        fill_last_page(at, size, prot, flags, fd, offset);
    errno = saved;
    return at;
}

/* Wherever there is room. What will not be where we say (hugetlbfs has pages of its own) is left to
 * the kernel. */
static void* map_anywhere(void* hint, size_t size, int prot, int flags, int fd, off_t offset)
{
    void* const place = reserve_at(hint, size, flags);
    if (place == MAP_FAILED) return MAP_FAILED;
    int const saved = errno;
    void* const at = map_there(place, size, prot, flags | MAP_FIXED, fd, offset);
    if (at != MAP_FAILED) {
        errno = saved;
        return at;
    }
    int const error = errno;
    (void)syscall(SYS_munmap, place, size);
    errno = error;
    return error == EINVAL ? next.mmap(hint, size, prot, flags, fd, offset) : MAP_FAILED;
}

void* mmap64(void* address, size_t size, int prot, int flags, int fd, off_t offset)
{
    READY();
    if (((size_t)offset & (page - 1)) != 0) return (void*)(long)refuse(EINVAL);
    bool const fixed = (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) != 0;
    size_t const whole = whole_pages(size);
    /* What the kernel refuses or has a page size of its own for. */
    if (whole == 0 || (flags & MAP_HUGETLB) != 0)
        return next.mmap(address, size, prot, flags, fd, offset);
    if (!fixed) return map_anywhere(address, whole, prot, flags, fd, offset);
    if (aligned(address)) return map_there(address, whole, prot, flags, fd, offset);
    bool const closed = (flags & MAP_ANONYMOUS) == 0 && fcntl(fd, F_GETFD) < 0;
    return (void*)(long)refuse(closed ? EBADF : EINVAL);
}

void* mmap(void* address, size_t size, int prot, int flags, int fd, off_t offset)
    __attribute__((alias("mmap64")));

/* ---- what is done to mappings ---- */

int munmap(void* address, size_t size)
{
    READY();
    if (!aligned(address)) return refuse(EINVAL);
    return next.munmap(address, whole_pages(size));
}

int mprotect(void* address, size_t size, int prot)
{
    READY();
    if (!aligned(address)) return refuse(EINVAL);
    if (size != 0 && whole_pages(size) == 0) return refuse(ENOMEM);
    return next.mprotect(address, whole_pages(size), prot);
}

/* A mapping that must move goes to a multiple of the page. A refusal leaves the place reserved: the
 * kernel may have given it up by then, and somebody else taken it. */
static void* remap_elsewhere(void* address, size_t size, size_t new_size, int flags)
{
    void* const place = reserve(new_size, 0);
    if (place == MAP_FAILED) return MAP_FAILED;
    return next.mremap(address, size, new_size, flags | MREMAP_FIXED, place);
}

void* mremap(void* address, size_t size, size_t new_size, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    bool const to = (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) != 0;
    void* const new_address = to ? va_arg(arguments, void*) : NULL;
    va_end(arguments);
    READY();
    bool const fixed = (flags & MREMAP_FIXED) != 0;
    size_t const old_whole = whole_pages(size);
    size_t const new_whole = whole_pages(new_size);
    if (!aligned(address) || new_whole == 0 || (fixed && !aligned(new_address)))
        return (void*)(long)refuse(EINVAL);
    if (fixed || (flags & MREMAP_MAYMOVE) == 0)
        return next.mremap(address, old_whole, new_whole, flags, new_address);
    if ((flags & MREMAP_DONTUNMAP) == 0 && size != 0) {
        void* const at = next.mremap(address, old_whole, new_whole, flags & ~MREMAP_MAYMOVE);
        if (at != MAP_FAILED || errno != ENOMEM) return at;
    }
    return remap_elsewhere(address, old_whole, new_whole, flags);
}

int madvise(void* address, size_t size, int advice)
{
    READY();
    if (!aligned(address) || (size != 0 && whole_pages(size) == 0)) return refuse(EINVAL);
    return next.madvise(address, whole_pages(size), advice);
}

int posix_madvise(void* address, size_t size, int advice)
{
    READY();
    if (!aligned(address) || (size != 0 && whole_pages(size) == 0)) return EINVAL;
    return next.posix_madvise(address, whole_pages(size), advice);
}

int msync(void* address, size_t size, int flags)
{
    READY();
    if (!aligned(address)) return refuse(EINVAL);
    if (size != 0 && whole_pages(size) == 0) return refuse(ENOMEM);
    return next.msync(address, whole_pages(size), flags);
}

/* One byte for each page: resident where any of the small pages in it is. The kernel writes each
 * byte first, so that a bad `out` is EFAULT. */
int mincore(void* address, size_t size, unsigned char* out)
{
    READY();
    if (!aligned(address)) return refuse(EINVAL);
    if (size != 0 && whole_pages(size) == 0) return refuse(ENOMEM);
    size_t const parts = page / real;
    char* const start = address;
    for (size_t i = 0; i < whole_pages(size) / page; ++i) {
        unsigned char resident = 0;
        for (size_t part = parts; part-- > 0;) {
            if (next.mincore(start + i * page + part * real, real, &out[i]) != 0) return -1;
            resident |= out[i];
        }
        out[i] = resident;
    }
    return 0;
}

/* ---- locking: from the start of the first page to the end of the last ---- */

/* Memory that the kernel laid out by its own page has no page of ours around it: a hole there is no
 * reason to refuse what the caller asked for. */
static bool has_hole(void* start, size_t size)
{
    return syscall(SYS_msync, start, size, MS_ASYNC) != 0;
}

static size_t span_of(void const* address, size_t size)
{
    size_t const before = (size_t)((char const*)address - (char*)page_of(address));
    return size > SIZE_MAX - before ? 0 : whole_pages(size + before);
}

int mlock(void const* address, size_t size)
{
    READY();
    void* const start = page_of(address);
    size_t const span = span_of(address, size);
    if (span == 0 || has_hole(start, span)) return next.mlock(address, size);
    return next.mlock(start, span);
}

int mlock2(void const* address, size_t size, unsigned flags)
{
    READY();
    void* const start = page_of(address);
    size_t const span = span_of(address, size);
    if (span == 0 || has_hole(start, span)) return next.mlock2(address, size, flags);
    return next.mlock2(start, span, flags);
}

int munlock(void const* address, size_t size)
{
    READY();
    void* const start = page_of(address);
    size_t const span = span_of(address, size);
    if (span == 0 || has_hole(start, span)) return next.munlock(address, size);
    return next.munlock(start, span);
}
