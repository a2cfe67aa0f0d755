/* Calls on descriptors as files, those that are not made often: on a device, a container and a
 * group they do what they do on Linux. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "preload/abi.h"
#include "preload/stub_parts.h"

#define UNLIKELY(x) __builtin_expect(!!(x), 0)

/* A result of the kernel's form becomes one of the C library's. */
static long finish(long result)
{
    if (result >= 0) return result;
    errno = (int)-result;
    return -1;
}

ssize_t __read_chk(int fd, void* buffer, size_t size, size_t room);
ssize_t __read_chk(int fd, void* buffer, size_t size, size_t room)
{
    if (size > room) abort(); /* as the C library does */
    return read(fd, buffer, size);
}

/* ---- several parts at once ---- */

ssize_t readv(int fd, struct iovec const* parts, int count)
{
    struct pinfold_engine const* const engine = pinfold_engine_of(fd);
    if (UNLIKELY(engine != NULL)) return finish(engine->readv(fd, parts, count, -1, 0));
    PINFOLD_NEXT(readv);
    return next(fd, parts, count);
}

ssize_t writev(int fd, struct iovec const* parts, int count)
{
    struct pinfold_engine const* const engine = pinfold_engine_of(fd);
    if (UNLIKELY(engine != NULL)) return finish(engine->writev(fd, parts, count, -1, 0));
    PINFOLD_NEXT(writev);
    return next(fd, parts, count);
}

ssize_t preadv(int fd, struct iovec const* parts, int count, off_t offset)
{
    struct pinfold_engine const* const engine = pinfold_engine_of(fd);
    if (UNLIKELY(engine != NULL))
        return finish(offset < 0 ? -EINVAL : engine->readv(fd, parts, count, offset, 0));
    PINFOLD_NEXT(preadv);
    return next(fd, parts, count, offset);
}

ssize_t pwritev(int fd, struct iovec const* parts, int count, off_t offset)
{
    struct pinfold_engine const* const engine = pinfold_engine_of(fd);
    if (UNLIKELY(engine != NULL))
        return finish(offset < 0 ? -EINVAL : engine->writev(fd, parts, count, offset, 0));
    PINFOLD_NEXT(pwritev);
    return next(fd, parts, count, offset);
}

ssize_t preadv2(int fd, struct iovec const* parts, int count, off_t offset, int flags)
{
    struct pinfold_engine const* const engine = pinfold_engine_of(fd);
    if (UNLIKELY(engine != NULL)) return finish(engine->readv(fd, parts, count, offset, flags));
    PINFOLD_NEXT(preadv2);
    return next(fd, parts, count, offset, flags);
}

ssize_t pwritev2(int fd, struct iovec const* parts, int count, off_t offset, int flags)
{
    struct pinfold_engine const* const engine = pinfold_engine_of(fd);
    if (UNLIKELY(engine != NULL)) return finish(engine->writev(fd, parts, count, offset, flags));
    PINFOLD_NEXT(pwritev2);
    return next(fd, parts, count, offset, flags);
}

ssize_t preadv64(int fd, struct iovec const* parts, int count, off_t offset)
    __attribute__((alias("preadv")));
ssize_t pwritev64(int fd, struct iovec const* parts, int count, off_t offset)
    __attribute__((alias("pwritev")));
ssize_t preadv64v2(int fd, struct iovec const* parts, int count, off_t offset, int flags)
    __attribute__((alias("preadv2")));
ssize_t pwritev64v2(int fd, struct iovec const* parts, int count, off_t offset, int flags)
    __attribute__((alias("pwritev2")));

/* ---- positions, and copies inside the kernel ---- */

off_t lseek(int fd, off_t offset, int whence)
{
    if (UNLIKELY(pinfold_engine_of(fd) != NULL)) {
        if (fcntl(fd, F_GETFD) < 0) return -1;
        return finish(whence >= SEEK_SET && whence <= SEEK_HOLE ? -ESPIPE : -EINVAL);
    }
    PINFOLD_NEXT(lseek);
    return next(fd, offset, whence);
}

off_t lseek64(int fd, off_t offset, int whence) __attribute__((alias("lseek")));

/* Whether a call that takes two descriptors has one of ours. */
static bool either(int one, int other)
{
    return pinfold_engine_of(one) != NULL || pinfold_engine_of(other) != NULL;
}

/* What the kernel says then: none of our files takes part in such a copy. */
static long no_copy(int from, int to)
{
    return fcntl(from, F_GETFD) < 0 || fcntl(to, F_GETFD) < 0 ? -EBADF : -EINVAL;
}

ssize_t sendfile(int to, int from, off_t* offset, size_t size)
{
    if (UNLIKELY(either(to, from))) {
        long const refusal = no_copy(from, to);
        bool const nothing = size == 0 && pinfold_engine_of(from) == NULL && refusal == -EINVAL;
        return nothing ? 0 : finish(refusal);
    }
    PINFOLD_NEXT(sendfile);
    return next(to, from, offset, size);
}

ssize_t sendfile64(int to, int from, off_t* offset, size_t size) __attribute__((alias("sendfile")));

ssize_t splice(int from, off_t* from_offset, int to, off_t* to_offset, size_t size, unsigned flags)
{
    if (UNLIKELY(either(to, from))) return size == 0 ? 0 : finish(no_copy(from, to));
    PINFOLD_NEXT(splice);
    return next(from, from_offset, to, to_offset, size, flags);
}

ssize_t tee(int from, int to, size_t size, unsigned flags)
{
    if (UNLIKELY(either(to, from))) return size == 0 ? 0 : finish(no_copy(from, to));
    PINFOLD_NEXT(tee);
    return next(from, to, size, flags);
}

ssize_t copy_file_range(int from, off_t* from_offset, int to, off_t* to_offset, size_t size,
                        unsigned flags)
{
    if (UNLIKELY(either(to, from))) return finish(no_copy(from, to));
    PINFOLD_NEXT(copy_file_range);
    return next(from, from_offset, to, to_offset, size, flags);
}

/* ---- what a descriptor looks like ---- */

static int stand_in(int fd)
{
    struct pinfold_engine const* const engine = pinfold_engine_of(fd);
    return UNLIKELY(engine != NULL) ? engine->stand_in(fd) : fd;
}

/* Of a call that takes a path, which may be none. */
static int stand_in_at(int fd, char const* path, int flags)
{
    bool const itself = (flags & AT_EMPTY_PATH) != 0 && pinfold_engine_of(fd) != NULL &&
                        (path == NULL || path[0] == '\0');
    return UNLIKELY(itself) ? stand_in(fd) : fd;
}

/* struct stat and struct stat64 are one on x86-64. */
int fstat(int fd, struct stat* out)
{
    PINFOLD_NEXT(fstat);
    return next(stand_in(fd), out);
}

int fstatat(int fd, char const* path, struct stat* out, int flags)
{
    PINFOLD_NEXT(fstatat);
    return next(stand_in_at(fd, path, flags), path, out, flags);
}

int statx(int fd, char const* path, int flags, unsigned mask, struct statx* out)
{
    PINFOLD_NEXT(statx);
    return next(stand_in_at(fd, path, flags), path, flags, mask, out);
}

int fstat64(int fd, struct stat64* out) { return fstat(fd, (struct stat*)out); }
int fstatat64(int fd, char const* path, struct stat64* out, int flags)
{
    return fstatat(fd, path, (struct stat*)out, flags);
}

/* What programs that were linked before glibc 2.33 call. */
int __fxstat(int version, int fd, struct stat* out);
int __fxstat(int version, int fd, struct stat* out)
{
    PINFOLD_NEXT(__fxstat);
    return next(version, stand_in(fd), out);
}
int __fxstat64(int version, int fd, struct stat* out) __attribute__((alias("__fxstat")));

int __fxstatat(int version, int fd, char const* path, struct stat* out, int flags);
int __fxstatat(int version, int fd, char const* path, struct stat* out, int flags)
{
    PINFOLD_NEXT(__fxstatat);
    return next(version, stand_in_at(fd, path, flags), path, out, flags);
}
int __fxstatat64(int version, int fd, char const* path, struct stat* out, int flags)
    __attribute__((alias("__fxstatat")));

/* ---- syscall(2) ---- */

static long call_by_number(long number, long const* with)
{
    struct iovec const* const parts = (struct iovec const*)with[1];
    int const fd = (int)with[0], count = (int)with[2];
    switch (number) {
        case SYS_readv: return readv(fd, parts, count);
        case SYS_writev: return writev(fd, parts, count);
        case SYS_preadv: return preadv(fd, parts, count, with[3]);
        case SYS_pwritev: return pwritev(fd, parts, count, with[3]);
        case SYS_preadv2: return preadv2(fd, parts, count, with[3], (int)with[5]);
        case SYS_pwritev2: return pwritev2(fd, parts, count, with[3], (int)with[5]);
        case SYS_lseek: return lseek(fd, with[1], count);
        case SYS_fstat: return fstat(fd, (struct stat*)with[1]);
        case SYS_newfstatat:
            return fstatat(fd, (char const*)with[1], (struct stat*)with[2], (int)with[3]);
        default:
            return statx(fd, (char const*)with[1], count, (unsigned)with[3],
                         (struct statx*)with[4]);
    }
}

bool pinfold_file_call(long number, long const* arguments, long* result)
{
    switch (number) {
        case SYS_readv:
        case SYS_writev:
        case SYS_preadv:
        case SYS_pwritev:
        case SYS_preadv2:
        case SYS_pwritev2:
        case SYS_lseek:
        case SYS_fstat:
        case SYS_newfstatat:
        case SYS_statx: break;
        default: return false;
    }
    if (pinfold_engine_of((int)arguments[0]) == NULL) return false;
    *result = call_by_number(number, arguments);
    return true;
}
