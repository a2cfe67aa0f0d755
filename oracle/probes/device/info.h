/* GET_INFO, GET_REGION_INFO, GET_IRQ_INFO, with every length. */
#ifndef PINFOLD_ORACLE_DEVICE_INFO_H
#define PINFOLD_ORACLE_DEVICE_INFO_H
#include "device/access.h"

static inline void ask(char const* rules, int device, unsigned long request, char const* name,
                       uint32_t argsz, uint32_t index, bool indexed)
{
    unsigned char room[96];
    memset(room, 0xa5, sizeof room);
    memcpy(room, &argsz, sizeof argsz);
    if (indexed) memcpy(room + 8, &index, sizeof index);
    check(rules, ioctl(device, request, room), "%s(argsz %x, index %x)", name, argsz, index);
    printf("[%s] ", rules);
    print_bytes(room, 64);
}

static inline void device_info(int device)
{
    heading("GET_INFO");
    for (uint32_t argsz = 0; argsz <= 32; ++argsz)
        ask("V-2", device, VFIO_DEVICE_GET_INFO, "DEVICE_GET_INFO", argsz, 0, false);
    ask("V-2", device, VFIO_DEVICE_GET_INFO, "DEVICE_GET_INFO", 0xffffffff, 0, false);
    check("V-2", ioctl(device, VFIO_DEVICE_GET_INFO, NULL), "DEVICE_GET_INFO(NULL)");
    check("V-2", ioctl(device, VFIO_DEVICE_GET_INFO, before_the_edge(15)),
          "DEVICE_GET_INFO(15 bytes before the edge)");
}

static inline void region_info(int device)
{
    heading("GET_REGION_INFO");
    uint32_t const sizes[] = {0, 8, 31, 32, 33, 36, 39, 40, 48, 64, 0xffffffff};
    for (uint32_t index = 0; index < kRegions + 2; ++index)
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; ++i)
            ask("V-3 V-4 V-5 V-6 V-7", device, VFIO_DEVICE_GET_REGION_INFO, "REGION_INFO", sizes[i],
                index, true);
    ask("V-3", device, VFIO_DEVICE_GET_REGION_INFO, "REGION_INFO", 32, 0x80000000, true);
    ask("V-3", device, VFIO_DEVICE_GET_REGION_INFO, "REGION_INFO", 32, 0xffffffff, true);
    check("V-3", ioctl(device, VFIO_DEVICE_GET_REGION_INFO, NULL), "REGION_INFO(NULL)");
    check("V-3", ioctl(device, VFIO_DEVICE_GET_REGION_INFO, before_the_edge(31)),
          "REGION_INFO(31 bytes before the edge)");
    struct vfio_region_info const info = {.argsz = sizeof info};
    check("V-3", ioctl(device, VFIO_DEVICE_GET_REGION_INFO, read_only_copy(&info, sizeof info)),
          "REGION_INFO(read-only)");
}

static inline void irq_info(int device)
{
    heading("GET_IRQ_INFO");
    uint32_t const sizes[] = {0, 15, 16, 17, 0xffffffff};
    for (uint32_t index = 0; index < kIrqs + 2; ++index)
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; ++i)
            ask("V-8", device, VFIO_DEVICE_GET_IRQ_INFO, "IRQ_INFO", sizes[i], index, true);
    ask("V-8", device, VFIO_DEVICE_GET_IRQ_INFO, "IRQ_INFO", 16, 0xffffffff, true);
    check("V-8", ioctl(device, VFIO_DEVICE_GET_IRQ_INFO, NULL), "IRQ_INFO(NULL)");
    check("V-8", ioctl(device, VFIO_DEVICE_GET_IRQ_INFO, before_the_edge(15)),
          "IRQ_INFO(15 bytes before the edge)");
}

#endif
