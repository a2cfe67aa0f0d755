/* Operations on the memory that is mapped, and on how much of it may be locked. */
#ifndef PINFOLD_ORACLE_RANDOM_MEMORY_H
#define PINFOLD_ORACLE_RANDOM_MEMORY_H
#include "random/operation.h"
#include "random/outcome.h"

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

#endif
