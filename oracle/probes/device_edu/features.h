/* Resets, features, low power and the numbers that are no calls. */
#ifndef PINFOLD_ORACLE_DEVICE_EDU_FEATURES_H
#define PINFOLD_ORACLE_DEVICE_EDU_FEATURES_H
#include "device_edu/bar.h"
#include "device_edu/set_irqs.h"

static void resets(void)
{
    heading("resets");
    check("V-14", ioctl(device, VFIO_DEVICE_RESET), "RESET()");
    for (uint32_t argsz = 10; argsz < 30; argsz += 2) {
        struct room room = room_of(argsz);
        room.word[1] = 0;
        check("V-15", ioctl(device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &room),
              "GET_PCI_HOT_RESET_INFO(argsz %u)", argsz);
    }
    check("V-15", ioctl(device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, before_the_edge(11)),
          "GET_PCI_HOT_RESET_INFO(11 bytes)");
    static struct {
        uint32_t argsz, flags, count;
    } const hot[] = {{11, 0, 0}, {12, 1, 0}, {12, 0, 0}, {12, 0, 1}, {16, 0, 1}, {16, 0, 1000}};
    for (unsigned i = 0; i < sizeof hot / sizeof hot[0]; ++i) {
        struct room room = room_of(hot[i].argsz);
        room.word[1] = hot[i].flags;
        room.word[2] = hot[i].count;
        room.word[3] = (uint32_t)here.group;
        check("V-16", ioctl(device, VFIO_DEVICE_PCI_HOT_RESET, &room),
              "PCI_HOT_RESET(argsz %u, flags %u, count %u)", hot[i].argsz, hot[i].flags,
              hot[i].count);
    }
}

static void features(void)
{
    heading("features");
    static uint32_t const ways[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    /* Left out: 11 and 12, with which the newest kernels hand out dma-bufs. */
    for (uint32_t feature = 0; feature < 11; ++feature)
        for (unsigned i = 0; i < sizeof ways / sizeof ways[0]; ++i) {
            /* Entering low power has a probe of its own below. */
            if (feature >= 3 && feature <= 5 && ways[i] == 2) continue;
            struct room room = room_of(sizeof room);
            room.word[1] = feature | ways[i] << 16;
            check("V-22", ioctl(device, VFIO_DEVICE_FEATURE, &room), "DEVICE_FEATURE(flags %x)",
                  room.word[1]);
        }
    struct room room = room_of(7);
    room.word[1] = 0x70003;
    check("V-22", ioctl(device, VFIO_DEVICE_FEATURE, &room), "DEVICE_FEATURE(argsz 7)");
    check("V-22", ioctl(device, VFIO_DEVICE_FEATURE, before_the_edge(7)),
          "DEVICE_FEATURE(7 bytes)");
    static uint32_t const power[] = {5, 3, 3, 5, 5};
    for (unsigned i = 0; i < sizeof power / sizeof power[0]; ++i) {
        room = room_of(8);
        room.word[1] = power[i] | 2 << 16;
        check("V-22", ioctl(device, VFIO_DEVICE_FEATURE, &room), "DEVICE_FEATURE(set %u)",
              power[i]);
    }
    room = room_of(8);
    room.word[1] = 4 | 2 << 16;
    check("V-22", ioctl(device, VFIO_DEVICE_FEATURE, &room), "DEVICE_FEATURE(set 4, argsz 8)");
    room = room_of(16);
    room.word[1] = 4 | 2 << 16;
    room.word[2] = 1000;
    room.word[3] = 0;
    check("V-22", ioctl(device, VFIO_DEVICE_FEATURE, &room), "DEVICE_FEATURE(set 4, not open)");
    room.word[3] = 1;
    check("V-22", ioctl(device, VFIO_DEVICE_FEATURE, &room), "DEVICE_FEATURE(set 4, reserved)");
    room.word[2] = (uint32_t)-1;
    check("V-22", ioctl(device, VFIO_DEVICE_FEATURE, &room), "DEVICE_FEATURE(set 4, -1)");
}

static long power(unsigned feature, int event)
{
    struct room room = room_of(16);
    room.word[1] = feature | 2 << 16;
    room.word[2] = (uint32_t)event;
    room.word[3] = 0;
    return check("V-22", ioctl(device, VFIO_DEVICE_FEATURE, &room), "DEVICE_FEATURE(set %u)",
                 feature);
}

static bool power_file_says(char const* name, char const* word)
{
    char path[128];
    char text[16] = "";
    snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/power/%s", kFirst, name);
    int const fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    (void)!read(fd, text, sizeof text - 1);
    close(fd);
    return strcmp(text, word) == 0;
}

/* A kernel suspends a device when it comes to it. Where none does, nothing is waited for. */
static void wait_until_suspended(void)
{
    if (!power_file_says("control", "auto\n")) return;
    for (int i = 0; i < 1000 && !power_file_says("runtime_status", "suspended\n"); ++i)
        usleep(10000);
}

static void low_power(int event)
{
    heading("low power");
    write_config("V-22", 4, 6, 2);
    uint32_t volatile* const base =
        mmap(NULL, page(), PROT_READ | PROT_WRITE, MAP_SHARED, device, 0);
    need(base != MAP_FAILED, "BAR 0");
    power(3, 0);
    note("V-22", "a load ends by signal %d", faults(base));
    uint32_t value = 0;
    check("V-22", pread(device, &value, 4, at(0, 0)), "pread(BAR 0, 4)");
    note("V-22", "identification %x, command %x", value, config(4, 2));
    power(4, event);
    power(5, 0);
    note("V-22", "a load ends by signal %d", faults(base));
    fired("V-22", event);
    power(4, event);
    wait_until_suspended();
    fired("V-22", event);
    note("V-22", "command %x", config(4, 2));
    fired("V-22", event);
    note("V-22", "a load ends by signal %d", faults(base));
    power(3, 0);
    power(5, 0);
    munmap((void*)(uintptr_t)base, page());
}

static void unknown(void)
{
    heading("other numbers");
    for (unsigned long number = 0x3b60; number < 0x3b8c; ++number) {
        if (number >= 0x3b6b && number <= 0x3b75) continue;
        check("V-1", ioctl(device, number, 0), "ioctl(%lx)", number);
    }
    struct vfio_device_ioeventfd event = {
        .argsz = sizeof event, .flags = 4, .offset = 4, .data = 1, .fd = -1};
    check("V-13", ioctl(device, VFIO_DEVICE_IOEVENTFD, &event), "IOEVENTFD(an absent one off)");
    event.argsz = 27;
    check("V-13", ioctl(device, VFIO_DEVICE_IOEVENTFD, &event), "IOEVENTFD(argsz 27)");
    event.argsz = sizeof event;
    event.flags = 3;
    check("V-13", ioctl(device, VFIO_DEVICE_IOEVENTFD, &event), "IOEVENTFD(two widths)");
    event.flags = 4;
    event.fd = -2;
    check("V-13", ioctl(device, VFIO_DEVICE_IOEVENTFD, &event), "IOEVENTFD(fd -2)");
    event.fd = 1000;
    check("V-13", ioctl(device, VFIO_DEVICE_IOEVENTFD, &event), "IOEVENTFD(not open)");
    check("V-13", ioctl(device, VFIO_DEVICE_IOEVENTFD, NULL), "IOEVENTFD(NULL)");
}

#endif
