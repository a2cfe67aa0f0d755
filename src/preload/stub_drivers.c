/* The part of the stub that knows which device has which driver, and changes it: what bind, unbind,
 * new_id, remove_id, drivers_probe, driver_override and remove do. All of it stands in the links
 * and files of the run's own tree, which is where everybody looks it up.
 *
 * Results are 0 or a negative errno, in the kernel's order of checks. Several processes may do this
 * at once; the links decide who was first. */
#include "preload/stub_drivers.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "machine/drivers.h"
#include "machine/run_names.h"
#include "preload/stub_parts.h"

static char const kDrivers[] = "/sys/bus/pci/drivers";
static char const kDevices[] = "/sys/bus/pci/devices";
enum { kMostText = 4096, kPath = 1024, kBdf = 32 };

static char const* state;

void pinfold_drivers_begin(char const* state_directory) { state = state_directory; }

/* ---- the tree ---- */

/* "<state>/root", then the parts. False: too long. */
static bool tree_path(char* path, char const* directory, char const* name, char const* file)
{
    int const length = snprintf(path, kPath, "%s/" PINFOLD_DIR_ROOT "%s/%s%s%s", state, directory,
                                name, *file != '\0' ? "/" : "", file);
    return length > 0 && length < kPath;
}

static bool device_path(char* path, char const* bdf, char const* file)
{
    return tree_path(path, kDevices, bdf, file);
}

/* "<state>/<name><which>": a file beside the tree. */
static bool state_path(char* path, char const* name, char const* which)
{
    int const length = snprintf(path, kPath, "%s/%s%s", state, name, which);
    return length > 0 && length < kPath;
}

static bool is_link(char const* path)
{
    struct stat status;
    return lstat(path, &status) == 0 && S_ISLNK(status.st_mode);
}

static bool is_device(char const* bdf)
{
    char path[kPath];
    return *bdf != '\0' && strchr(bdf, '/') == NULL && bdf[0] != '.' &&
           device_path(path, bdf, "") && is_link(path);
}

static size_t read_file(char const* path, char* text, size_t room)
{
    int const fd = openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    ssize_t const size = fd < 0 ? 0 : pinfold_plain_read(fd, text, room - 1);
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

/* The last part of where a link leads. False: there is none. */
static bool end_of_link(char const* path, char* name, size_t room)
{
    char target[kPath];
    ssize_t const length = readlink(path, target, sizeof target - 1);
    if (length < 0) return false;
    target[length] = '\0';
    char const* const slash = strrchr(target, '/');
    return (size_t)snprintf(name, room, "%s", slash != NULL ? slash + 1 : target) < room;
}

static struct pinfold_driver const* driver_named(char const* name)
{
    for (int i = 0; i < kPinfoldDriverCount; ++i)
        if (strcmp(kPinfoldDrivers[i].name, name) == 0) return &kPinfoldDrivers[i];
    return NULL;
}

/* NULL: none. */
static struct pinfold_driver const* driver_of(char const* bdf)
{
    char path[kPath];
    char name[kBdf];
    if (!device_path(path, bdf, "driver") || !end_of_link(path, name, sizeof name)) return NULL;
    return driver_named(name);
}

/* The line of uevent that names the driver. */
static void tell_driver(char const* bdf, char const* name)
{
    char path[kPath];
    char text[kMostText];
    char with[kMostText];
    if (!device_path(path, bdf, "uevent") || read_file(path, text, sizeof text) == 0) return;
    char const* rest = text;
    if (strncmp(text, "DRIVER=", 7) == 0) rest = text + strcspn(text, "\n") + 1;
    int const length = name == NULL ? snprintf(with, sizeof with, "%s", rest)
                                    : snprintf(with, sizeof with, "DRIVER=%s\n%s", name, rest);
    if (length > 0 && (size_t)length < sizeof with) (void)write_file(path, with);
}

/* ---- a driver gets a device, and lets it go ---- */

static long let_go(struct pinfold_driver const* driver, char const* bdf)
{
    char path[kPath];
    if (!device_path(path, bdf, "driver")) return -ENAMETOOLONG;
    if (unlink(path) != 0 && errno != ENOENT) return -errno;
    tell_driver(bdf, NULL);
    if (!tree_path(path, kDrivers, driver->name, bdf)) return -ENAMETOOLONG;
    return unlink(path) == 0 ? 0 : -errno;
}

/* Both or none. */
static long make_links(struct pinfold_driver const* driver, char const* bdf)
{
    char path[kPath];
    char back[kPath];
    char target[kPath];
    if (!device_path(path, bdf, "")) return -ENAMETOOLONG;
    ssize_t const length = readlink(path, target, sizeof target - 1); /* ../../../devices/... */
    if (length < 0) return -errno;
    target[length] = '\0';
    char link[kPath + 4];
    (void)snprintf(link, sizeof link, "../%s", target); /* the driver's directory is one deeper */
    if (!device_path(path, bdf, "driver") || !tree_path(back, kDrivers, driver->name, bdf))
        return -ENAMETOOLONG;
    char to_driver[128];
    (void)snprintf(to_driver, sizeof to_driver, "../../../../bus/pci/drivers/%s", driver->name);
    if (symlink(to_driver, path) != 0) return errno == EEXIST ? -EBUSY : -errno;
    if (symlink(link, back) != 0 && errno != EEXIST) {
        long const failed = -errno;
        (void)unlink(path);
        return failed;
    }
    tell_driver(bdf, driver->name);
    return 0;
}

/* A driver that uses DMA as the kernel sets it up cannot have a device whose group is in a
 * container (iommu_device_use_default_domain). The lock is that of the container, which looks for
 * such drivers once it has it; drivers share it with one another. */
static long attach(struct pinfold_driver const* driver, char const* bdf)
{
    char path[kPath];
    char group[kBdf];
    if (driver->leaves_dma) return make_links(driver, bdf);
    if (!device_path(path, bdf, "iommu_group") || !end_of_link(path, group, sizeof group) ||
        !state_path(path, PINFOLD_FILE_DMA, group))
        return -ENODEV;
    int const fd = openat(AT_FDCWD, path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return -errno;
    struct flock whole = {.l_type = F_RDLCK};
    long const result = fcntl(fd, F_OFD_SETLK, &whole) == 0 ? make_links(driver, bdf) : -EBUSY;
    (void)pinfold_plain_close(fd);
    return result;
}

static unsigned number_in(char const* bdf, char const* file)
{
    char path[kPath];
    char text[32];
    if (!device_path(path, bdf, file) || read_file(path, text, sizeof text) == 0) return ~0U;
    return (unsigned)strtoul(text, NULL, 16);
}

/* ---- the ids that new_id adds: lines "DRIVER VVVV DDDD", less than kMostText in all ---- */

enum { kLine = 64 };

static size_t id_line(char* line, struct pinfold_driver const* driver, unsigned vendor,
                      unsigned device)
{
    return (size_t)snprintf(line, kLine, "%s %04x %04x\n", driver->name, vendor, device);
}

static bool added_id(struct pinfold_driver const* driver, unsigned vendor, unsigned device)
{
    char path[kPath];
    char text[kMostText];
    char line[kLine];
    (void)id_line(line, driver, vendor, device);
    return state_path(path, PINFOLD_FILE_IDS, "") && read_file(path, text, sizeof text) != 0 &&
           strstr(text, line) != NULL;
}

/* To change them, alone among the run's processes; a negative errno. */
static int open_ids(void)
{
    char path[kPath];
    if (!state_path(path, PINFOLD_FILE_IDS, "")) return -ENAMETOOLONG;
    int const fd = openat(AT_FDCWD, path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return -errno;
    if (flock(fd, LOCK_EX) == 0) return fd;
    int const failed = -errno;
    (void)pinfold_plain_close(fd);
    return failed;
}

/* A child that was forked meanwhile has the descriptor as well, and must not keep the lock. */
static void close_ids(int fd)
{
    (void)flock(fd, LOCK_UN);
    (void)pinfold_plain_close(fd);
}

static long add_line(int ids, struct pinfold_driver const* driver, unsigned vendor, unsigned device)
{
    char line[kLine];
    struct stat status;
    size_t const length = id_line(line, driver, vendor, device);
    if (fstat(ids, &status) != 0) return -errno;
    if ((size_t)status.st_size + length >= kMostText) return -ENOSPC;
    if (pinfold_plain_write(ids, line, length) == (ssize_t)length) return 0;
    (void)!ftruncate(ids, status.st_size);
    return -EIO;
}

static long drop_line(int ids, struct pinfold_driver const* driver, unsigned vendor,
                      unsigned device)
{
    char all[kMostText];
    char line[kLine];
    size_t const length = id_line(line, driver, vendor, device);
    ssize_t const size = pinfold_plain_read(ids, all, sizeof all - 1);
    all[size > 0 ? size : 0] = '\0';
    char* const at = strstr(all, line);
    if (at == NULL) return -ENODEV;
    memmove(at, at + length, strlen(at + length) + 1);
    if (ftruncate(ids, 0) != 0) return -errno;
    size_t const rest = strlen(all);
    return pinfold_plain_write(ids, all, rest) == (ssize_t)rest ? 0 : -EIO;
}

/* ---- which of the drivers takes it ---- */

/* driver_override beats the ids; "(null)" is none. */
static bool takes(struct pinfold_driver const* driver, char const* bdf)
{
    char path[kPath];
    char text[kMostText];
    if (!device_path(path, bdf, "driver_override")) return false;
    if (read_file(path, text, sizeof text) != 0 && strcmp(text, "(null)\n") != 0) {
        size_t const length = strlen(driver->name);
        return strncmp(text, driver->name, length) == 0 && strcmp(text + length, "\n") == 0;
    }
    unsigned const vendor = number_in(bdf, "vendor"), device = number_in(bdf, "device");
    return added_id(driver, vendor, device) ||
           pinfold_driver_knows(driver, vendor, device, number_in(bdf, "class"));
}

/* 0 also where no driver takes it. */
static long find_driver(char const* bdf)
{
    if (driver_of(bdf) != NULL) return 0;
    for (int i = 0; i < kPinfoldDriverCount; ++i)
        if (takes(&kPinfoldDrivers[i], bdf)) return attach(&kPinfoldDrivers[i], bdf);
    return 0;
}

static void offer_all_to(struct pinfold_driver const* driver)
{
    char path[kPath];
    if (!tree_path(path, kDevices, "", "")) return;
    DIR* const devices = opendir(path);
    for (struct dirent* entry; devices != NULL && (entry = readdir(devices)) != NULL;)
        if (entry->d_name[0] != '.' && driver_of(entry->d_name) == NULL &&
            takes(driver, entry->d_name))
            (void)attach(driver, entry->d_name);
    if (devices != NULL) (void)closedir(devices);
}

/* ---- what is written ---- */

long pinfold_bind(char const* name, char const* bdf)
{
    struct pinfold_driver const* const driver = driver_named(name);
    if (driver == NULL || !is_device(bdf) || !takes(driver, bdf)) return -ENODEV;
    return driver_of(bdf) != NULL ? -EBUSY : attach(driver, bdf);
}

long pinfold_unbind(char const* name, char const* bdf)
{
    struct pinfold_driver const* const driver = driver_named(name);
    if (driver == NULL || !is_device(bdf) || driver_of(bdf) != driver) return -ENODEV;
    return let_go(driver, bdf);
}

/* Why a driver could not have it is not told. */
long pinfold_probe(char const* bdf)
{
    if (!is_device(bdf)) return -ENODEV;
    return find_driver(bdf) == 0 ? 0 : -EINVAL;
}

long pinfold_new_id(char const* name, char const* text)
{
    struct pinfold_driver const* const driver = driver_named(name);
    unsigned vendor = 0;
    unsigned device = 0;
    if (driver == NULL || sscanf(text, "%x %x", &vendor, &device) != 2) return -EINVAL;
    if (pinfold_driver_knows(driver, vendor, device, 0)) return -EEXIST;
    int const fd = open_ids();
    if (fd < 0) return fd;
    long const result =
        added_id(driver, vendor, device) ? -EEXIST : add_line(fd, driver, vendor, device);
    close_ids(fd);
    if (result == 0) offer_all_to(driver);
    return result;
}

long pinfold_remove_id(char const* name, char const* text)
{
    struct pinfold_driver const* const driver = driver_named(name);
    unsigned vendor = 0;
    unsigned device = 0;
    if (driver == NULL || sscanf(text, "%x %x", &vendor, &device) != 2) return -EINVAL;
    if (!added_id(driver, vendor, device)) return -ENODEV;
    int const fd = open_ids();
    if (fd < 0) return fd;
    long const result = drop_line(fd, driver, vendor, device);
    close_ids(fd);
    return result;
}

long pinfold_override(char const* bdf, char const* text)
{
    char path[kPath];
    char line[kMostText];
    size_t const length = strcspn(text, "\n");
    if (length >= sizeof line - 2) return -EINVAL;
    if (!is_device(bdf)) return -ENODEV;
    if (!device_path(path, bdf, "driver_override")) return -ENAMETOOLONG;
    if (length == 0) return write_file(path, "(null)\n");
    memcpy(line, text, length);
    memcpy(line + length, "\n", 2);
    return write_file(path, line);
}

/* As kstrtoul() takes it with base 0: a sign, a base, digits, and one newline at most. */
static bool parse_number(char const* text, unsigned long* value)
{
    char* end = NULL;
    if (*text == '+') ++text;
    if (!isdigit((unsigned char)*text)) return false;
    errno = 0;
    *value = strtoul(text, &end, 0);
    if (errno != 0) return false;
    return *end == '\0' || (*end == '\n' && end[1] == '\0');
}

/* The device leaves its driver, its group and the bus; its directory goes where nobody looks. */
static long take_out(char const* bdf)
{
    char path[kPath];
    char gone[kPath];
    char group[kBdf];
    struct pinfold_driver const* const driver = driver_of(bdf);
    if (driver != NULL) (void)let_go(driver, bdf);
    if (device_path(path, bdf, "iommu_group") && end_of_link(path, group, sizeof group)) {
        char member[kBdf * 2 + 16];
        (void)snprintf(member, sizeof member, "%s/devices", group);
        if (tree_path(path, "/sys/kernel/iommu_groups", member, bdf)) (void)unlink(path);
    }
    char directory[kPath];
    char target[kPath / 2];
    if (!device_path(path, bdf, "")) return -ENAMETOOLONG;
    ssize_t const length = readlink(path, target, sizeof target - 1);
    if (length < 0) return -ENODEV;
    target[length] = '\0';
    if (!device_path(directory, target, "")) return -ENAMETOOLONG;
    if (unlink(path) != 0) return -errno;
    if (!tree_path(gone, "", "removed", "")) return -ENAMETOOLONG;
    (void)mkdir(gone, 0700);
    if (!tree_path(gone, "", "removed", bdf)) return -ENAMETOOLONG;
    return rename(directory, gone) == 0 ? 0 : -errno;
}

long pinfold_remove(char const* bdf, char const* text)
{
    char path[kPath];
    unsigned long value = 0;
    if (!parse_number(text, &value)) return -EINVAL;
    if (!is_device(bdf)) return -ENODEV;
    if (value == 0) return 0;
    if (!state_path(path, PINFOLD_DIR_REMOVALS "/", bdf)) return -ENAMETOOLONG;
    long const told = write_file(path, "1");
    return told < 0 ? told : take_out(bdf);
}
