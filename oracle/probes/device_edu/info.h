/* What there is: GET_INFO, GET_REGION_INFO, GET_IRQ_INFO. */
#ifndef PINFOLD_ORACLE_DEVICE_EDU_INFO_H
#define PINFOLD_ORACLE_DEVICE_EDU_INFO_H
#include "device_edu/room.h"

static void info(void)
{
    heading("GET_INFO");
    for (uint32_t argsz = 0; argsz <= 32; ++argsz) {
        struct room room = room_of(argsz);
        check("V-2", ioctl(device, VFIO_DEVICE_GET_INFO, &room), "DEVICE_GET_INFO(argsz %u)",
              argsz);
        printf("     ");
        print_bytes(&room, 32);
    }
    check("V-2", ioctl(device, VFIO_DEVICE_GET_INFO, NULL), "DEVICE_GET_INFO(NULL)");
    check("V-2", ioctl(device, VFIO_DEVICE_GET_INFO, before_the_edge(12)),
          "DEVICE_GET_INFO(12 bytes)");
}

static void regions(void)
{
    heading("GET_REGION_INFO");
    for (uint32_t index = 0; index < 12; ++index) {
        struct room room = room_of(32);
        room.word[2] = index;
        check("V-3 V-4 V-6 V-7", ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &room),
              "GET_REGION_INFO(index %u)", index);
        printf("     ");
        print_bytes(&room, 40);
    }
    static uint32_t const sizes[] = {0, 16, 31, 33, 40, 4096};
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; ++i) {
        struct room room = room_of(sizes[i]);
        room.word[2] = 0;
        check("V-3", ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &room), "GET_REGION_INFO(argsz %u)",
              sizes[i]);
        printf("     ");
        print_bytes(&room, 40);
    }
    check("V-3", ioctl(device, VFIO_DEVICE_GET_REGION_INFO, before_the_edge(31)),
          "GET_REGION_INFO(31 bytes)");
}

static void interrupts(void)
{
    heading("GET_IRQ_INFO");
    for (uint32_t index = 0; index < 8; ++index) {
        struct room room = room_of(16);
        room.word[2] = index;
        check("V-8", ioctl(device, VFIO_DEVICE_GET_IRQ_INFO, &room), "GET_IRQ_INFO(index %u)",
              index);
        printf("     ");
        print_bytes(&room, 24);
    }
    static uint32_t const sizes[] = {0, 15, 17, 4096};
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; ++i) {
        struct room room = room_of(sizes[i]);
        room.word[2] = 0;
        check("V-8", ioctl(device, VFIO_DEVICE_GET_IRQ_INFO, &room), "GET_IRQ_INFO(argsz %u)",
              sizes[i]);
    }
    check("V-8", ioctl(device, VFIO_DEVICE_GET_IRQ_INFO, before_the_edge(15)),
          "GET_IRQ_INFO(15 bytes)");
}

#endif
