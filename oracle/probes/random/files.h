/* Operations on containers, groups and devices as files. */
#ifndef PINFOLD_ORACLE_RANDOM_FILES_H
#define PINFOLD_ORACLE_RANDOM_FILES_H
#include "random/operation.h"
#include "random/outcome.h"

static inline int closed(int* fd)
{
    int const result = close(*fd);
    *fd = -1;
    return result;
}

static char const* const kBdf[kGroups] = {"0000:00:04.0", "0000:00:05.0"};

static inline void op_open_container(struct words const* words)
{
    uint64_t const index = plain(words, 0) % kContainers;
    if (containers[index] >= 0) {
        say("open");
        return;
    }
    containers[index] = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
    say_fd(containers[index]);
}

static inline void op_close_container(struct words const* words)
{
    say_result(closed(&containers[plain(words, 0) % kContainers]));
}

static inline void op_open_group(struct words const* words)
{
    uint64_t const index = plain(words, 0) % kGroups;
    int const fd = try_group(kBdf[index]);
    say_fd(fd);
    if (fd < 0) return;
    if (groups[index] >= 0) close(groups[index]);
    groups[index] = fd;
}

static inline void op_close_group(struct words const* words)
{
    say_result(closed(&groups[plain(words, 0) % kGroups]));
}

/* Containers 0 and 1; 2 is the group itself, 3 is no descriptor, 4 is no pointer. */
static inline void op_set_container(struct words const* words)
{
    int const group = at(groups, kGroups, plain(words, 0));
    uint64_t const which = plain(words, 1);
    int const fd = which < kContainers ? containers[which] : which == 2 ? group : -1;
    say_result(which == 4 ? ioctl(group, VFIO_GROUP_SET_CONTAINER, 8) : set_container(group, fd));
}

static inline void op_unset_container(struct words const* words)
{
    say_result(ioctl(at(groups, kGroups, plain(words, 0)), VFIO_GROUP_UNSET_CONTAINER));
}

static inline void read_ranges(int container)
{
    char room[1024];
    struct vfio_iommu_type1_info* const info = (struct vfio_iommu_type1_info*)room;
    info->argsz = 16;
    if (ioctl(container, VFIO_IOMMU_GET_INFO, info) == 0)
        range_count = iova_ranges(container, ranges, 16);
}

static inline void op_set_iommu(struct words const* words)
{
    int const container = at(containers, kContainers, plain(words, 0));
    long const result = ioctl(container, VFIO_SET_IOMMU, plain(words, 1));
    say_result(result);
    if (result == 0) read_ranges(container);
}

/* With memory and bus master switched on. */
static inline void op_open_device(struct words const* words)
{
    uint64_t const index = plain(words, 0) % kGroups;
    int const fd = ioctl(at(groups, kGroups, index), VFIO_GROUP_GET_DEVICE_FD, kBdf[index]);
    say_fd(fd);
    if (fd < 0) return;
    if (devices[index] >= 0) close(devices[index]);
    devices[index] = fd;
    uint16_t command = 0;
    (void)!pread(fd, &command, 2, ((off_t)7 << 40) + 4);
    command |= 6;
    (void)!pwrite(fd, &command, 2, ((off_t)7 << 40) + 4);
}

static inline void op_close_device(struct words const* words)
{
    say_result(closed(&devices[plain(words, 0) % kGroups]));
}

static inline void op_get_status(struct words const* words)
{
    struct vfio_group_status status = {.argsz = (uint32_t)plain(words, 1)};
    say_result(ioctl(at(groups, kGroups, plain(words, 0)), VFIO_GROUP_GET_STATUS, &status));
    say(" flags %x", status.flags);
}

static inline void op_check_extension(struct words const* words)
{
    say_result(
        ioctl(at(containers, kContainers, plain(words, 0)), VFIO_CHECK_EXTENSION, plain(words, 1)));
}

static inline void op_unknown(struct words const* words)
{
    say_result(ioctl(at(containers, kContainers, plain(words, 0)), plain(words, 1), 0));
}

#endif
