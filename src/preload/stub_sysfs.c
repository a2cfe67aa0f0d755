/* The part of the stub that stands behind the files by which devices get and lose their driver:
 * bind, unbind, new_id and remove_id of vfio-pci, drivers_probe, and driver_override. What is
 * written to them acts on the links of the run's own tree, which is where everybody looks a
 * device's driver up.
 *
 * A write(2) acts at once and fails as it would on Linux. What the C library writes for a stream
 * (a shell's echo) is seen when its descriptor is closed or replaced, and fails silently.
 * Nothing is kept but which files are such; several threads may use different ones. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "machine/run_names.h"
#include "preload/stub_parts.h"

enum kind { kBind, kUnbind, kNewId, kRemoveId, kProbe, kOverride };
static struct {
    char const* name;
    enum kind kind;
} const kFiles[] = {{"/bind", kBind},           {"/unbind", kUnbind},
                    {"/new_id", kNewId},        {"/remove_id", kRemoveId},
                    {"/drivers_probe", kProbe}, {"/driver_override", kOverride}};
static char const kDriver[] = "/sys/bus/pci/drivers/vfio-pci";
static char const kDevices[] = "/sys/bus/pci/devices";
static char const kBus[] = "/sys/bus/pci";

enum { kMostFiles = 64, kMostText = 4096, kPath = 1024 };
static struct control {
    dev_t device;
    ino_t inode;
    enum kind kind;
    char bdf[16]; /* driver_override: whose */
} files[kMostFiles];
static int count; /* of files that this process has opened for writing */

static char const* state;

void pinfold_sysfs_begin(char const* state_directory) { state = state_directory; }

/* ---- the tree ---- */

/* "<state>/root", then the parts. False: too long. */
static bool tree_path(char* path, char const* directory, char const* name, char const* file)
{
    int const length = snprintf(path, kPath, "%s/" PINFOLD_DIR_ROOT "%s/%s%s%s", state, directory,
                                name, *file != '\0' ? "/" : "", file);
    return length > 0 && length < kPath;
}

static bool is_device(char const* bdf)
{
    char path[kPath];
    struct stat status;
    return *bdf != '\0' && strchr(bdf, '/') == NULL && bdf[0] != '.' &&
           tree_path(path, kDevices, bdf, "") && lstat(path, &status) == 0;
}

static bool is_bound(char const* bdf)
{
    char path[kPath];
    struct stat status;
    return tree_path(path, kDriver, bdf, "") && lstat(path, &status) == 0 &&
           S_ISLNK(status.st_mode);
}

static size_t read_file(char const* path, char* text, size_t room)
{
    int const fd = openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    ssize_t const size = fd < 0 ? 0 : read(fd, text, room - 1);
    if (fd >= 0) (void)pinfold_plain_close(fd);
    text[size > 0 ? size : 0] = '\0';
    return size > 0 ? (size_t)size : 0;
}

static long write_file(char const* path, char const* text)
{
    int const fd = openat(AT_FDCWD, path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    if (fd < 0) return -errno;
    bool const good = pinfold_plain_write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    (void)pinfold_plain_close(fd);
    return good ? 0 : -EIO;
}

static long unbind(char const* bdf)
{
    char path[kPath];
    if (!is_device(bdf) || !is_bound(bdf)) return -ENODEV;
    if (!tree_path(path, kDevices, bdf, "driver")) return -ENAMETOOLONG;
    if (unlink(path) != 0 && errno != ENOENT) return -errno;
    if (!tree_path(path, kDriver, bdf, "")) return -ENAMETOOLONG;
    return unlink(path) == 0 ? 0 : -errno;
}

static long bind_now(char const* bdf)
{
    char path[kPath];
    char target[kPath];
    if (!tree_path(path, kDevices, bdf, "")) return -ENAMETOOLONG;
    ssize_t const length =
        readlink(path, target, sizeof target - 1); /* ../../../devices/pci.../BDF */
    if (length < 0) return -errno;
    target[length] = '\0';
    char link[kPath + 4];
    (void)snprintf(link, sizeof link, "../%s", target); /* the driver's directory is one deeper */
    if (!tree_path(path, kDriver, bdf, "")) return -ENAMETOOLONG;
    if (symlink(link, path) != 0) return errno == EEXIST ? -EBUSY : -errno;
    if (!tree_path(path, kDevices, bdf, "driver")) return -ENAMETOOLONG;
    return symlink("../../../bus/pci/drivers/vfio-pci", path) == 0 || errno == EEXIST ? 0 : -errno;
}

/* ---- which device the driver takes ---- */

/* The ids that new_id has added: lines "VVVV DDDD". */
static bool ids_path(char* path)
{
    int const length = snprintf(path, kPath, "%s/" PINFOLD_FILE_IDS, state);
    return length > 0 && length < kPath;
}

static unsigned number_in(char const* bdf, char const* file)
{
    char path[kPath];
    char text[32];
    if (!tree_path(path, kDevices, bdf, file) || read_file(path, text, sizeof text) == 0)
        return ~0U;
    return (unsigned)strtoul(text, NULL, 16);
}

static bool known_id(unsigned vendor, unsigned device)
{
    char path[kPath];
    char text[kMostText];
    char line[32];
    (void)snprintf(line, sizeof line, "%04x %04x\n", vendor, device);
    return ids_path(path) && read_file(path, text, sizeof text) != 0 && strstr(text, line) != NULL;
}

/* driver_override beats the ids; "(null)" is none. */
static bool takes(char const* bdf)
{
    char path[kPath];
    char text[kMostText];
    if (!tree_path(path, kDevices, bdf, "driver_override")) return false;
    if (read_file(path, text, sizeof text) != 0 && strcmp(text, "(null)\n") != 0 &&
        strcmp(text, "\n") != 0)
        return strcmp(text, "vfio-pci\n") == 0;
    return known_id(number_in(bdf, "vendor"), number_in(bdf, "device"));
}

static long bind_device(char const* bdf)
{
    if (!is_device(bdf) || !takes(bdf)) return -ENODEV;
    return is_bound(bdf) ? -EBUSY : bind_now(bdf);
}

/* A device that no driver takes is no error. */
static long probe(char const* bdf)
{
    if (!is_device(bdf)) return -ENODEV;
    return is_bound(bdf) || !takes(bdf) ? 0 : bind_now(bdf);
}

static void bind_all(void)
{
    char path[kPath];
    if (!tree_path(path, kDevices, "", "")) return;
    DIR* const devices = opendir(path);
    for (struct dirent* entry; devices != NULL && (entry = readdir(devices)) != NULL;)
        if (entry->d_name[0] != '.' && !is_bound(entry->d_name) && takes(entry->d_name))
            (void)bind_now(entry->d_name);
    if (devices != NULL) (void)closedir(devices);
}

static long new_id(char const* text)
{
    unsigned vendor = 0;
    unsigned device = 0;
    char path[kPath];
    char line[32];
    if (sscanf(text, "%x %x", &vendor, &device) != 2) return -EINVAL;
    if (known_id(vendor, device)) return -EEXIST;
    if (!ids_path(path)) return -ENAMETOOLONG;
    int const fd = openat(AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return -errno;
    int const length = snprintf(line, sizeof line, "%04x %04x\n", vendor, device);
    bool const good = pinfold_plain_write(fd, line, (size_t)length) == length;
    (void)pinfold_plain_close(fd);
    if (!good) return -EIO;
    bind_all();
    return 0;
}

static long remove_id(char const* text)
{
    unsigned vendor = 0;
    unsigned device = 0;
    char path[kPath];
    char all[kMostText];
    char line[32];
    if (sscanf(text, "%x %x", &vendor, &device) != 2) return -EINVAL;
    if (!known_id(vendor, device) || !ids_path(path)) return -ENODEV;
    (void)snprintf(line, sizeof line, "%04x %04x\n", vendor, device);
    (void)read_file(path, all, sizeof all);
    char* const at = strstr(all, line);
    memmove(at, at + strlen(line), strlen(at + strlen(line)) + 1);
    return write_file(path, all);
}

static long override(char const* bdf, char const* text)
{
    char path[kPath];
    char line[kMostText];
    size_t const length = strcspn(text, "\n");
    if (length >= sizeof line - 2) return -EINVAL;
    if (!tree_path(path, kDevices, bdf, "driver_override")) return -ENAMETOOLONG;
    if (length == 0) return write_file(path, "(null)\n");
    memcpy(line, text, length);
    memcpy(line + length, "\n", 2);
    return write_file(path, line);
}

/* ---- the files ---- */

static long act(struct control const* file, char const* text)
{
    char bdf[32] = "";
    (void)sscanf(text, "%31s", bdf);
    switch (file->kind) {
        case kBind: return bind_device(bdf);
        case kUnbind: return unbind(bdf);
        case kNewId: return new_id(text);
        case kRemoveId: return remove_id(text);
        case kProbe: return probe(bdf);
        case kOverride: return override(file->bdf, text);
    }
    return -EINVAL;
}

static bool ends_with(char const* path, size_t length, char const* name)
{
    size_t const size = strlen(name);
    return length > size && strcmp(path + length - size, name) == 0;
}

/* The last part of a path without its file: a device's name. */
static void copy_bdf(char* bdf, size_t room, char const* path, size_t length)
{
    size_t start = length;
    while (start > 0 && path[start - 1] != '/') --start;
    size_t const size = length - start < room - 1 ? length - start : room - 1;
    memcpy(bdf, path + start, size);
    bdf[size] = '\0';
}

void pinfold_sysfs_opened(char const* path, int flags, int fd)
{
    struct stat status;
    if (fd < 0 || state == NULL || (flags & O_ACCMODE) == O_RDONLY) return;
    char const* const in_tree = strstr(path, "/sys/");
    size_t const length = strlen(path);
    if (in_tree == NULL || strstr(in_tree, "pci") == NULL) return;
    for (size_t i = 0; i < sizeof kFiles / sizeof *kFiles; ++i) {
        if (!ends_with(path, length, kFiles[i].name) || fstat(fd, &status) != 0) continue;
        struct control file = {status.st_dev, status.st_ino, kFiles[i].kind, ""};
        char ours[kPath];
        struct stat known;
        size_t const directory = length - strlen(kFiles[i].name);
        if (file.kind == kOverride) {
            copy_bdf(file.bdf, sizeof file.bdf, path, directory);
            if (!tree_path(ours, kDevices, file.bdf, "driver_override")) return;
        } else if (!tree_path(ours, file.kind == kProbe ? kBus : kDriver, kFiles[i].name + 1, "")) {
            return;
        }
        /* Of the run's tree, and not the computer's own. */
        if (stat(ours, &known) != 0 || known.st_ino != status.st_ino ||
            known.st_dev != status.st_dev)
            return;
        for (int j = 0; j < count; ++j)
            if (files[j].inode == file.inode && files[j].device == file.device) return;
        int const place = count < kMostFiles ? count : kMostFiles - 1;
        files[place] = file;
        count = place + 1;
        return;
    }
}

static struct control const* control_of(int fd)
{
    struct stat status;
    if (count == 0 || fstat(fd, &status) != 0) return NULL;
    for (int i = 0; i < count; ++i)
        if (files[i].inode == status.st_ino && files[i].device == status.st_dev) return &files[i];
    return NULL;
}

bool pinfold_sysfs_any(void) { return count != 0; }

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
    (void)read_file(path, text, sizeof text);
    if (opens) (void)fchmod(fd, status.st_mode & 07777);
    bool const said = text[0] != '\0' && strcmp(text, "(null)\n") != 0;
    if (said && file->kind != kOverride) (void)!ftruncate(fd, 0);
    if (said) (void)act(file, text);
    errno = saved;
}
