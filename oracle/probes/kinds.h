/* Memory of every kind, laid over a range that is reserved already, so that kinds can be
 * neighbours. */
#ifndef PINFOLD_ORACLE_KINDS_H
#define PINFOLD_ORACLE_KINDS_H
#include "probe.h"

/* The device whose BAR 0 the kind "bar" maps; -1: that kind is a hole. */
static int kind_device = -1;

static inline void lay(unsigned char* at, uint64_t size, int protection, int flags, int fd,
                       uint64_t offset)
{
    need(mmap(at, size, protection, flags | MAP_FIXED, fd, (off_t)offset) == at,
         "mmap with MAP_FIXED");
}

static inline void touch(unsigned char* at, uint64_t size)
{
    for (uint64_t i = 0; i < size; i += page()) at[i] = (unsigned char)(i / page() + 1);
}

static inline void lay_anonymous(unsigned char* at, uint64_t size, int protection, int flags)
{
    lay(at, size, protection, flags | MAP_ANONYMOUS, -1, 0);
}

static inline void lay_touched(unsigned char* at, uint64_t size)
{
    lay_anonymous(at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    touch(at, size);
}

static inline void lay_untouched(unsigned char* at, uint64_t size)
{
    lay_anonymous(at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE);
}

static inline void lay_read_only(unsigned char* at, uint64_t size)
{
    lay_touched(at, size);
    need(mprotect(at, size, PROT_READ) == 0, "mprotect");
}

static inline void lay_read_only_untouched(unsigned char* at, uint64_t size)
{
    lay_anonymous(at, size, PROT_READ, MAP_PRIVATE);
}

static inline void lay_no_access(unsigned char* at, uint64_t size)
{
    lay_touched(at, size);
    need(mprotect(at, size, PROT_NONE) == 0, "mprotect");
}

static inline void lay_write_only(unsigned char* at, uint64_t size)
{
    lay_anonymous(at, size, PROT_WRITE, MAP_PRIVATE);
    touch(at, size);
}

static inline void lay_execute_only(unsigned char* at, uint64_t size)
{
    lay_touched(at, size);
    need(mprotect(at, size, PROT_EXEC) == 0, "mprotect");
}

static inline void lay_shared(unsigned char* at, uint64_t size)
{
    lay_anonymous(at, size, PROT_READ | PROT_WRITE, MAP_SHARED);
    touch(at, size);
}

static inline void lay_shared_untouched(unsigned char* at, uint64_t size)
{
    lay_anonymous(at, size, PROT_READ | PROT_WRITE, MAP_SHARED);
}

static inline void lay_file(unsigned char* at, uint64_t size, uint64_t file_size, int protection,
                            int flags)
{
    int const fd = memfd(0);
    need(ftruncate(fd, (off_t)file_size) == 0, "ftruncate");
    lay(at, size, protection, flags, fd, 0);
    close(fd);
}

static inline void lay_file_shared(unsigned char* at, uint64_t size)
{
    lay_file(at, size, size, PROT_READ | PROT_WRITE, MAP_SHARED);
    touch(at, size);
}

static inline void lay_file_shared_read_only(unsigned char* at, uint64_t size)
{
    lay_file(at, size, size, PROT_READ, MAP_SHARED);
}

static inline void lay_file_private(unsigned char* at, uint64_t size)
{
    lay_file(at, size, size, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    touch(at, size);
}

static inline void lay_file_private_untouched(unsigned char* at, uint64_t size)
{
    lay_file(at, size, size, PROT_READ | PROT_WRITE, MAP_PRIVATE);
}

static inline void lay_file_private_read_only(unsigned char* at, uint64_t size)
{
    lay_file(at, size, size, PROT_READ, MAP_PRIVATE);
}

/* The first half, rounded down to pages, is in the file. */
static inline void lay_beyond_shared(unsigned char* at, uint64_t size)
{
    lay_file(at, size, size / page() / 2 * page(), PROT_READ | PROT_WRITE, MAP_SHARED);
}

static inline void lay_beyond_private(unsigned char* at, uint64_t size)
{
    lay_file(at, size, size / page() / 2 * page(), PROT_READ | PROT_WRITE, MAP_PRIVATE);
}

static inline void lay_hole(unsigned char* at, uint64_t size)
{
    need(munmap(at, size) == 0, "munmap");
}

static inline void lay_dropped(unsigned char* at, uint64_t size)
{
    lay_touched(at, size);
    need(madvise(at, size, MADV_DONTNEED) == 0, "madvise");
}

/* Only ever read by the CPU: the zero page is behind it. */
static inline void lay_only_read(unsigned char* at, uint64_t size)
{
    lay_untouched(at, size);
    for (uint64_t i = 0; i < size; i += page()) (void)*(unsigned char volatile*)(at + i);
}

static inline void lay_locked(unsigned char* at, uint64_t size)
{
    lay_untouched(at, size);
    (void)!mlock(at, size); /* over the limit it is just memory */
}

static inline void lay_bar(unsigned char* at, uint64_t size)
{
    if (kind_device < 0)
        lay_hole(at, size);
    else
        lay(at, size, PROT_READ | PROT_WRITE, MAP_SHARED, kind_device, 0);
}

struct kind {
    char const* name;
    void (*lay)(unsigned char* at, uint64_t size);
};

static struct kind const kKinds[] = {
    {"touched", lay_touched},
    {"untouched", lay_untouched},
    {"read-only", lay_read_only},
    {"read-only untouched", lay_read_only_untouched},
    {"no access", lay_no_access},
    {"write-only", lay_write_only},
    {"execute-only", lay_execute_only},
    {"shared", lay_shared},
    {"shared untouched", lay_shared_untouched},
    {"file shared", lay_file_shared},
    {"file shared read-only", lay_file_shared_read_only},
    {"file private", lay_file_private},
    {"file private untouched", lay_file_private_untouched},
    {"file private read-only", lay_file_private_read_only},
    {"beyond the end, shared", lay_beyond_shared},
    {"beyond the end, private", lay_beyond_private},
    {"hole", lay_hole},
    {"dropped", lay_dropped},
    {"only read", lay_only_read},
    {"locked", lay_locked},
    {"bar", lay_bar},
};
enum { kKindCount = sizeof kKinds / sizeof kKinds[0] };

/* Address space to lay kinds over. */
static inline struct memory reserved(char const* name, uint64_t pages)
{
    return memory_of(name, pages, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
}

#endif
