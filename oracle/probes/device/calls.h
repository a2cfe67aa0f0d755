/* The calls that are not about regions and interrupts: features, ioeventfds, resets, numbers that
 * are no calls. */
#ifndef PINFOLD_ORACLE_DEVICE_CALLS_H
#define PINFOLD_ORACLE_DEVICE_CALLS_H
#include <sys/eventfd.h>
#include "device/access.h"

static inline void unknown_ioctls(int device)
{
    heading("unknown ioctls");
    for (unsigned long request = 0x3b60; request < 0x3b90; ++request) {
        if (request >= 0x3b6b && request <= 0x3b71) continue;
        if (request == 0x3b74 || request == 0x3b75) continue;
        check("V-1", ioctl(device, request, 0), "0x%lx(device, NULL)", request);
    }
}

static inline void features(int device)
{
    heading("DEVICE_FEATURE");
    uint32_t const argszs[] = {0, 7, 8, 12, 24, 0xffffffff};
    for (size_t i = 0; i < sizeof argszs / sizeof argszs[0]; ++i)
        for (uint32_t flags = 0; flags < 16; ++flags)
            for (uint32_t feature = 0; feature <= 0xffff; feature += 0xffff) {
                uint32_t room[16] = {argszs[i], flags << 16 | feature};
                check("V-22", ioctl(device, VFIO_DEVICE_FEATURE, room),
                      "FEATURE(argsz %x, flags %x, feature %x)", argszs[i], flags, feature);
            }
    for (uint32_t feature = 0; feature < 20; ++feature)
        for (uint32_t probed = 1; probed <= 2; ++probed) {
            uint32_t room[2] = {sizeof room, (4 | probed) << 16 | feature};
            check("V-22 V-23", ioctl(device, VFIO_DEVICE_FEATURE, room),
                  "FEATURE(probe %x of feature %x)", probed, feature);
        }
    check("V-22", ioctl(device, VFIO_DEVICE_FEATURE, NULL), "FEATURE(NULL)");
    check("V-22", ioctl(device, VFIO_DEVICE_FEATURE, before_the_edge(7)),
          "FEATURE(7 bytes before the edge)");
}

static inline void ioeventfds(int device)
{
    heading("IOEVENTFD");
    int const event = eventfd(0, EFD_CLOEXEC);
    struct vfio_device_ioeventfd call = {
        .argsz = sizeof call, .flags = 0, .offset = 0, .data = 0, .fd = -1};
    check("V-13", ioctl(device, VFIO_DEVICE_IOEVENTFD, NULL), "IOEVENTFD(NULL)");
    uint32_t const argszs[] = {0, 27, 28};
    for (int i = 0; i < 3; ++i)
        for (uint32_t flags = 0; flags < 17; ++flags) {
            call.argsz = argszs[i];
            call.flags = flags;
            check("V-13", ioctl(device, VFIO_DEVICE_IOEVENTFD, &call),
                  "IOEVENTFD(argsz %x, flags %x, fd -1)", argszs[i], flags);
        }
    call.argsz = sizeof call;
    call.flags = 4;
    int const fds[] = {-2, 4711};
    for (int i = 0; i < 2; ++i) {
        call.fd = fds[i];
        check("V-13", ioctl(device, VFIO_DEVICE_IOEVENTFD, &call), "IOEVENTFD(fd %d)", fds[i]);
    }
    call.fd = event;
    call.offset = (uint64_t)region_at(kConfig, 0);
    check("V-13", ioctl(device, VFIO_DEVICE_IOEVENTFD, &call), "IOEVENTFD(region 7)");
    call.offset = (uint64_t)region_at(0, 0xfffffff0);
    check("V-13", ioctl(device, VFIO_DEVICE_IOEVENTFD, &call), "IOEVENTFD(behind the BAR)");
    close(event);
}

static inline void resets(int device)
{
    heading("resets");
    struct vfio_device_info info = {.argsz = 16};
    need(ioctl(device, VFIO_DEVICE_GET_INFO, &info) == 0, "GET_INFO");
    note("V-2 V-14", "can be reset: %d", (info.flags & VFIO_DEVICE_FLAGS_RESET) != 0);
    check("V-14", ioctl(device, VFIO_DEVICE_RESET), "RESET()");
    note("V-14", "COMMAND %x", config_read(device, 4, 2));
    check("V-15", ioctl(device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, NULL), "HOT_RESET_INFO(NULL)");
    uint32_t const argszs[] = {0, 11, 12, 13, 20, 28, 4096};
    for (int i = 0; i < 7; ++i) {
        uint32_t room[32] = {argszs[i], 0x5a, 0x5a};
        check("V-15", ioctl(device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, room),
              "HOT_RESET_INFO(argsz %x)", argszs[i]);
    }
    check("V-16", ioctl(device, VFIO_DEVICE_PCI_HOT_RESET, NULL), "HOT_RESET(NULL)");
    for (uint32_t argsz = 10; argsz <= 16; argsz += 2)
        for (uint32_t flags = 0; flags < 2; ++flags)
            for (uint32_t count = 0; count < 2; ++count) {
                uint32_t room[8] = {argsz, flags, count, 0xffffffff};
                check("V-16", ioctl(device, VFIO_DEVICE_PCI_HOT_RESET, room),
                      "HOT_RESET(argsz %x, flags %x, count %x)", argsz, flags, count);
            }
}

#endif
