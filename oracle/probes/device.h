/* What the probes of devices share: calls on a device file with every argument in every wrong form.
 * Bytes that belong to the machine and not to vfio-pci are not printed. */
#ifndef PINFOLD_ORACLE_DEVICE_H
#define PINFOLD_ORACLE_DEVICE_H
#include <sys/eventfd.h>
#include "probe.h"

enum { kConfig = VFIO_PCI_CONFIG_REGION_INDEX, kRegions = 9, kIrqs = 5 };

static inline off_t region_at(uint32_t index, uint64_t offset)
{
    return (off_t)((uint64_t)index << 40 | offset);
}

static inline uint32_t config_read(int device, unsigned offset, unsigned size)
{
    uint32_t value = 0;
    need(pread(device, &value, size, region_at(kConfig, offset)) == (ssize_t)size,
         "configuration space");
    return value;
}

static inline void config_write(int device, unsigned offset, unsigned size, uint32_t value)
{
    need(pwrite(device, &value, size, region_at(kConfig, offset)) == (ssize_t)size,
         "configuration space");
}

/* --- GET_INFO, GET_REGION_INFO, GET_IRQ_INFO
 * ---------------------------------------------------------------------- */

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

/* --- SET_IRQS
 * -----------------------------------------------------------------------------------------------------
 */

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

/* --- regions
 * ------------------------------------------------------------------------------------------------------
 */

static inline void access_errors(int device)
{
    heading("reading and writing");
    unsigned char byte[16] = {0};
    void* volatile nowhere = NULL; /* the compiler knows that NULL cannot be read into */
    void* volatile top = (void*)(uintptr_t)-4;
    check("V-17", pread(device, top, 8, region_at(kConfig, 0)), "pread(8 bytes at the top)");
    check("V-17", pwrite(device, top, 8, region_at(kConfig, 0)), "pwrite(8 bytes at the top)");
    for (uint32_t index = 0; index < kRegions + 2; ++index) {
        struct vfio_region_info info = {.argsz = sizeof info, .index = index};
        uint64_t const size =
            ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info) == 0 ? info.size : 0;
        uint64_t const offsets[] = {size - 1, size, size + 1, 0x7fffffffff, 0xffffffffff};
        check("V-17", pread(device, byte, 0, region_at(index, 0)), "pread(region %u, 0 bytes)",
              index);
        check("V-17", pwrite(device, byte, 0, region_at(index, 0)), "pwrite(region %u, 0 bytes)",
              index);
        for (int i = size == 0 ? 1 : 0; i < 5; ++i) {
            if (index == kConfig || i > 0)
                check("V-17", pread(device, byte, 4, region_at(index, offsets[i])),
                      "pread(region %u, place %d)", index, i);
            if (i > 0)
                check("V-17", pwrite(device, byte, 4, region_at(index, offsets[i])),
                      "pwrite(region %u, place %d)", index, i);
        }
    }
    check("V-17", pread(device, byte, 1, (off_t)1 << 62), "pread(beyond all regions)");
    check("V-17", pread(device, byte, 1, -1), "pread(offset -1)");
    check("V-17", pread(device, nowhere, 4, region_at(kConfig, 0)), "pread(region 7, into NULL)");
    check("V-17", pwrite(device, nowhere, 4, region_at(kConfig, 0x3c)),
          "pwrite(region 7, from NULL)");
    check("V-17", pread(device, before_the_edge(2), 4, region_at(kConfig, 0)),
          "pread(region 7, 2 bytes before the edge)");
}

static inline void mapping_errors(int device)
{
    heading("mmap");
    for (uint32_t index = 0; index < kRegions + 1; ++index) {
        struct vfio_region_info info = {.argsz = sizeof info, .index = index};
        uint64_t const size =
            ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info) == 0 ? info.size : 0;
        uint64_t const whole = (size + page() - 1) & ~(page() - 1);
        struct {
            char const* what;
            uint64_t size;
            uint64_t offset;
            int flags;
        } const tries[] = {{"a page", page(), 0, MAP_SHARED},
                           {"whole", whole == 0 ? page() : whole, 0, MAP_SHARED},
                           {"a page too many", whole + page(), 0, MAP_SHARED},
                           {"behind the end", page(), whole, MAP_SHARED},
                           {"private", page(), 0, MAP_PRIVATE},
                           {"a byte", 1, 0, MAP_SHARED}};
        for (size_t i = 0; i < sizeof tries / sizeof tries[0]; ++i) {
            void* const view = mmap(NULL, tries[i].size, PROT_READ | PROT_WRITE, tries[i].flags,
                                    device, region_at(index, tries[i].offset));
            check("V-18", view == MAP_FAILED ? -1 : 0, "mmap(region %u, %s)", index, tries[i].what);
            if (view != MAP_FAILED) munmap(view, tries[i].size);
        }
    }
    void* const odd = (void*)syscall(SYS_mmap, NULL, page(), PROT_READ, MAP_SHARED, device, 512l);
    check("V-18", odd == MAP_FAILED ? -1 : 0, "mmap(offset 512)");
}

/* --- configuration space
 * ------------------------------------------------------------------------------------------ */

static inline void bars(int device)
{
    heading("BARs");
    for (unsigned offset = 0x10; offset <= 0x30; offset += 4) {
        if (offset == 0x28 || offset == 0x2c) continue;
        uint32_t const old = config_read(device, offset, 4);
        config_write(device, offset, 4, 0xffffffff);
        note("V-20", "%02x sized: %08x", offset, config_read(device, offset, 4));
        config_write(device, offset, 4, 0);
        note("V-20", "%02x zeroed: %08x", offset, config_read(device, offset, 4));
        config_write(device, offset, 1, 0xff);
        note("V-20", "%02x low byte: %08x", offset, config_read(device, offset, 4));
        config_write(device, offset, 4, 0x12345678);
        note("V-20", "%02x moved: %08x", offset, config_read(device, offset, 4));
        config_write(device, offset, 4, old);
        note("V-20", "%02x restored: %d", offset, config_read(device, offset, 4) == old);
    }
}

static inline void fixed_fields(int device)
{
    heading("fixed fields");
    static struct {
        char const* name;
        unsigned offset;
        unsigned size;
        bool shown;
    } const fields[] = {{"vendor", 0, 2, true},
                        {"device", 2, 2, true},
                        {"revision", 8, 4, true},
                        {"cache line", 0xc, 1, false},
                        {"latency", 0xd, 1, false},
                        {"header type", 0xe, 1, true},
                        {"bist", 0xf, 1, true},
                        {"subsystem vendor", 0x2c, 2, true},
                        {"subsystem", 0x2e, 2, true},
                        {"capabilities", 0x34, 1, false},
                        {"interrupt line", 0x3c, 1, true},
                        {"interrupt pin", 0x3d, 1, true},
                        {"min grant", 0x3e, 1, true},
                        {"max latency", 0x3f, 1, true}};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; ++i) {
        uint32_t const old = config_read(device, fields[i].offset, fields[i].size);
        if (fields[i].shown && fields[i].offset != 0x3c)
            note("V-19 V-20", "%s: %x", fields[i].name, old);
        config_write(device, fields[i].offset, fields[i].size, ~old);
        uint32_t const mask = fields[i].size == 4 ? 0xffffffff : (1u << 8 * fields[i].size) - 1;
        note("V-19 V-20", "%s: bits that turned %x", fields[i].name,
             (config_read(device, fields[i].offset, fields[i].size) ^ old) & mask);
        config_write(device, fields[i].offset, fields[i].size, old);
    }
}

static inline void command(int device)
{
    heading("COMMAND");
    uint32_t const old = config_read(device, 4, 2);
    note("V-2 V-19", "at first: %x", old);
    for (unsigned bit = 0; bit < 16; ++bit) {
        config_write(device, 4, 2, old ^ 1u << bit);
        note("V-19", "bit %u turned: %x", bit, config_read(device, 4, 2));
        config_write(device, 4, 2, old);
    }
    config_write(device, 4, 2, 0xffff);
    note("V-19", "all: %x", config_read(device, 4, 2));
    config_write(device, 4, 2, 0);
    note("V-19", "none: %x", config_read(device, 4, 2));
    unsigned char bytes[4];
    for (uint32_t index = 0; index < 6; ++index) {
        struct vfio_region_info info = {.argsz = sizeof info, .index = index};
        if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info) != 0 || info.size == 0) continue;
        check("V-17 V-19", pread(device, bytes, 4, region_at(index, 0)),
              "pread(region %u, memory off)", index);
        check("V-17 V-19", pwrite(device, bytes, 4, region_at(index, 0)),
              "pwrite(region %u, memory off)", index);
        void* const view = mmap(NULL, page(), PROT_READ, MAP_SHARED, device, region_at(index, 0));
        check("V-18", view == MAP_FAILED ? -1 : 0, "mmap(region %u, memory off)", index);
        if (view != MAP_FAILED) munmap(view, page());
    }
    config_write(device, 4, 2, old);
}

/* --- the rest
 * -----------------------------------------------------------------------------------------------------
 */

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

static inline void generic(int device)
{
    device_info(device);
    region_info(device);
    irq_info(device);
    unknown_ioctls(device);
    access_errors(device);
    mapping_errors(device);
    command(device);
    fixed_fields(device);
    bars(device);
    irq_arguments(device);
    features(device);
    ioeventfds(device);
    resets(device);
}

#endif
