/* Containers, groups and devices as files. */
#ifndef PINFOLD_ORACLE_PROBE_FILES_H
#define PINFOLD_ORACLE_PROBE_FILES_H
#include <fcntl.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "probe/results.h"

static char const* const kFirst = "0000:00:04.0"; /* two edu devices, each in a group of its own */
static char const* const kSecond = "0000:00:05.0";

static inline int open_container(void)
{
    int const fd = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
    need(fd >= 0, "/dev/vfio/vfio");
    return fd;
}

static inline void group_path(char const* bdf, char* path, size_t size)
{
    char link[128];
    char target[256];
    snprintf(link, sizeof link, "/sys/bus/pci/devices/%s/iommu_group", bdf);
    ssize_t const length = readlink(link, target, sizeof target - 1);
    need(length >= 0, link);
    target[length] = '\0';
    snprintf(path, size, "/dev/vfio/%s", strrchr(target, '/') + 1);
}

/* -1 where it cannot be opened. */
static inline int try_group(char const* bdf)
{
    char path[300];
    group_path(bdf, path, sizeof path);
    return open(path, O_RDWR | O_CLOEXEC);
}

static inline int open_group(char const* bdf)
{
    int const fd = try_group(bdf);
    need(fd >= 0, "group");
    return fd;
}

static inline int set_container(int group, int container)
{
    return ioctl(group, VFIO_GROUP_SET_CONTAINER, &container);
}

struct place {
    int container;
    int group;
};

/* A container with the first edu's group and a back end; type 0 leaves the back end out. */
static inline struct place settle(unsigned long type)
{
    struct place const place = {open_container(), open_group(kFirst)};
    need(set_container(place.group, place.container) == 0, "SET_CONTAINER");
    need(type == 0 || ioctl(place.container, VFIO_SET_IOMMU, type) == 0, "SET_IOMMU");
    return place;
}

static inline void leave(struct place place)
{
    need(close(place.group) == 0 && close(place.container) == 0, "close");
}

static inline int open_device(int group, char const* bdf)
{
    int const fd = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf);
    need(fd >= 0, "GET_DEVICE_FD");
    return fd;
}

#endif
