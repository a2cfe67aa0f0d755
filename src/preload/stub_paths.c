/* The path library: where user namespaces are forbidden, it leads the paths of /dev/vfio and of the
 * PCI and IOMMU parts of /sys to the run's own tree. Loaded before the stub, whose open() it calls;
 * it knows nothing of VFIO.
 *
 * A path is led away when it is at or below one of kOwned, whether or not the tree has it, so that
 * the host's own devices are not seen; below /sys/devices, when the tree has it. Names that come
 * back (realpath, readlink of /proc/self/fd) are led home. Paths with ".." in them are left alone.
 * Thread safe; async-signal-safe where the C library's function is. */
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
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "machine/run_names.h"

static char const* const kOwned[] = {
    PINFOLD_NODE_DIR,
    "/sys/bus/pci/devices",
    "/sys/bus/pci/drivers_probe",
    "/sys/bus/pci/drivers/vfio-pci",
    "/sys/kernel/iommu_groups",
    "/sys/module/vfio",
    "/sys/module/vfio_pci",
    "/sys/module/vfio_iommu_type1",
};
static char const kDevices[] = "/sys/devices/pci";

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

/* ---- there and back ---- */

static bool at_or_below(char const* path, char const* prefix)
{
    size_t const length = strlen(prefix);
    return strncmp(path, prefix, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

static bool owned(char const* path)
{
    for (size_t i = 0; i < sizeof kOwned / sizeof *kOwned; ++i)
        if (at_or_below(path, kOwned[i])) return true;
    return false;
}

/* Drops doubled slashes and "." steps. False: it does not fit. */
static bool tidy(char const* path, char* out, size_t room)
{
    size_t length = 0;
    for (char const* at = path; *at != '\0'; ++at) {
        if (at[0] == '/' && (at[1] == '/' || (at[1] == '.' && (at[2] == '/' || at[2] == '\0')))) {
            if (at[1] == '.') ++at;
            continue;
        }
        if (length + 1 >= room) return false;
        out[length++] = *at;
    }
    out[length] = '\0';
    return true;
}

/* Where `path` leads: itself, or a path in the run's tree, in `buffer` of PATH_MAX bytes. */
static char const* lead(char const* path, char* buffer)
{
    if (__builtin_expect(path == NULL || path[0] != '/' || root_length == 0, 0)) return path;
    char const* start = path;
    while (start[1] == '/') ++start;
    if (strncmp(start, "/dev", 4) != 0 && strncmp(start, "/sys", 4) != 0) return path;
    memcpy(buffer, root, root_length);
    char* const inside = buffer + root_length;
    if (!tidy(start, inside, PATH_MAX - root_length) || strstr(inside, "/../") != NULL) return path;
    if (owned(inside)) return buffer;
    if (strncmp(inside, kDevices, sizeof kDevices - 1) != 0 ||
        strchr(inside + sizeof kDevices, '/') == NULL)
        return path;
    NEXT(faccessat);
    int const saved = errno;
    bool const present = next(AT_FDCWD, buffer, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    errno = saved;
    return present ? buffer : path;
}

#define LEAD(path)             \
    char led_buffer[PATH_MAX]; \
    char const* const led = lead(path, led_buffer)

static bool in_tree(char const* path, size_t length)
{
    return root_length != 0 && length > root_length && strncmp(path, root, root_length) == 0 &&
           path[root_length] == '/';
}

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
    LEAD(path);
    return next(directory, led, flags, mode);
}

int open(char const* path, int flags, ...) __attribute__((alias("open64")));
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
    LEAD(path);
    return next(led, out);
}

int lstat64(char const* path, struct stat64* out)
{
    NEXT(lstat64);
    LEAD(path);
    return next(led, out);
}

int fstatat64(int directory, char const* path, struct stat64* out, int flags)
{
    NEXT(fstatat64);
    LEAD(path);
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
    LEAD(path);
    return next(directory, led, flags, mask, out);
}

int access(char const* path, int mode)
{
    NEXT(access);
    LEAD(path);
    return next(led, mode);
}

int faccessat(int directory, char const* path, int mode, int flags)
{
    NEXT(faccessat);
    LEAD(path);
    return next(directory, led, mode, flags);
}

int euidaccess(char const* path, int mode)
{
    NEXT(euidaccess);
    LEAD(path);
    return next(led, mode);
}

int eaccess(char const* path, int mode) __attribute__((alias("euidaccess")));

ssize_t getxattr(char const* path, char const* name, void* value, size_t size)
{
    NEXT(getxattr);
    LEAD(path);
    return next(led, name, value, size);
}

ssize_t lgetxattr(char const* path, char const* name, void* value, size_t size)
{
    NEXT(lgetxattr);
    LEAD(path);
    return next(led, name, value, size);
}

ssize_t listxattr(char const* path, char* list, size_t size)
{
    NEXT(listxattr);
    LEAD(path);
    return next(led, list, size);
}

ssize_t llistxattr(char const* path, char* list, size_t size)
{
    NEXT(llistxattr);
    LEAD(path);
    return next(led, list, size);
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
    LEAD(path);
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
    if (name != NULL && in_tree(name, strlen(name)))
        memmove(name, name + root_length, strlen(name + root_length) + 1);
    return name;
}

char* __realpath_chk(char const* path, char* out, size_t room);
char* __realpath_chk(char const* path, char* out, size_t room)
{
    if (out != NULL && room < PATH_MAX) abort();
    return realpath(path, out);
}

char* canonicalize_file_name(char const* path) { return realpath(path, NULL); }

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
        if (in_tree(out->gl_pathv[i], strlen(out->gl_pathv[i])))
            memmove(out->gl_pathv[i], out->gl_pathv[i] + root_length,
                    strlen(out->gl_pathv[i] + root_length) + 1);
    return result;
}

int glob(char const* pattern, int flags, int (*failed)(char const*, int), glob_t* out)
{
    return glob64(pattern, flags, failed, (glob64_t*)out); /* one structure on x86-64 */
}
