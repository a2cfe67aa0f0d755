/* The part of the stub that stands behind the files of /sys that act when they are written: those
 * of drivers (bind, unbind, new_id, remove_id), of the bus (drivers_probe) and of devices
 * (driver_override, remove). What they do is stub_drivers.c's.
 *
 * A write(2) acts at once and fails as it would on Linux. What the C library writes for a stream
 * (a shell's echo) is seen when its descriptor is closed or replaced, and fails silently.
 * Nothing is kept but which files are such. Several threads may open and use them at once. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "machine/run_names.h"
#include "preload/stub_drivers.h"
#include "preload/stub_parts.h"

enum kind { kBind, kUnbind, kNewId, kRemoveId, kProbe, kOverride, kRemove };
static struct {
    char const* name;
    enum kind kind;
} const kFiles[] = {{"bind", kBind},           {"unbind", kUnbind},
                    {"new_id", kNewId},        {"remove_id", kRemoveId},
                    {"drivers_probe", kProbe}, {"driver_override", kOverride},
                    {"remove", kRemove}};

enum { kMostFiles = 256, kMostText = 4096, kPath = 1024 };
/* Free ones are last. No lock: a handler of a signal, or a child that was forked meanwhile, would
 * wait for it for ever. */
enum use { kFree, kBeingWritten, kKnown };
static struct control {
    enum use use; /* atomic; the rest is constant while kKnown, but for the last one */
    dev_t device;
    ino_t inode;
    enum kind kind;
    char owner[32];  /* the directory that it is in: a driver, or a device */
} files[kMostFiles]; /* that this process has opened for writing */

static char const* state;

void pinfold_sysfs_begin(char const* state_directory)
{
    state = state_directory;
    pinfold_drivers_begin(state_directory);
}

static long act(struct control const* file, char const* text)
{
    char bdf[32] = "";
    (void)sscanf(text, "%31s", bdf);
    switch (file->kind) {
        case kBind: return pinfold_bind(file->owner, bdf);
        case kUnbind: return pinfold_unbind(file->owner, bdf);
        case kNewId: return pinfold_new_id(file->owner, text);
        case kRemoveId: return pinfold_remove_id(file->owner, text);
        case kProbe: return pinfold_probe(bdf);
        case kOverride: return pinfold_override(file->owner, text);
        case kRemove: return pinfold_remove(file->owner, text);
    }
    return -EINVAL;
}

/* ---- which file a descriptor is of ---- */

static char const* last_part(char const* path)
{
    char const* const slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static bool kind_of(char const* name, enum kind* kind)
{
    for (size_t i = 0; i < sizeof kFiles / sizeof *kFiles; ++i) {
        if (strcmp(name, kFiles[i].name) != 0) continue;
        *kind = kFiles[i].kind;
        return true;
    }
    return false;
}

/* Where `fd` is in /sys, whichever way its path led; false: not in the run's tree. */
static bool place_of(int fd, char* place)
{
    char link[64];
    char mirror[kPath * 2];
    struct stat status;
    struct stat known;
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t const length = readlink(link, mirror, kPath - 1);
    if (length <= 0) return false;
    mirror[length] = '\0';
    char const* at = mirror;
    size_t const state_length = strlen(state);
    if (strncmp(at, state, state_length) == 0 &&
        strncmp(at + state_length, "/" PINFOLD_DIR_ROOT "/", sizeof "/" PINFOLD_DIR_ROOT) == 0)
        at += state_length + sizeof "/" PINFOLD_DIR_ROOT - 1;
    strcpy(place, at);
    int const size = snprintf(mirror, sizeof mirror, "%s/" PINFOLD_DIR_ROOT "%s", state, place);
    return size > 0 && (size_t)size < sizeof mirror && strncmp(place, "/sys/", 5) == 0 &&
           fstat(fd, &status) == 0 && stat(mirror, &known) == 0 && known.st_ino == status.st_ino &&
           known.st_dev == status.st_dev;
}

/* The name of the directory that a path's last part is in. */
static void copy_owner(char* owner, size_t room, char const* path)
{
    char const* const end = strrchr(path, '/');
    char const* start = end;
    while (start > path && start[-1] != '/') --start;
    (void)snprintf(owner, room, "%.*s", (int)(end - start), start);
}

static struct control const* known_as(struct stat const* status)
{
    for (int i = 0; i < kMostFiles; ++i) {
        enum use const use = __atomic_load_n(&files[i].use, __ATOMIC_ACQUIRE);
        if (use == kFree) break;
        if (use == kKnown && files[i].inode == status->st_ino && files[i].device == status->st_dev)
            return &files[i];
    }
    return NULL;
}

static bool take(struct control* file, enum use from)
{
    return __atomic_compare_exchange_n(&file->use, &from, kBeingWritten, false, __ATOMIC_ACQUIRE,
                                       __ATOMIC_RELAXED);
}

/* Where there is no room for one more the last is forgotten. NULL: somebody is about to. */
static struct control* free_one(void)
{
    for (int i = 0; i < kMostFiles; ++i)
        if (take(&files[i], kFree)) return &files[i];
    struct control* const last = &files[kMostFiles - 1];
    return take(last, kKnown) ? last : NULL;
}

static void remember(struct stat const* status, enum kind kind, char const* place)
{
    if (known_as(status) != NULL) return;
    struct control* const file = free_one();
    if (file == NULL) return;
    file->device = status->st_dev;
    file->inode = status->st_ino;
    file->kind = kind;
    copy_owner(file->owner, sizeof file->owner, place);
    __atomic_store_n(&file->use, kKnown, __ATOMIC_RELEASE);
}

void pinfold_sysfs_opened(char const* path, int flags, int fd)
{
    struct stat status;
    enum kind kind;
    char place[kPath];
    if (fd < 0 || state == NULL || (flags & O_ACCMODE) == O_RDONLY) return;
    if (!kind_of(last_part(path), &kind)) return;
    int const saved = errno;
    if (place_of(fd, place) && kind_of(last_part(place), &kind) && fstat(fd, &status) == 0)
        remember(&status, kind, place);
    errno = saved;
}

bool pinfold_sysfs_any(void) { return __atomic_load_n(&files[0].use, __ATOMIC_RELAXED) != kFree; }

static struct control const* control_of(int fd)
{
    struct stat status;
    return pinfold_sysfs_any() && fstat(fd, &status) == 0 ? known_as(&status) : NULL;
}

bool pinfold_sysfs_write(int fd, void const* data, size_t size, long* result)
{
    char text[kMostText];
    struct control const* const file = control_of(fd);
    if (file == NULL) return false;
    if (size >= sizeof text) {
        *result = -EINVAL;
        return true;
    }
    memcpy(text, data, size);
    text[size] = '\0';
    long const done = act(file, text);
    *result = done < 0 ? done : (long)size;
    return true;
}

static void read_file(char const* path, char* text, size_t room)
{
    int const fd = openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    ssize_t const size = fd < 0 ? 0 : pinfold_plain_read(fd, text, room - 1);
    if (fd >= 0) (void)pinfold_plain_close(fd);
    text[size > 0 ? size : 0] = '\0';
}

/* What a stream has written stands in the file. */
void pinfold_sysfs_closing(int fd)
{
    int const saved = errno;
    char text[kMostText];
    struct control const* const file = control_of(fd);
    if (file == NULL) return;
    /* Open for writing only, and to be read by nobody. */
    struct stat status;
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    bool const opens = fstat(fd, &status) == 0 && fchmod(fd, 0600) == 0;
    read_file(path, text, sizeof text);
    if (opens) (void)fchmod(fd, status.st_mode & 07777);
    bool const said = text[0] != '\0' && strcmp(text, "(null)\n") != 0;
    if (said && file->kind != kOverride) (void)!ftruncate(fd, 0);
    if (said) (void)act(file, text);
    errno = saved;
}
