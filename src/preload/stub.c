/* The stub: interposes what acts on VFIO descriptors, and nothing else. A call on a descriptor that
 * is not ours costs one table look-up; the engine is not even loaded until the first VFIO file is
 * opened.
 *
 * Every function here has the C library's contract (errno included). Thread safe; async-signal-safe
 * where the C library's function is, except for the call that loads the engine. */
#include <asm/ioctls.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "machine/run_names.h"
#include "preload/abi.h"
#include "preload/stub_parts.h"

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

static uint32_t table[PINFOLD_TABLE_SIZE];
static struct pinfold_engine const* engine;
static char const* state_directory; /* NULL: not under Pinfold, everything passes through */
static char const* engine_path;
static bool paths_mode;
static char node_prefix[512]; /* what every path of a node begins with */

/* ---- the C library's own functions ---- */

static struct {
    int (*ioctl)(int, unsigned long, unsigned long);
    void* (*mmap)(void*, size_t, int, int, int, off_t);
    int (*munmap)(void*, size_t);
    void* (*mremap)(void*, size_t, size_t, int, ...);
    int (*madvise)(void*, size_t, int);
    int (*mprotect)(void*, size_t, int);
    int (*mlock)(void const*, size_t);
    int (*mlock2)(void const*, size_t, unsigned);
    int (*mlockall)(int);
    int (*munlockall)(void);
    ssize_t (*read)(int, void*, size_t);
    ssize_t (*write)(int, void const*, size_t);
    ssize_t (*pread)(int, void*, size_t, off_t);
    ssize_t (*pwrite)(int, void const*, size_t, off_t);
    ssize_t (*pread_chk)(int, void*, size_t, off_t, size_t);
    int (*close)(int);
    int (*close_range)(unsigned, unsigned, int);
    void (*closefrom)(int);
    int (*dup)(int);
    int (*dup2)(int, int);
    int (*dup3)(int, int, int);
    int (*fcntl)(int, int, ...);
    int (*open)(char const*, int, ...);
    int (*openat)(int, char const*, int, ...);
    FILE* (*fopen)(char const*, char const*);
    int (*sigaction)(int, struct sigaction const*, struct sigaction*);
    sighandler_t (*signal)(int, sighandler_t);
    int (*sigaltstack)(stack_t const*, stack_t*);
    int (*sigprocmask)(int, sigset_t const*, sigset_t*);
    int (*pthread_sigmask)(int, sigset_t const*, sigset_t*);
    int (*fclose)(FILE*);
    ssize_t (*readlink)(char const*, char*, size_t);
    ssize_t (*readlinkat)(int, char const*, char*, size_t);
    ssize_t (*sendmsg)(int, struct msghdr const*, int);
    ssize_t (*recvmsg)(int, struct msghdr*, int);
} next;

static void resolve(void)
{
#define NEXT(member, symbol) *(void**)&next.member = dlsym(RTLD_NEXT, symbol)
    NEXT(mmap, "mmap");
    NEXT(munmap, "munmap");
    NEXT(mremap, "mremap");
    NEXT(madvise, "madvise");
    NEXT(mprotect, "mprotect");
    NEXT(mlock, "mlock");
    NEXT(mlock2, "mlock2");
    NEXT(mlockall, "mlockall");
    NEXT(munlockall, "munlockall");
    NEXT(read, "read");
    NEXT(write, "write");
    NEXT(pread, "pread64");
    NEXT(pwrite, "pwrite64");
    NEXT(pread_chk, "__pread64_chk");
    NEXT(close, "close");
    NEXT(close_range, "close_range");
    NEXT(closefrom, "closefrom");
    NEXT(dup, "dup");
    NEXT(dup2, "dup2");
    NEXT(dup3, "dup3");
    NEXT(fcntl, "fcntl64");
    NEXT(open, "open64");
    NEXT(openat, "openat64");
    NEXT(fopen, "fopen64");
    NEXT(sigaction, "sigaction");
    NEXT(signal, "signal");
    NEXT(sigaltstack, "sigaltstack");
    NEXT(sigprocmask, "sigprocmask");
    NEXT(pthread_sigmask, "pthread_sigmask");
    NEXT(fclose, "fclose");
    NEXT(readlink, "readlink");
    NEXT(readlinkat, "readlinkat");
    NEXT(sendmsg, "sendmsg");
    NEXT(recvmsg, "recvmsg");
    NEXT(ioctl, "ioctl"); /* last: its presence says that the rest is there */
#undef NEXT
}

static void take_held(void);
static void before_fork(void);
static void after_fork(void);
static void in_child(void);

__attribute__((constructor)) static void begin(void)
{
    if (next.ioctl == NULL) resolve();
    char const* const state = getenv(PINFOLD_ENV_STATE);
    char const* const mode = getenv(PINFOLD_ENV_MODE);
    engine_path = getenv(PINFOLD_ENV_ENGINE);
    if (state == NULL || mode == NULL || engine_path == NULL) return;
    paths_mode = strcmp(mode, PINFOLD_MODE_PATHS) == 0;
    char const* const root = "/" PINFOLD_DIR_ROOT;
    if (strlen(state) + strlen(root) + sizeof PINFOLD_NODE_DIR "/" > sizeof node_prefix) return;
    if (paths_mode) strcat(strcpy(node_prefix, state), root);
    strcat(node_prefix, PINFOLD_NODE_DIR "/");
    pinfold_remember_environment();
    state_directory = strdup(state); /* the program may change its environment */
    engine_path = strdup(engine_path);
    pinfold_sysfs_begin(state_directory);
    (void)pthread_atfork(before_fork, after_fork, in_child);
    take_held();
}

/* Another library's constructor may call us before ours has run. */
#define READY()                                      \
    do {                                             \
        if (UNLIKELY(next.ioctl == NULL)) resolve(); \
    } while (0)

/* ---- the engine ---- */

static pthread_mutex_t load_mutex = PTHREAD_MUTEX_INITIALIZER;
static pid_t owner_pid; /* the process whose descriptors the table speaks of */

/* Whose handlers have run before the fork(2) that the thread is in. */
static
    __attribute__((tls_model("initial-exec"))) _Thread_local struct pinfold_engine const* forking;

/* Registered before the program can register handlers of its own, and so run after them: what they
 * wait for may be a thread that waits for the engine. */
static void before_fork(void)
{
    forking = __atomic_load_n(&engine, __ATOMIC_ACQUIRE);
    if (forking != NULL) forking->before_fork();
}

static void after_fork(void)
{
    if (forking != NULL) forking->after_fork();
    forking = NULL;
}

static void in_child(void)
{
    owner_pid = getpid();
    if (forking != NULL) forking->in_child();
    forking = NULL;
}

static void end(void);

/* Between vfork(2) and exec the child has descriptors of its own, but our memory: it must leave no
 * mark there. */
static bool borrowed(void) { return engine != NULL && getpid() != owner_pid; }

/* A sanitizer's dlopen() refuses RTLD_DEEPBIND, because the library would not use its malloc().
 * Ours is not to. */
static void* open_library(char const* path)
{
    void* const c = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
    void* (*open_it)(char const*, int) = NULL;
    if (c != NULL) *(void**)&open_it = dlsym(c, "dlopen");
    if (open_it == NULL) open_it = dlopen; /* a C library that has it elsewhere */
    return open_it(path, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
}

static struct pinfold_engine const* load(void)
{
    struct pinfold_engine const* now = __atomic_load_n(&engine, __ATOMIC_ACQUIRE);
    if (now != NULL || state_directory == NULL) return now;
    PINFOLD_UNCANCELLED;
    int const saved = errno;
    pthread_mutex_lock(&load_mutex);
    if (engine == NULL) {
        owner_pid = getpid();
        (void)at_quick_exit(end);
        void* const library = open_library(engine_path);
        pinfold_start_function* start = NULL;
        if (library != NULL) *(void**)&start = dlsym(library, PINFOLD_START_SYMBOL);
        if (start != NULL)
            __atomic_store_n(&engine, start(table, state_directory), __ATOMIC_RELEASE);
    }
    now = engine;
    pthread_mutex_unlock(&load_mutex);
    errno = saved;
    return now;
}

struct pinfold_engine const* pinfold_succession(bool* is_borrowed)
{
    *is_borrowed = borrowed();
    return __atomic_load_n(&engine, __ATOMIC_ACQUIRE);
}

/* Descriptors of ours that came with the program's image are known from the start. */
static void take_held(void)
{
    char const* const held = getenv(PINFOLD_ENV_HELD);
    if (held == NULL) return;
    char text[PINFOLD_HELD_ROOM];
    size_t const length = strlen(held);
    if (length < sizeof text && load() != NULL) {
        memcpy(text, held, length + 1);
        engine->take_held(text);
    }
    (void)unsetenv(PINFOLD_ENV_HELD);
}

__attribute__((destructor)) static void end(void)
{
    if (engine != NULL && !borrowed()) engine->before_exit();
}

static inline uint32_t owner(int fd)
{
    if (UNLIKELY((unsigned)fd >= PINFOLD_TABLE_SIZE)) return PINFOLD_FOREIGN;
    return __atomic_load_n(&table[fd], __ATOMIC_RELAXED);
}

static inline bool ours(int fd) { return UNLIKELY(owner(fd) != PINFOLD_FOREIGN); }

static bool internal(int fd) { return owner(fd) == PINFOLD_INTERNAL; }

/* A result of the kernel's form becomes one of the C library's. */
static long finish(long result)
{
    if (result >= 0) return result;
    errno = (int)-result;
    return -1;
}

struct pinfold_engine const* pinfold_current_engine(void)
{
    struct pinfold_engine const* const now = __atomic_load_n(&engine, __ATOMIC_ACQUIRE);
    return UNLIKELY(now != NULL) && !borrowed() ? now : NULL;
}

struct pinfold_engine const* pinfold_engine_of(int fd) { return ours(fd) ? engine : NULL; }

/* ---- calls on descriptors of ours ---- */

/* The requests of linux/vfio.h: type ';', 100 and up, no size and no direction. */
static bool vfio_request(unsigned long request)
{
    return (request & ~0xffUL) == (';' << 8) && (request & 0xff) >= 100;
}

/* Declared with its third argument, which every caller of a VFIO request passes: a variable
 * argument list would cost each foreign call more than the look-up does. On x86-64 both are called
 * alike. */
int ioctl(int fd, unsigned long request, unsigned long arg);
int ioctl(int fd, unsigned long request, unsigned long arg)
{
    READY();
    if (ours(fd) && (request == FIOCLEX || request == FIONCLEX))
        return fcntl(fd, F_SETFD, request == FIOCLEX ? FD_CLOEXEC : 0);
    if (!ours(fd)) {
        if (LIKELY(!vfio_request(request)) || load() == NULL || engine->adopt(fd) == 0)
            return next.ioctl(fd, request, arg);
    }
    return (int)finish(engine->ioctl(fd, request, arg));
}

/* Device descriptors that came with the program's image fail like any that only names a file, and
 * then they are looked at. Once there is an engine, others have come by ways that it has seen. */
static bool unknown_of_ours(int fd)
{
    if (LIKELY(errno != EBADF) || state_directory == NULL || next.fcntl(fd, F_GETFD) < 0)
        return false;
    bool const adopted = load() != NULL && engine->adopt(fd) != 0;
    errno = EBADF;
    return adopted;
}

__attribute__((noinline)) static ssize_t first_pread(int fd, void* buffer, size_t size,
                                                     off_t offset)
{
    ssize_t const result = next.pread(fd, buffer, size, offset);
    if (LIKELY(result >= 0) || !unknown_of_ours(fd)) return result;
    return finish(engine->pread(fd, buffer, size, offset));
}

__attribute__((noinline)) static ssize_t first_pwrite(int fd, void const* buffer, size_t size,
                                                      off_t offset)
{
    ssize_t const result = next.pwrite(fd, buffer, size, offset);
    if (LIKELY(result >= 0) || !unknown_of_ours(fd)) return result;
    return finish(engine->pwrite(fd, buffer, size, offset));
}

/* ---- buffers in BARs: the kernel would find memory of ours there that allows nothing ---- */

static inline bool near_bar(void const* buffer, size_t size)
{
    if (LIKELY(engine == NULL)) return false;
    uintptr_t const start = (uintptr_t)buffer;
    return UNLIKELY(start < __atomic_load_n(&engine->bars->end, __ATOMIC_RELAXED) &&
                    start + size > __atomic_load_n(&engine->bars->start, __ATOMIC_RELAXED));
}

typedef ssize_t transfer(int fd, void* buffer, size_t size, off_t offset);

static ssize_t plain_read(int fd, void* buffer, size_t size, off_t offset)
{
    (void)offset;
    return read(fd, buffer, size);
}

static ssize_t plain_write(int fd, void* buffer, size_t size, off_t offset)
{
    (void)offset;
    return write(fd, buffer, size);
}

static ssize_t plain_pwrite(int fd, void* buffer, size_t size, off_t offset)
{
    return pwrite64(fd, buffer, size, offset);
}

/* Reading a register may change it: a write that is refused for its descriptor reads none. */
static bool takes_writes(int fd)
{
    if (ours(fd)) return true;
    int const flags = next.fcntl(fd, F_GETFL);
    return flags >= 0 && (flags & O_PATH) == 0 && (flags & O_ACCMODE) != O_RDONLY;
}

/* False: there is no BAR in the buffer. Otherwise the call is made on memory that stands for it. */
__attribute__((noinline)) static bool by_copy(transfer* call, bool out, int fd, void* buffer,
                                              size_t size, off_t offset, ssize_t* result)
{
    if (engine->in_bar(buffer, size) == 0) return false;
    if (out && !takes_writes(fd)) return *result = finish(-EBADF), true;
    void* const copy =
        next.mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (copy == MAP_FAILED) return *result = finish(-ENOMEM), true;
    long moved = out ? engine->copy_bar(buffer, copy, size, 1) : 0;
    *result = moved == 0 ? call(fd, copy, size, offset) : finish(moved);
    int const saved = errno;
    if (!out && *result > 0) moved = engine->copy_bar(buffer, copy, (size_t)*result, 0);
    (void)next.munmap(copy, size);
    errno = saved;
    if (moved != 0) *result = finish(moved);
    return true;
}

/* A descriptor that came with the program's image is not looked for here: another frame between the
 * kernel and the caller costs ten times what the look-up does. */
ssize_t read(int fd, void* buffer, size_t size)
{
    READY();
    ssize_t result;
    if (near_bar(buffer, size) && by_copy(plain_read, false, fd, buffer, size, 0, &result))
        return result;
    if (ours(fd)) return finish(engine->read(fd, buffer, size));
    return next.read(fd, buffer, size);
}

ssize_t pread64(int fd, void* buffer, size_t size, off_t offset)
{
    READY();
    ssize_t result;
    if (near_bar(buffer, size) && by_copy(pread64, false, fd, buffer, size, offset, &result))
        return result;
    if (ours(fd)) return finish(engine->pread(fd, buffer, size, offset));
    if (engine == NULL) return first_pread(fd, buffer, size, offset);
    return next.pread(fd, buffer, size, offset);
}

ssize_t pread(int fd, void* buffer, size_t size, off_t offset) __attribute__((alias("pread64")));

ssize_t __pread64_chk(int fd, void* buffer, size_t size, off_t offset, size_t room)
{
    READY();
    if (size <= room) return pread64(fd, buffer, size, offset);
    return next.pread_chk(fd, buffer, size, offset, room);
}

ssize_t __pread_chk(int fd, void* buffer, size_t size, off_t offset, size_t room)
    __attribute__((alias("__pread64_chk")));

ssize_t pwrite64(int fd, void const* buffer, size_t size, off_t offset)
{
    READY();
    ssize_t result;
    if (near_bar(buffer, size) &&
        by_copy(plain_pwrite, true, fd, (void*)buffer, size, offset, &result))
        return result;
    if (ours(fd)) return finish(engine->pwrite(fd, buffer, size, offset));
    if (engine == NULL) return first_pwrite(fd, buffer, size, offset);
    return next.pwrite(fd, buffer, size, offset);
}

ssize_t pwrite(int fd, void const* buffer, size_t size, off_t offset)
    __attribute__((alias("pwrite64")));

/* ---- files of /sys that act when they are written ---- */

ssize_t pinfold_plain_read(int fd, void* data, size_t size) { return next.read(fd, data, size); }

ssize_t pinfold_plain_write(int fd, void const* data, size_t size)
{
    return next.write(fd, data, size);
}

int pinfold_plain_close(int fd) { return next.close(fd); }

__attribute__((noinline)) static ssize_t acting_write(int fd, void const* data, size_t size)
{
    long result = 0;
    if (pinfold_sysfs_write(fd, data, size, &result)) return finish(result);
    return next.write(fd, data, size);
}

ssize_t write(int fd, void const* data, size_t size)
{
    READY();
    ssize_t result;
    if (near_bar(data, size) && by_copy(plain_write, true, fd, (void*)data, size, 0, &result))
        return result;
    if (ours(fd)) return finish(engine->write(fd, data, size));
    if (UNLIKELY(pinfold_sysfs_any())) return acting_write(fd, data, size);
    return next.write(fd, data, size);
}

/* ---- locked memory: one account with what is pinned for devices ---- */

/* The process that said mlockall(MCL_FUTURE) last; 0: none. A child does not inherit it. */
static pid_t locks_future;

/* 0, or a negative errno. */
static long may_lock(void const* address, size_t size, enum pinfold_locking how)
{
    if (LIKELY(engine == NULL) || borrowed()) return 0;
    return engine->locking(address, size, how);
}

int mlock(void const* address, size_t size)
{
    READY();
    long const allowed = may_lock(address, size, PINFOLD_MLOCK);
    return allowed < 0 ? (int)finish(allowed) : next.mlock(address, size);
}

int mlock2(void const* address, size_t size, unsigned flags)
{
    READY();
    long const allowed = may_lock(address, size, PINFOLD_MLOCK);
    return allowed < 0 ? (int)finish(allowed) : next.mlock2(address, size, flags);
}

/* Its own limit is that of all the process's memory, of which nothing is ours to add. */
int mlockall(int flags)
{
    READY();
    int const result = next.mlockall(flags);
    if (result == 0) locks_future = (flags & MCL_FUTURE) != 0 ? getpid() : 0;
    return result;
}

int munlockall(void)
{
    READY();
    locks_future = 0;
    return next.munlockall();
}

/* ---- memory ---- */

void* mmap64(void* address, size_t size, int prot, int flags, int fd, off_t offset)
{
    READY();
    if ((flags & MAP_ANONYMOUS) == 0 && ours(fd))
        return (void*)finish(engine->mmap(address, size, prot, flags, fd, offset));
    if (LIKELY(engine == NULL)) {
        void* const at = next.mmap(address, size, prot, flags, fd, offset);
        if (LIKELY(at != MAP_FAILED) || (flags & MAP_ANONYMOUS) != 0 || !unknown_of_ours(fd))
            return at;
        return (void*)finish(engine->mmap(address, size, prot, flags, fd, offset));
    }
    bool const locks = (flags & MAP_LOCKED) != 0 || (locks_future != 0 && locks_future == getpid());
    bool const replaces =
        (flags & MAP_FIXED) != 0 && (flags & MAP_FIXED_NOREPLACE) != MAP_FIXED_NOREPLACE;
    long allowed = 0;
    if ((locks || replaces) && ((flags & MAP_ANONYMOUS) != 0 || next.fcntl(fd, F_GETFD) >= 0)) {
        if (locks && size != 0) allowed = may_lock(NULL, size, PINFOLD_MAP_LOCKED);
        if (allowed == 0 && replaces) allowed = engine->leaving(address, size, PINFOLD_UNMAP);
    }
    return allowed < 0 ? (void*)finish(allowed) : next.mmap(address, size, prot, flags, fd, offset);
}

void* mmap(void* address, size_t size, int prot, int flags, int fd, off_t offset)
    __attribute__((alias("mmap64")));

int munmap(void* address, size_t size)
{
    READY();
    if (UNLIKELY(engine != NULL)) {
        long const allowed = engine->leaving(address, size, PINFOLD_UNMAP);
        if (allowed < 0) return (int)finish(allowed);
    }
    return next.munmap(address, size);
}

void* mremap(void* address, size_t size, size_t new_size, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    void* const new_address =
        (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) != 0 ? va_arg(arguments, void*) : NULL;
    va_end(arguments);
    READY();
    if (UNLIKELY(engine != NULL))
        return (void*)finish(engine->mremap(address, size, new_size, flags, new_address));
    return next.mremap(address, size, new_size, flags, new_address);
}

int madvise(void* address, size_t size, int advice)
{
    enum { kDontNeedLocked = 24 };
    READY();
    bool const discards = advice == MADV_DONTNEED || advice == kDontNeedLocked;
    if (UNLIKELY((discards || advice == MADV_REMOVE) && engine != NULL)) {
        enum pinfold_leaving const how = discards ? PINFOLD_DISCARD : PINFOLD_PUNCH;
        long const allowed = engine->leaving(address, size, how);
        if (allowed < 0) return (int)finish(allowed);
    }
    return next.madvise(address, size, advice);
}

int mprotect(void* address, size_t size, int prot)
{
    READY();
    if (UNLIKELY(engine != NULL)) return (int)finish(engine->mprotect(address, size, prot));
    return next.mprotect(address, size, prot);
}

/* ---- descriptors come and go ---- */

/* Forgets descriptor fd, before the kernel can give its number to somebody else. */
static uint32_t forget(int fd)
{
    if (!ours(fd)) return PINFOLD_FOREIGN;
    return __atomic_exchange_n(&table[fd], PINFOLD_FOREIGN, __ATOMIC_RELAXED);
}

static void closed(uint32_t file)
{
    if (file != PINFOLD_FOREIGN && file != PINFOLD_ORPHAN && engine != NULL) engine->closed(file);
}

int close(int fd)
{
    READY();
    if (!ours(fd)) {
        if (UNLIKELY(pinfold_sysfs_any())) pinfold_sysfs_closing(fd);
        return next.close(fd);
    }
    if (internal(fd)) return (int)finish(-EBADF);
    if (borrowed()) return next.close(fd);
    uint32_t const file = forget(fd);
    int const result = next.close(fd);
    closed(file);
    return result;
}

int fclose(FILE* stream)
{
    READY();
    if (UNLIKELY(pinfold_sysfs_any()) && stream != NULL && fflush(stream) == 0)
        pinfold_sysfs_closing(fileno(stream));
    if (LIKELY(engine == NULL) || stream == NULL || borrowed()) return next.fclose(stream);
    int const fd = fileno(stream);
    uint32_t const file = fd >= 0 && !internal(fd) ? forget(fd) : PINFOLD_FOREIGN;
    int const result = next.fclose(stream);
    closed(file);
    return result;
}

/* Closes [first, last] in the pieces that lie between the engine's own descriptors. */
int close_range(unsigned first, unsigned last, int flags)
{
    READY();
    if (first > last) return (int)finish(-EINVAL);
    bool const only_marks = (flags & CLOSE_RANGE_CLOEXEC) != 0;
    if (engine == NULL || only_marks) return next.close_range(first, last, flags);
    unsigned piece = first;
    unsigned const end = last < PINFOLD_TABLE_SIZE ? last : PINFOLD_TABLE_SIZE - 1;
    for (unsigned fd = first; fd <= end; ++fd) {
        uint32_t const who = owner((int)fd);
        if (LIKELY(who == PINFOLD_FOREIGN)) continue;
        if (piece < fd && next.close_range(piece, fd - 1, flags) != 0) return -1;
        if (who != PINFOLD_INTERNAL) (void)close((int)fd);
        piece = fd + 1;
    }
    return piece <= last ? next.close_range(piece, last, flags) : 0;
}

void closefrom(int first)
{
    READY();
    if (engine == NULL)
        next.closefrom(first);
    else
        (void)close_range(first < 0 ? 0 : (unsigned)first, ~0U, 0);
}

int dup(int fd)
{
    READY();
    if (internal(fd)) return (int)finish(-EBADF);
    int const copy = next.dup(fd);
    if (copy >= 0 && ours(fd) && !borrowed()) engine->duplicated(fd, copy);
    return copy;
}

static int dup_onto(int fd, int target, int flags, bool with_flags)
{
    READY();
    if (internal(fd) || internal(target)) return (int)finish(-EBADF);
    if (UNLIKELY(pinfold_sysfs_any()) && fd != target) pinfold_sysfs_closing(target);
    if (LIKELY(!ours(fd) && !ours(target)) || fd == target || borrowed())
        return with_flags ? next.dup3(fd, target, flags) : next.dup2(fd, target);
    uint32_t const replaced = owner(target);
    int const copy = with_flags ? next.dup3(fd, target, flags) : next.dup2(fd, target);
    if (copy < 0) return copy;
    (void)forget(target);
    if (ours(fd)) engine->duplicated(fd, copy);
    closed(replaced);
    return copy;
}

int dup2(int fd, int target) { return dup_onto(fd, target, 0, false); }

int dup3(int fd, int target, int flags) { return dup_onto(fd, target, flags, true); }

int fcntl64(int fd, int command, ...)
{
    va_list arguments;
    va_start(arguments, command);
    void* const arg = va_arg(arguments, void*);
    va_end(arguments);
    READY();
    if (internal(fd)) return (int)finish(-EBADF);
    if (command == F_GETFL && ours(fd)) return next.fcntl(engine->stand_in(fd), command);
    int const result = next.fcntl(fd, command, arg);
    if ((command == F_DUPFD || command == F_DUPFD_CLOEXEC) && result >= 0 && ours(fd) &&
        !borrowed())
        engine->duplicated(fd, result);
    return result;
}

int fcntl(int fd, int command, ...) __attribute__((alias("fcntl64")));

/* ---- descriptors travel ---- */

/* Calls `visit` on each descriptor that a message carries. */
static void each_descriptor(struct msghdr const* message, void (*visit)(int fd))
{
    struct msghdr head = *message; /* CMSG_NXTHDR wants one that it could change */
    for (struct cmsghdr* part = CMSG_FIRSTHDR(&head); part != NULL;
         part = CMSG_NXTHDR(&head, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
        size_t const count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; ++i) {
            int fd = -1;
            memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
            visit(fd);
        }
    }
}

static void sending(int fd)
{
    if (ours(fd)) engine->sending(fd, 1);
}

static void not_sent(int fd)
{
    if (ours(fd)) engine->sending(fd, 0);
}

/* Ours are character devices or empty files. */
static bool may_be_ours(struct stat const* status)
{
    return S_ISCHR(status->st_mode) || (S_ISREG(status->st_mode) && status->st_size == 0);
}

static void received(int fd)
{
    struct stat status;
    if (fd < 0 || ours(fd) || fstat(fd, &status) != 0) return;
    if (may_be_ours(&status) && load() != NULL) (void)engine->adopt(fd);
}

ssize_t sendmsg(int socket, struct msghdr const* message, int flags)
{
    READY();
    if (LIKELY(engine == NULL) || message == NULL || message->msg_control == NULL || borrowed())
        return next.sendmsg(socket, message, flags);
    each_descriptor(message, sending);
    ssize_t const result = next.sendmsg(socket, message, flags);
    int const saved = errno;
    if (result < 0) each_descriptor(message, not_sent);
    errno = saved;
    return result;
}

ssize_t recvmsg(int socket, struct msghdr* message, int flags)
{
    READY();
    ssize_t const result = next.recvmsg(socket, message, flags);
    if (LIKELY(result < 0 || message->msg_controllen == 0 || state_directory == NULL) || borrowed())
        return result;
    int const saved = errno;
    each_descriptor(message, received);
    errno = saved;
    return result;
}

/* ---- open: a node is known by its path, and then for certain by what was opened ---- */

/* A path that leads to a node for certain, by its text. */
static bool names_node(char const* path)
{
    size_t const length = strlen(node_prefix);
    return strncmp(path, node_prefix, length) == 0 && path[length] != '\0';
}

/* Whether a relative path may lead to a node: by the name of one. In paths mode nodes are reached
 * by the paths that the path library leads there, and by no other. */
static bool may_name_node(char const* path)
{
    if (paths_mode || path[0] == '/') return false;
    char const* const slash = strrchr(path, '/');
    char const* const name = slash != NULL ? slash + 1 : path;
    if (strcmp(name, PINFOLD_NODE_CONTAINER) == 0) return true;
    return name[0] != '\0' && name[strspn(name, "0123456789")] == '\0';
}

/* A descriptor by its name in /proc, opened anew. */
static bool names_descriptor(char const* path)
{
    static char const kProc[] = "/proc/";
    return UNLIKELY(engine != NULL) && strncmp(path, kProc, sizeof kProc - 1) == 0 &&
           strstr(path, "/fd/") != NULL;
}

/* What O_PATH opens is no file of ours that anybody could use. */
static bool maybe_node(char const* path, int flags)
{
    if (state_directory == NULL || path == NULL || (flags & (O_DIRECTORY | O_PATH)) != 0)
        return false;
    return names_node(path) || may_name_node(path) || names_descriptor(path);
}

/* Only for what can be a node is the engine loaded, which then looks at the descriptor itself. */
static int opened(int fd)
{
    struct stat status;
    if (fd < 0) return fd;
    if (!paths_mode && (fstat(fd, &status) != 0 || !may_be_ours(&status))) return fd;
    if (load() == NULL) return fd;
    long const result = engine->opened(fd);
    if (result >= 0) return fd;
    (void)next.close(fd);
    return (int)finish(result);
}

/* Placeholders stand for nodes in paths mode; O_PATH makes every call on them that we do not
 * interpose fail. */
static int node_flags(char const* path, int flags)
{
    return paths_mode && names_node(path) ? O_PATH | (flags & O_CLOEXEC) : flags;
}

static mode_t creation_mode(int flags, va_list arguments)
{
    return (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
}

/* The process's own status file tells of what is pinned. Once there is an engine, any file of that
 * name is shown to it. */
static int tell(char const* path, int flags, int fd)
{
    static char const kProc[] = "/proc/";
    static char const kStatus[] = "/status";
    if (UNLIKELY((flags & O_ACCMODE) != O_RDONLY)) pinfold_sysfs_opened(path, flags, fd);
    if (LIKELY(engine == NULL) || fd < 0 || strncmp(path, kProc, sizeof kProc - 1) != 0) return fd;
    size_t const length = strlen(path);
    bool const named = length >= sizeof kProc + sizeof kStatus - 2 &&
                       strcmp(path + length - (sizeof kStatus - 1), kStatus) == 0;
    if (!named || borrowed()) return fd;
    int const saved = errno;
    engine->status(fd);
    errno = saved;
    return fd;
}

int open64(char const* path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t const mode = creation_mode(flags, arguments);
    va_end(arguments);
    READY();
    if (LIKELY(!maybe_node(path, flags))) return tell(path, flags, next.open(path, flags, mode));
    return opened(next.open(path, node_flags(path, flags), mode));
}

int open(char const* path, int flags, ...) __attribute__((alias("open64")));

int creat64(char const* path, mode_t mode)
{
    return open64(path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

int creat(char const* path, mode_t mode) __attribute__((alias("creat64")));

int openat64(int directory, char const* path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t const mode = creation_mode(flags, arguments);
    va_end(arguments);
    READY();
    if (LIKELY(!maybe_node(path, flags)))
        return tell(path, flags, next.openat(directory, path, flags, mode));
    return opened(next.openat(directory, path, node_flags(path, flags), mode));
}

int openat(int directory, char const* path, int flags, ...) __attribute__((alias("openat64")));

/* The forms that _FORTIFY_SOURCE makes of an open without a mode. */
int __open64_2(char const* path, int flags) { return open64(path, flags); }
int __open_2(char const* path, int flags) { return open64(path, flags); }
int __openat64_2(int directory, char const* path, int flags)
{
    return openat64(directory, path, flags);
}
int __openat_2(int directory, char const* path, int flags)
{
    return openat64(directory, path, flags);
}

FILE* fopen64(char const* path, char const* mode)
{
    READY();
    FILE* const stream = next.fopen(path, mode);
    if (stream == NULL) return NULL;
    if (UNLIKELY(maybe_node(path, 0))) {
        struct stat status;
        int const fd = fileno(stream);
        bool const may_be = paths_mode || (fstat(fd, &status) == 0 && S_ISCHR(status.st_mode));
        long const result = may_be && load() != NULL ? engine->opened(fd) : 0;
        if (result >= 0) return stream;
        (void)next.fclose(stream);
        errno = (int)-result;
        return NULL;
    }
    (void)tell(path, mode[0] == 'r' && strchr(mode, '+') == NULL ? O_RDONLY : O_RDWR,
               fileno(stream));
    return stream;
}

FILE* fopen(char const* path, char const* mode) __attribute__((alias("fopen64")));

/* ---- names: a device's descriptor is of an inode without one ---- */

/* Whether a name of `length` bytes is that of the file behind devices' descriptors. */
static bool names_device(char const* name, size_t length)
{
    static char const kDevices[] = "/" PINFOLD_DIR_DEVICES "/";
    size_t const state = state_directory != NULL ? strlen(state_directory) : 0;
    return state != 0 && length >= state + sizeof kDevices &&
           memcmp(name, state_directory, state) == 0 &&
           memcmp(name + state, kDevices, sizeof kDevices - 1) == 0;
}

/* `length` bytes in `found` are where a link leads; `target` gets what Linux would say. */
static ssize_t give_name(char const* found, ssize_t length, char* target, size_t room)
{
    static char const kName[] = "anon_inode:[vfio-device]";
    if (length < 0) return length;
    if (names_device(found, (size_t)length)) {
        found = kName;
        length = sizeof kName - 1;
    }
    size_t const size = (size_t)length < room ? (size_t)length : room;
    memcpy(target, found, size);
    return (ssize_t)size;
}

ssize_t readlink(char const* path, char* target, size_t room)
{
    READY();
    char found[4096];
    if (LIKELY(state_directory == NULL) || room == 0) return next.readlink(path, target, room);
    return give_name(found, next.readlink(path, found, sizeof found), target, room);
}

ssize_t readlinkat(int directory, char const* path, char* target, size_t room)
{
    READY();
    char found[4096];
    if (LIKELY(state_directory == NULL) || room == 0)
        return next.readlinkat(directory, path, target, room);
    return give_name(found, next.readlinkat(directory, path, found, sizeof found), target, room);
}

ssize_t __readlink_chk(char const* path, char* target, size_t room, size_t size)
{
    if (room > size) abort(); /* as the C library does */
    return readlink(path, target, room);
}

ssize_t __readlinkat_chk(int directory, char const* path, char* target, size_t room, size_t size)
{
    if (room > size) abort();
    return readlinkat(directory, path, target, room);
}

/* On Linux the link of such a descriptor leads to no file. */
char* realpath(char const* path, char* out)
{
    PINFOLD_NEXT(realpath);
    char* const name = next(path, out);
    if (name == NULL || !names_device(name, strlen(name))) return name;
    if (out == NULL) free(name);
    errno = ENOENT;
    return NULL;
}

char* __realpath_chk(char const* path, char* out, size_t room);
char* __realpath_chk(char const* path, char* out, size_t room)
{
    if (out != NULL && room < PATH_MAX) abort();
    return realpath(path, out);
}

char* canonicalize_file_name(char const* path) { return realpath(path, NULL); }

/* ---- signals: the engine needs SIGSEGV and SIGBUS, and the client keeps its handlers ---- */

int sigaction(int number, struct sigaction const* action, struct sigaction* old)
{
    READY();
    if (UNLIKELY(engine != NULL) && !borrowed())
        return (int)finish(engine->sigaction(number, action, old));
    return next.sigaction(number, action, old);
}

static sighandler_t set_handler(int number, sighandler_t handler, int flags, bool blocks_itself)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    struct sigaction old;
    sigemptyset(&action.sa_mask);
    if (handler == SIG_ERR || (blocks_itself && sigaddset(&action.sa_mask, number) != 0)) {
        errno = EINVAL;
        return SIG_ERR;
    }
    return sigaction(number, &action, &old) == 0 ? old.sa_handler : SIG_ERR;
}

/* signal(2) as the C library has it: the handler stays, the signal is blocked in it, system calls
 * restart. */
sighandler_t signal(int number, sighandler_t handler)
{
    READY();
    if (LIKELY(engine == NULL)) return next.signal(number, handler);
    return set_handler(number, handler, SA_RESTART, true);
}

sighandler_t bsd_signal(int number, sighandler_t handler) { return signal(number, handler); }
sighandler_t ssignal(int number, sighandler_t handler) { return signal(number, handler); }

/* As System V had it: once, without blocking. */
sighandler_t sysv_signal(int number, sighandler_t handler)
{
    READY();
    return set_handler(number, handler, (int)(SA_RESETHAND | SA_NODEFER), false);
}

sighandler_t __sysv_signal(int number, sighandler_t handler)
{
    return sysv_signal(number, handler);
}

int sigaltstack(stack_t const* stack, stack_t* old)
{
    READY();
    int const result = next.sigaltstack(stack, old);
    if (UNLIKELY(engine != NULL) && stack != NULL && result == 0) engine->alternate_changed();
    return result;
}

static int set_mask(int (*change)(int, sigset_t const*, sigset_t*), int how, sigset_t const* set,
                    sigset_t* old);

static int mask_one(int how, int number, sigset_t* old)
{
    sigset_t one;
    sigemptyset(&one);
    return sigaddset(&one, number) != 0 ? -1 : set_mask(next.sigprocmask, how, &one, old);
}

sighandler_t sigset(int number, sighandler_t handler)
{
    READY();
    sigset_t before;
    struct sigaction old;
    if (handler == SIG_HOLD) {
        if (mask_one(SIG_BLOCK, number, &before) != 0 || sigaction(number, NULL, &old) != 0)
            return SIG_ERR;
        return sigismember(&before, number) == 1 ? SIG_HOLD : old.sa_handler;
    }
    sighandler_t const former = set_handler(number, handler, 0, false);
    if (former == SIG_ERR || mask_one(SIG_UNBLOCK, number, &before) != 0) return SIG_ERR;
    return sigismember(&before, number) == 1 ? SIG_HOLD : former;
}

int sigignore(int number)
{
    READY();
    return set_handler(number, SIG_IGN, 0, false) == SIG_ERR ? -1 : 0;
}

int sighold(int number)
{
    READY();
    return mask_one(SIG_BLOCK, number, NULL);
}

static int set_mask(int (*change)(int, sigset_t const*, sigset_t*), int how, sigset_t const* set,
                    sigset_t* old)
{
    if (LIKELY(engine == NULL) || borrowed()) return change(how, set, old);
    long const result = engine->mask(how, set, old);
    return change == next.pthread_sigmask ? (int)-result : (int)finish(result);
}

int sigprocmask(int how, sigset_t const* set, sigset_t* old)
{
    READY();
    return set_mask(next.sigprocmask, how, set, old);
}

int pthread_sigmask(int how, sigset_t const* set, sigset_t* old)
{
    READY();
    return set_mask(next.pthread_sigmask, how, set, old);
}

/* ---- syscall(2) ---- */

/* Calls that are made by number are the same calls. Declared with all the arguments that there can
 * be, as ioctl() is; what a caller did not pass is not looked at. What is not listed here goes to
 * the kernel as it is, rt_sigaction among it. */
long pinfold_syscall(long number, long a, long b, long c, long d, long e,
                     long f) __asm__("syscall");

static long own_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    static long (*own)(long, ...) = NULL;
    if (UNLIKELY(own == NULL)) *(void**)&own = dlsym(RTLD_NEXT, "syscall");
    return own(number, a, b, c, d, e, f);
}

/* openat2(2): flags and mode in a structure, which may ask for more than openat(2) knows. */
static long openat2_by_number(long a, long b, long c, long d)
{
    struct open_how const* const how = (struct open_how const*)c;
    if (how == NULL || d < (long)sizeof *how || !maybe_node((char const*)b, (int)how->flags))
        return own_syscall(SYS_openat2, a, b, c, d, 0, 0);
    if (how->resolve == 0)
        return openat64((int)a, (char const*)b, (int)how->flags, (mode_t)how->mode);
    return opened((int)own_syscall(SYS_openat2, a, b, c, d, 0, 0));
}

long pinfold_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    switch (number) {
        case SYS_ioctl: return ioctl((int)a, (unsigned long)b, (unsigned long)c);
        case SYS_pread64: return pread64((int)a, (void*)b, (size_t)c, d);
        case SYS_pwrite64: return pwrite64((int)a, (void const*)b, (size_t)c, d);
        case SYS_mmap: return (long)mmap64((void*)a, (size_t)b, (int)c, (int)d, (int)e, f);
        case SYS_munmap: return munmap((void*)a, (size_t)b);
        case SYS_mremap: return (long)mremap((void*)a, (size_t)b, (size_t)c, (int)d, (void*)e);
        case SYS_madvise: return madvise((void*)a, (size_t)b, (int)c);
        case SYS_mprotect: return mprotect((void*)a, (size_t)b, (int)c);
        case SYS_close: return close((int)a);
        case SYS_close_range: return close_range((unsigned)a, (unsigned)b, (int)c);
        case SYS_dup: return dup((int)a);
        case SYS_dup2: return dup2((int)a, (int)b);
        case SYS_dup3: return dup3((int)a, (int)b, (int)c);
        case SYS_fcntl: return fcntl64((int)a, (int)b, (void*)c);
        case SYS_open: return open64((char const*)a, (int)b, (mode_t)c);
        case SYS_creat: return creat64((char const*)a, (mode_t)b);
        case SYS_openat: return openat64((int)a, (char const*)b, (int)c, (mode_t)d);
        case SYS_openat2: return openat2_by_number(a, b, c, d);
        case SYS_sendmsg: return sendmsg((int)a, (struct msghdr const*)b, (int)c);
        case SYS_execve: return execve((char const*)a, (char* const*)b, (char* const*)c);
        case SYS_execveat:
            return execveat((int)a, (char const*)b, (char* const*)c, (char* const*)d, (int)e);
        case SYS_exit_group: _exit((int)a);
        case SYS_recvmsg: return recvmsg((int)a, (struct msghdr*)b, (int)c);
        case SYS_sigaltstack: return sigaltstack((stack_t const*)a, (stack_t*)b);
        case SYS_read: return read((int)a, (void*)b, (size_t)c);
        case SYS_write: return write((int)a, (void const*)b, (size_t)c);
        default: break;
    }
    long result = 0;
    if (pinfold_file_call(number, (long[]){a, b, c, d, e, f}, &result)) return result;
    result = own_syscall(number, a, b, c, d, e, f);
    if (number == SYS_rt_sigprocmask && result == 0)
        pinfold_mask_changed((int)a, (void*)b, (void*)c);
    return result;
}
