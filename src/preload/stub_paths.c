/* The path library: where user namespaces are forbidden, it leads the paths of /dev/vfio and of the
 * PCI and IOMMU parts of /sys to the run's own tree. Loaded before the stub, whose open() it calls;
 * it knows nothing of VFIO.
 *
 * A path is led away when it is at or below one of kOwned, whether or not the tree has it, so that
 * the host's own devices are not seen; whichever way it is written: relative, from a directory's
 * descriptor, with "..". Names that come back (realpath, getcwd, readlink of /proc/self/fd) are led
 * home. Thread safe; async-signal-safe where the C library's function is, but for paths with "..".
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "machine/drivers.h"
#include "machine/run_names.h"

static char const* const kOwned[] = {PINFOLD_NODE_DIR, "/sys/bus/pci", "/sys/kernel/iommu_groups",
                                     PINFOLD_SYS_DEVICES};
/* Of these the modules below are the machine's; the directory itself stands in the tree with links
 * to the host's. */
static char const kModules[] = "/sys/module";
static char const* const kOwnModules[] = {"vfio", "vfio_iommu_type1"};
/* What a relative path that leads there from elsewhere can begin with. */
static char const* const kBeginnings[] = {"dev",    "sys",     "bus",    "pci",          "vfio",
                                          "kernel", "devices", "module", "iommu_groups", "pinfold"};

static char root[PATH_MAX]; /* "<state>/root"; empty: nothing is led away */
static size_t root_length;

__attribute__((constructor)) static void begin(void)
{
    char const* const state = getenv(PINFOLD_ENV_STATE);
    if (state == NULL || strlen(state) + sizeof "/" PINFOLD_DIR_ROOT > sizeof root) return;
    strcpy(root, state);
    strcat(root, "/" PINFOLD_DIR_ROOT);
    root_length = strlen(root);
}

/* The C library's function, or that of the next preloaded library. */
#define NEXT(name)                 \
    static __typeof__(name)* next; \
    if (__builtin_expect(next == NULL, 0)) *(void**)&next = dlsym(RTLD_NEXT, #name)

#define NEXT_AS(name, as)        \
    static __typeof__(name)* as; \
    if (__builtin_expect(as == NULL, 0)) *(void**)&as = dlsym(RTLD_NEXT, #name)

/* ---- there and back ---- */

static bool at_or_below(char const* path, char const* prefix)
{
    size_t const length = strlen(prefix);
    return strncmp(path, prefix, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

static bool own_module(char const* name)
{
    for (size_t i = 0; i < sizeof kOwnModules / sizeof *kOwnModules; ++i)
        if (at_or_below(name, kOwnModules[i])) return true;
    for (int i = 0; i < kPinfoldDriverCount; ++i)
        if (at_or_below(name, kPinfoldDrivers[i].module)) return true;
    return false;
}

/* `path` is absolute and tidy. */
static bool owned(char const* path)
{
    for (size_t i = 0; i < sizeof kOwned / sizeof *kOwned; ++i)
        if (at_or_below(path, kOwned[i])) return true;
    if (!at_or_below(path, kModules)) return false;
    char const* const below = path + sizeof kModules - 1;
    return below[0] == '\0' || below[1] == '\0' || own_module(below + 1);
}

static bool in_tree(char const* path, size_t length)
{
    return root_length != 0 && length > root_length && strncmp(path, root, root_length) == 0 &&
           path[root_length] == '/';
}

/* Of a name that the kernel gave: as the program knows it. */
static void lead_home(char* name)
{
    size_t const length = strlen(name);
    if (in_tree(name, length)) memmove(name, name + root_length, length - root_length + 1);
}

/* Replaces the directory `at` (tidy, in `room` bytes) by the one that it is in, links resolved.
 * False: that does not fit. Two paths of stack, which others must not pay for. */
__attribute__((noinline)) static bool go_up(char* at, size_t room)
{
    char led[PATH_MAX];
    char real[PATH_MAX];
    NEXT(realpath);
    int const saved = errno;
    char const* where = at;
    if (owned(at) && strlen(at) + root_length < sizeof led) {
        memcpy(led, root, root_length);
        strcpy(led + root_length, at);
        where = led;
    }
    if (*at != '\0' && next(where, real) != NULL) {
        lead_home(real);
        errno = saved;
        if (strlen(real) >= room) return false;
        strcpy(at, real);
    }
    errno = saved;
    char* const slash = strrchr(at, '/');
    if (slash != NULL) *slash = '\0';
    return true;
}

/* An absolute path without doubled slashes, "." and "..", in `out` of `room` bytes; "" is "/". A
 * slash at the end stays: it is the directory that a link leads to. False: it does not fit. */
static bool tidy(char const* path, char* out, size_t room)
{
    size_t length = 0;
    bool directory = false;
    if (room == 0) return false;
    out[0] = '\0';
    while (*path != '\0') {
        size_t const slashes = strspn(path, "/");
        size_t const size = strcspn(path + slashes, "/");
        char const* const step = path + slashes;
        path = step + size;
        directory = size == 0 || (size == 1 && step[0] == '.');
        if (directory) continue;
        if (size == 2 && step[0] == '.' && step[1] == '.') {
            if (!go_up(out, room)) return false;
            length = strlen(out);
            continue;
        }
        if (length + size + 2 > room) return false;
        out[length++] = '/';
        memcpy(out + length, step, size);
        length += size;
        out[length] = '\0';
    }
    if (!directory || length == 0) return true;
    if (length + 2 > room) return false;
    strcpy(out + length, "/");
    return true;
}

static bool goes_up(char const* path)
{
    for (char const* at = strstr(path, ".."); at != NULL; at = strstr(at + 1, ".."))
        if ((at == path || at[-1] == '/') && (at[2] == '/' || at[2] == '\0')) return true;
    return false;
}

static bool dev_or_sys(char const* path)
{
    return at_or_below(path, "/dev") || at_or_below(path, "/sys");
}

/* Whether a path that goes up can come to where the tree is. */
static bool goes_there(char const* path)
{
    return goes_up(path) && (strstr(path, "/sys") != NULL || strstr(path, "/dev") != NULL);
}

/* Whether a relative path can lead to the tree from outside of it, or to a node; the numbers are
 * those of groups. */
static bool may_lead(char const* path)
{
    while (path[0] == '.' && path[1] == '/') path += 1 + strspn(path + 1, "/");
    size_t const size = strcspn(path, "/");
    if (size != 0 && strspn(path, "0123456789") >= size) return true;
    for (size_t i = 0; i < sizeof kBeginnings / sizeof *kBeginnings; ++i)
        if (strlen(kBeginnings[i]) == size && strncmp(path, kBeginnings[i], size) == 0) return true;
    return goes_up(path);
}

/* Where a relative path begins, as the kernel names it. By system calls: ours would lead home. */
static bool beginning(int directory, char* out)
{
    char link[64];
    long length = 0;
    NEXT_AS(syscall, kernel);
    if (directory == AT_FDCWD) {
        length = kernel(SYS_getcwd, out, (size_t)PATH_MAX);
        return length > 0 && out[0] == '/';
    }
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
    length = kernel(SYS_readlink, link, out, (size_t)PATH_MAX - 1);
    if (length <= 0) return false;
    out[length] = '\0';
    return out[0] == '/';
}

/* `path` made absolute, in `out` of 2 * PATH_MAX bytes, if it may concern us. `inside`: it began in
 * the tree. */
static bool make_absolute(int directory, char const* path, char* out, bool* inside)
{
    int const saved = errno;
    bool const known = beginning(directory, out);
    errno = saved;
    if (!known) return false;
    *inside = in_tree(out, strlen(out));
    if (*inside) lead_home(out);
    if (!dev_or_sys(out) && strcmp(out, "/") != 0 && !goes_there(path)) return false;
    if (strlen(path) >= PATH_MAX) return false;
    strcat(strcat(out, "/"), path);
    return true;
}

/* Of the absolute `start`, which is `path` spelt out: `path`, or an absolute path in `buffer` of
 * PATH_MAX bytes. `inside`: it began in the tree. */
static char const* find(char const* start, char const* path, bool inside, char* buffer)
{
    char* const tidied = buffer + root_length;
    if (!tidy(start, tidied, PATH_MAX - root_length)) return path;
    if (owned(tidied)) {
        memcpy(buffer, root, root_length);
        return buffer;
    }
    /* Out of the tree, into what is the host's. */
    if (!inside) return path;
    if (tidied[0] == '\0') return strcpy(buffer, "/");
    memmove(buffer, tidied, strlen(tidied) + 1);
    return buffer;
}

/* The same of a relative path, with two paths of stack more. */
__attribute__((noinline)) static char const* find_from(int directory, char const* path,
                                                       char* buffer)
{
    char whole[PATH_MAX * 2];
    bool inside = false;
    if (!make_absolute(directory, path, whole, &inside)) return path;
    return find(whole, path, inside, buffer);
}

/* Where `path` leads: itself, or an absolute path in `buffer` of PATH_MAX bytes. Only relative
 * paths and those with ".." take more of the stack: threads may have no more than 16 KiB. */
static char const* lead(int directory, char const* path, char* buffer)
{
    if (__builtin_expect(path == NULL || path[0] == '\0' || root_length == 0, 0)) return path;
    if (path[0] != '/') return may_lead(path) ? find_from(directory, path, buffer) : path;
    char const* start = path;
    while (start[1] == '/') ++start;
    return dev_or_sys(start) || goes_there(start) ? find(start, path, false, buffer) : path;
}

#define LEAD_AT(directory, path) \
    char led_buffer[PATH_MAX];   \
    char const* const led = lead(directory, path, led_buffer)
#define LEAD(path) LEAD_AT(AT_FDCWD, path)

/* For calls that look at what a path names: the list of modules is another, the directory is not.
 */
static char const* to_look_at(char const* path, char const* led)
{
    if (led == path || !in_tree(led, strlen(led)) || !at_or_below(led + root_length, kModules))
        return led;
    char const* const below = led + root_length + sizeof kModules - 1;
    return below[0] == '\0' || below[1] == '\0' ? kModules : led;
}

#define LEAD_TO_LOOK_AT(directory, path) \
    char led_buffer[PATH_MAX];           \
    char const* const led = to_look_at(path, lead(directory, path, led_buffer))
#define LEAD_TO_LOOK(path) LEAD_TO_LOOK_AT(AT_FDCWD, path)

/* ---- open ---- */

static mode_t creation_mode(int flags, va_list arguments)
{
    return (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
}

int open64(char const* path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t const mode = creation_mode(flags, arguments);
    va_end(arguments);
    NEXT(open64);
    LEAD(path);
    return next(led, flags, mode);
}

int openat64(int directory, char const* path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t const mode = creation_mode(flags, arguments);
    va_end(arguments);
    NEXT(openat64);
    LEAD_AT(directory, path);
    return next(directory, led, flags, mode);
}

int creat64(char const* path, mode_t mode)
{
    NEXT(creat64);
    LEAD(path);
    return next(led, mode);
}

int open(char const* path, int flags, ...) __attribute__((alias("open64")));
int creat(char const* path, mode_t mode) __attribute__((alias("creat64")));
int openat(int directory, char const* path, int flags, ...) __attribute__((alias("openat64")));
int __open_2(char const* path, int flags) { return open64(path, flags); }
int __open64_2(char const* path, int flags) { return open64(path, flags); }
int __openat_2(int directory, char const* path, int flags)
{
    return openat64(directory, path, flags);
}
int __openat64_2(int directory, char const* path, int flags)
{
    return openat64(directory, path, flags);
}

FILE* fopen64(char const* path, char const* mode)
{
    NEXT(fopen64);
    LEAD(path);
    return next(led, mode);
}

FILE* fopen(char const* path, char const* mode) __attribute__((alias("fopen64")));

FILE* freopen64(char const* path, char const* mode, FILE* stream)
{
    NEXT(freopen64);
    LEAD(path);
    return next(led, mode, stream);
}

FILE* freopen(char const* path, char const* mode, FILE* stream) __attribute__((alias("freopen64")));

/* ---- look ---- */

int stat64(char const* path, struct stat64* out)
{
    NEXT(stat64);
    LEAD_TO_LOOK(path);
    return next(led, out);
}

int lstat64(char const* path, struct stat64* out)
{
    NEXT(lstat64);
    LEAD_TO_LOOK(path);
    return next(led, out);
}

int fstatat64(int directory, char const* path, struct stat64* out, int flags)
{
    NEXT(fstatat64);
    LEAD_TO_LOOK_AT(directory, path);
    return next(directory, led, out, flags);
}

/* struct stat and struct stat64 are one on x86-64. */
int stat(char const* path, struct stat* out) { return stat64(path, (struct stat64*)out); }
int lstat(char const* path, struct stat* out) { return lstat64(path, (struct stat64*)out); }
int fstatat(int directory, char const* path, struct stat* out, int flags)
{
    return fstatat64(directory, path, (struct stat64*)out, flags);
}

/* What programs built against a C library before 2.33 call. */
int __xstat64(int version, char const* path, struct stat64* out);
int __lxstat64(int version, char const* path, struct stat64* out);
int __xstat64(int version, char const* path, struct stat64* out)
{
    (void)version;
    return stat64(path, out);
}
int __lxstat64(int version, char const* path, struct stat64* out)
{
    (void)version;
    return lstat64(path, out);
}
int __xstat(int version, char const* path, struct stat64* out) __attribute__((alias("__xstat64")));
int __lxstat(int version, char const* path, struct stat64* out)
    __attribute__((alias("__lxstat64")));

int statx(int directory, char const* path, int flags, unsigned mask, struct statx* out)
{
    NEXT(statx);
    LEAD_TO_LOOK_AT(directory, path);
    return next(directory, led, flags, mask, out);
}

int access(char const* path, int mode)
{
    NEXT(access);
    LEAD_TO_LOOK(path);
    return next(led, mode);
}

int faccessat(int directory, char const* path, int mode, int flags)
{
    NEXT(faccessat);
    LEAD_TO_LOOK_AT(directory, path);
    return next(directory, led, mode, flags);
}

int euidaccess(char const* path, int mode)
{
    NEXT(euidaccess);
    LEAD_TO_LOOK(path);
    return next(led, mode);
}

int eaccess(char const* path, int mode) __attribute__((alias("euidaccess")));

ssize_t getxattr(char const* path, char const* name, void* value, size_t size)
{
    NEXT(getxattr);
    LEAD_TO_LOOK(path);
    return next(led, name, value, size);
}

ssize_t lgetxattr(char const* path, char const* name, void* value, size_t size)
{
    NEXT(lgetxattr);
    LEAD_TO_LOOK(path);
    return next(led, name, value, size);
}

ssize_t listxattr(char const* path, char* list, size_t size)
{
    NEXT(listxattr);
    LEAD_TO_LOOK(path);
    return next(led, list, size);
}

ssize_t llistxattr(char const* path, char* list, size_t size)
{
    NEXT(llistxattr);
    LEAD_TO_LOOK(path);
    return next(led, list, size);
}

/* ---- change ---- */

int chmod(char const* path, mode_t mode)
{
    NEXT(chmod);
    LEAD(path);
    return next(led, mode);
}

int truncate64(char const* path, off64_t size)
{
    NEXT(truncate64);
    LEAD(path);
    return next(led, size);
}

int truncate(char const* path, off_t size) __attribute__((alias("truncate64")));

int unlink(char const* path)
{
    NEXT(unlink);
    LEAD(path);
    return next(led);
}

int inotify_add_watch(int fd, char const* path, uint32_t mask)
{
    NEXT(inotify_add_watch);
    LEAD(path);
    return next(fd, led, mask);
}

int statfs64(char const* path, struct statfs64* out)
{
    NEXT(statfs64);
    LEAD(path);
    return next(led, out);
}

int statfs(char const* path, struct statfs* out) { return statfs64(path, (struct statfs64*)out); }

/* ---- change into ---- */

/* Where the tree has the directory of `fd`, in `buffer` of PATH_MAX bytes. False: it is none that
 * the tree stands for. */
static bool mirror_of(int fd, char* buffer)
{
    if (fd < 0 || root_length == 0) return false;
    int const saved = errno;
    bool const known = beginning(fd, buffer);
    errno = saved;
    size_t const size = known ? strlen(buffer) + 1 : 0;
    if (!known || !owned(buffer) || root_length + size > PATH_MAX) return false;
    memmove(buffer + root_length, buffer, size);
    memcpy(buffer, root, root_length);
    return true;
}

/* lead(), of a directory to change into: from there even names that nobody looks at are of the
 * directory, so that it must not be the host's where a link of the host's leads to it either. */
static char const* lead_into(char const* path, char* buffer)
{
    char const* const led = lead(AT_FDCWD, path, buffer);
    if (led != path || path == NULL || root_length == 0) return led;
    NEXT_AS(syscall, kernel);
    int const saved = errno;
    int const fd = (int)kernel(SYS_openat, AT_FDCWD, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    bool const mirrored = mirror_of(fd, buffer);
    if (fd >= 0) (void)kernel(SYS_close, fd);
    errno = saved;
    return mirrored ? buffer : path;
}

int chdir(char const* path)
{
    char buffer[PATH_MAX];
    NEXT(chdir);
    return next(lead_into(path, buffer));
}

int fchdir(int directory)
{
    char mirror[PATH_MAX];
    NEXT(fchdir);
    NEXT_AS(chdir, into);
    return mirror_of(directory, mirror) ? into(mirror) : next(directory);
}

/* ---- names that come back ---- */

/* A link's text that names the tree (as /proc/self/fd does) is led home, within what the caller had
 * room for. */
static ssize_t home(char const* text, ssize_t length, char* out, size_t size)
{
    if (length < 0) return length;
    size_t whole = (size_t)length;
    if (in_tree(text, whole)) {
        text += root_length;
        whole -= root_length;
    }
    size_t const kept = whole < size ? whole : size;
    memcpy(out, text, kept);
    return (ssize_t)kept;
}

ssize_t readlinkat(int directory, char const* path, char* out, size_t size)
{
    NEXT(readlinkat);
    LEAD_AT(directory, path);
    if (size == 0) return next(directory, led, out, size);
    char text[PATH_MAX * 2];
    return home(text, next(directory, led, text, sizeof text), out, size);
}

ssize_t readlink(char const* path, char* out, size_t size)
{
    return readlinkat(AT_FDCWD, path, out, size);
}

ssize_t __readlink_chk(char const* path, char* out, size_t size, size_t room);
ssize_t __readlink_chk(char const* path, char* out, size_t size, size_t room)
{
    if (size > room) abort(); /* as the C library does: a buffer overflow was prevented */
    return readlinkat(AT_FDCWD, path, out, size);
}

ssize_t __readlinkat_chk(int directory, char const* path, char* out, size_t size, size_t room);
ssize_t __readlinkat_chk(int directory, char const* path, char* out, size_t size, size_t room)
{
    if (size > room) abort();
    return readlinkat(directory, path, out, size);
}

char* realpath(char const* path, char* out)
{
    NEXT(realpath);
    LEAD(path);
    char* const name = next(led, out);
    if (name != NULL) lead_home(name);
    return name;
}

char* __realpath_chk(char const* path, char* out, size_t room);
char* __realpath_chk(char const* path, char* out, size_t room)
{
    if (out != NULL && room < PATH_MAX) abort();
    return realpath(path, out);
}

char* canonicalize_file_name(char const* path) { return realpath(path, NULL); }

/* The kernel's name may need more room than the one that it is led home to. */
char* getcwd(char* out, size_t size)
{
    char here[PATH_MAX];
    NEXT(getcwd);
    if (root_length == 0 || next(here, sizeof here) == NULL) return next(out, size);
    size_t const whole = strlen(here);
    lead_home(here);
    size_t const length = strlen(here);
    if (length == whole || (out != NULL && size == 0)) return next(out, size);
    if (size != 0 && length >= size) {
        errno = ERANGE;
        return NULL;
    }
    if (out == NULL) out = malloc(size != 0 ? size : length + 1);
    return out == NULL ? NULL : strcpy(out, here);
}

char* __getcwd_chk(char* out, size_t size, size_t room);
char* __getcwd_chk(char* out, size_t size, size_t room)
{
    if (size > room) abort();
    return getcwd(out, size);
}

char* get_current_dir_name(void)
{
    char here[PATH_MAX];
    NEXT(get_current_dir_name);
    NEXT_AS(getcwd, plain);
    if (root_length == 0 || plain(here, sizeof here) == NULL || !in_tree(here, strlen(here)))
        return next();
    lead_home(here);
    return strdup(here);
}

/* ---- directories ---- */

DIR* opendir(char const* path)
{
    NEXT(opendir);
    LEAD(path);
    return next(led);
}

int scandir64(char const* path, struct dirent64*** out, int (*filter)(struct dirent64 const*),
              int (*compare)(struct dirent64 const**, struct dirent64 const**))
{
    NEXT(scandir64);
    LEAD(path);
    return next(led, out, filter, compare);
}

int scandir(char const* path, struct dirent*** out, int (*filter)(struct dirent const*),
            int (*compare)(struct dirent const**, struct dirent const**))
{
    NEXT(scandir);
    LEAD(path);
    return next(led, out, filter, compare);
}

int glob64(char const* pattern, int flags, int (*failed)(char const*, int), glob64_t* out)
{
    NEXT(glob64);
    LEAD(pattern);
    size_t const before = (flags & GLOB_APPEND) != 0 ? out->gl_pathc : 0;
    size_t const reserved = (flags & GLOB_DOOFFS) != 0 ? out->gl_offs : 0;
    int const result = next(led, flags, failed, out);
    if (result != 0 || led == pattern) return result;
    for (size_t i = reserved + before; i < reserved + out->gl_pathc; ++i)
        lead_home(out->gl_pathv[i]);
    return result;
}

int glob(char const* pattern, int flags, int (*failed)(char const*, int), glob_t* out)
{
    return glob64(pattern, flags, failed, (glob64_t*)out); /* one structure on x86-64 */
}

/* ---- syscall(2) ---- */

/* Calls that are made by number are led as well, those that open. The stub makes them what they
 * are. */
long pinfold_paths_syscall(long number, long a, long b, long c, long d, long e,
                           long f) __asm__("syscall");

long pinfold_paths_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    static long (*next)(long, ...) = NULL;
    char led[PATH_MAX];
    if (__builtin_expect(next == NULL, 0)) *(void**)&next = dlsym(RTLD_NEXT, "syscall");
    switch (number) {
        case SYS_open:
        case SYS_creat: a = (long)lead(AT_FDCWD, (char const*)a, led); break;
        case SYS_chdir: a = (long)lead_into((char const*)a, led); break;
        case SYS_fchdir:
            if (!mirror_of((int)a, led)) break;
            number = SYS_chdir;
            a = (long)led;
            break;
        case SYS_openat:
        case SYS_openat2: b = (long)lead((int)a, (char const*)b, led); break;
        default: break;
    }
    return next(number, a, b, c, d, e, f);
}
