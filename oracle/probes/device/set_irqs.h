/* SET_IRQS, with every argument in every wrong form, and what it does. */
#ifndef PINFOLD_ORACLE_DEVICE_SET_IRQS_H
#define PINFOLD_ORACLE_DEVICE_SET_IRQS_H
#include <sys/eventfd.h>
#include "device/access.h"

struct irq_call {
    uint32_t argsz;
    uint32_t flags;
    uint32_t index;
    uint32_t start;
    uint32_t count;
    int32_t data[8];
};

static inline long set_irqs(char const* rules, int device, uint32_t flags, uint32_t index,
                            uint32_t start, uint32_t count, int32_t datum, char const* what)
{
    struct irq_call call = {
        .argsz = sizeof call, .flags = flags, .index = index, .start = start, .count = count};
    for (int i = 0; i < 8; ++i) call.data[i] = datum;
    return check(rules, ioctl(device, VFIO_DEVICE_SET_IRQS, &call),
                 "SET_IRQS(flags %x, index %x, start %x, count %x, %s)", flags, index, start, count,
                 what);
}

enum { kNone = 1, kBool = 2, kEvent = 4, kMask = 8, kUnmask = 16, kTrigger = 32 };

/* The checks that come before any interrupt is touched: what passes them all is "none" with count 0
 * on what is not set up. */
static inline void irq_arguments(int device)
{
    heading("SET_IRQS, arguments");
    check("V-9", ioctl(device, VFIO_DEVICE_SET_IRQS, NULL), "SET_IRQS(NULL)");
    struct irq_call call = {.argsz = 20, .flags = kNone | kTrigger, .index = 1};
    memcpy(before_the_edge(19), &call, 19);
    check("V-9", ioctl(device, VFIO_DEVICE_SET_IRQS, before_the_edge(19)),
          "SET_IRQS(19 bytes before the edge)");
    for (uint32_t argsz = 0; argsz <= 28; argsz += 1) {
        call = (struct irq_call){
            .argsz = argsz, .flags = kBool | kMask, .index = 1, .start = 0, .count = 1};
        check("V-9", ioctl(device, VFIO_DEVICE_SET_IRQS, &call), "SET_IRQS(argsz %x)", argsz);
    }
    for (uint32_t flags = 0; flags < 80; ++flags)
        for (uint32_t index = 0; index <= kIrqs; ++index) {
            call = (struct irq_call){
                .argsz = sizeof call, .flags = flags, .index = index, .start = 0, .count = 0};
            if ((flags & kEvent) != 0)
                call.count = 1, call.data[0] = 4711; /* a descriptor that is not open */
            check("V-9 V-10 V-11 V-12", ioctl(device, VFIO_DEVICE_SET_IRQS, &call),
                  "SET_IRQS(flags %x, index %x, count %x)", flags, index, call.count);
        }
    uint32_t const numbers[] = {0,  1,  2,    31,         32,         33,
                                64, 65, 2048, 0x7fffffff, 0xfffffffe, 0xffffffff};
    for (uint32_t index = 0; index < kIrqs; ++index)
        for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; ++i)
            for (size_t j = 0; j < 3; ++j) {
                uint32_t const start = j == 0 ? 0 : j == 1 ? numbers[i] : 1;
                uint32_t const count = j == 0 ? numbers[i] : j == 1 ? 1 : numbers[i];
                call = (struct irq_call){.argsz = 20,
                                         .flags = kBool | kMask,
                                         .index = index,
                                         .start = start,
                                         .count = count};
                check("V-9", ioctl(device, VFIO_DEVICE_SET_IRQS, &call),
                      "SET_IRQS(index %x, start %x, count %x)", index, start, count);
            }
}

/* What each index takes while nothing is set up, while it is, and while another is; the eventfd
 * shows what fired. */
static inline void irq_actions(int device, uint32_t index, uint32_t other)
{
    printf("== SET_IRQS, index %u\n", index);
    int const event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int const null = open("/dev/null", O_RDWR | O_CLOEXEC);
    static char const* const rules = "V-10 V-11 V-12";
    for (int round = 0; round < 3; ++round) {
        printf("-- %s\n", round == 0 ? "not set up" : round == 1 ? "set up" : "taken down");
        if (round == 1) set_irqs(rules, device, kEvent | kTrigger, index, 0, 1, event, "eventfd");
        if (round == 2) set_irqs(rules, device, kNone | kTrigger, index, 0, 0, 0, "off");
        set_irqs(rules, device, kNone | kTrigger, index, 0, 1, 0, "fire");
        set_irqs(rules, device, kBool | kTrigger, index, 0, 1, 0, "do not fire");
        set_irqs(rules, device, kBool | kTrigger, index, 0, 1, 1, "fire");
        uint64_t fired = 0;
        check(rules, read(event, &fired, sizeof fired), "read(eventfd)");
        note(rules, "fired %" PRIu64, fired);
        set_irqs(rules, device, kBool | kTrigger, index, 0, 0, 0, "bool, none");
        set_irqs(rules, device, kEvent | kTrigger, index, 0, 0, 0, "eventfd, none");
        set_irqs(rules, device, kEvent | kTrigger, index, 1, 1, event, "start 1");
        set_irqs(rules, device, kEvent | kTrigger, index, 0, 1, 4711, "not open");
        set_irqs(rules, device, kEvent | kTrigger, index, 0, 1, null, "no eventfd");
        set_irqs(rules, device, kNone | kMask, index, 0, 1, 0, "mask");
        set_irqs(rules, device, kBool | kMask, index, 0, 1, 1, "mask");
        set_irqs(rules, device, kEvent | kMask, index, 0, 1, event, "mask");
        set_irqs(rules, device, kBool | kUnmask, index, 0, 1, 1, "unmask");
        set_irqs(rules, device, kNone | kUnmask, index, 0, 1, 0, "unmask");
        set_irqs(rules, device, kNone | kTrigger, other, 0, 1, 0, "the other, fire");
        if (round == 1) {
            set_irqs(rules, device, kEvent | kTrigger, other, 0, 1, event, "the other, set up");
            set_irqs(rules, device, kNone | kTrigger, other, 0, 0, 0, "the other, off");
            set_irqs(rules, device, kEvent | kTrigger, index, 0, 1, event, "again");
            set_irqs(rules, device, kEvent | kTrigger, index, 0, 1, -1, "unbind");
            set_irqs(rules, device, kNone | kTrigger, index, 0, 1, 0, "fire nothing");
            set_irqs(rules, device, kEvent | kTrigger, index, 0, 1, event, "bind");
        }
    }
    set_irqs(rules, device, kNone | kTrigger, index, 0, 0, 0, "off");
    close(event), close(null);
}

#endif
