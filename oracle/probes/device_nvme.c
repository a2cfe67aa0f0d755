/* The device file of vfio-pci on an NVMe controller: PCI Express, MSI-X, a 64-bit BAR. What belongs to the controller and
 * not to vfio-pci is not printed. Rules V-1 to V-23. */
#include "device.h"

static char const *const kNvme = "0000:00:06.0";

static unsigned find_capability(int device, unsigned id)
{
    unsigned at = config_read(device, 0x34, 1);
    while (at != 0 && config_read(device, at, 1) != id) at = config_read(device, at + 1, 1);
    return at;
}

/* Flags and whether a region is there; sizes are the machine's, but that of configuration space. */
static void regions(int device)
{
    heading("regions");
    for (uint32_t index = 0; index < kRegions + 1; ++index) {
        struct {
            struct vfio_region_info info;
            unsigned char more[64];
        } room = {.info = {.argsz = sizeof room, .index = index}};
        check("V-3 V-4 V-5", ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &room), "REGION_INFO(index %u)", index);
        note("V-4 V-5", "flags %x, there %d, offset %llx, capabilities at %u", room.info.flags, room.info.size != 0, (unsigned long long)room.info.offset,
             room.info.cap_offset);
        if (index == kConfig) note("V-4", "size %llx", (unsigned long long)room.info.size);
        if (room.info.cap_offset == 0) continue;
        printf("[V-5] ");
        print_bytes((char *)&room + room.info.cap_offset, 8);
    }
    uint32_t const sizes[] = {31, 32, 39, 40, 41};
    for (int i = 0; i < 5; ++i) {
        struct vfio_region_info info[2] = {{.argsz = sizes[i], .index = 0, .cap_offset = 0xa5a5a5a5}};
        check("V-5", ioctl(device, VFIO_DEVICE_GET_REGION_INFO, info), "REGION_INFO(argsz %u, index 0)", sizes[i]);
        note("V-5", "argsz %u flags %x capabilities at %x", info[0].argsz, info[0].flags, info[0].cap_offset);
    }
}

/* Which indexes there are; how many vectors is the machine's. */
static void irqs(int device)
{
    heading("interrupts");
    for (uint32_t index = 0; index < kIrqs + 1; ++index) {
        struct vfio_irq_info info = {.argsz = sizeof info, .index = index};
        check("V-8", ioctl(device, VFIO_DEVICE_GET_IRQ_INFO, &info), "IRQ_INFO(index %u)", index);
        note("V-8 V-23", "flags %x, there %d", info.flags, info.count != 0);
    }
}

/* Vectors 0 and 1, in every state of being set up. */
static void msix(int device)
{
    heading("MSI-X");
    int const event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    unsigned const at = find_capability(device, 0x11);
    note("V-21", "there: %d", at != 0);
    uint32_t const control = config_read(device, at + 2, 2);
    config_write(device, at + 2, 2, control ^ 0xffff);
    note("V-21", "control turned: %x", config_read(device, at + 2, 2) ^ control);
    for (unsigned offset = 4; offset < 12; offset += 4) {
        uint32_t const old = config_read(device, at + offset, 4);
        config_write(device, at + offset, 4, ~old);
        note("V-21", "%u turned: %x", offset, config_read(device, at + offset, 4) ^ old);
    }
    set_irqs("V-11", device, kEvent | kTrigger, 2, 0, 0, 0, "none of none");
    set_irqs("V-11", device, kEvent | kTrigger, 2, 0, 2, event, "two");
    note("V-21", "enabled: %x", config_read(device, at + 2, 2) & 0xc000);
    set_irqs("V-11", device, kNone | kTrigger, 2, 0, 2, 0, "fire two");
    uint64_t fired = 0;
    check("V-11", read(event, &fired, sizeof fired), "read(eventfd)");
    note("V-11", "fired %" PRIu64, fired);
    set_irqs("V-11 V-23", device, kEvent | kTrigger, 2, 2, 1, event, "a third");
    set_irqs("V-11 V-23", device, kNone | kTrigger, 2, 0, 3, 0, "fire three");
    set_irqs("V-11 V-23", device, kEvent | kTrigger, 2, 2, 1, -1, "not the third");
    set_irqs("V-11", device, kEvent | kTrigger, 2, 1, 1, -1, "not the second");
    set_irqs("V-11", device, kBool | kTrigger, 2, 0, 2, 1, "fire two");
    check("V-11", read(event, &fired, sizeof fired), "read(eventfd)");
    note("V-11", "fired %" PRIu64, fired);
    set_irqs("V-11", device, kEvent | kTrigger, 2, 0, 2, 4711, "not open");
    set_irqs("V-11", device, kBool | kTrigger, 2, 0, 2, 1, "fire two");
    check("V-11", read(event, &fired, sizeof fired), "read(eventfd)");
    set_irqs("V-11", device, kEvent | kTrigger, 0, 0, 1, event, "INTx meanwhile");
    set_irqs("V-11", device, kNone | kTrigger, 2, 0, 0, 0, "off");
    note("V-21", "enabled: %x", config_read(device, at + 2, 2) & 0xc000);
    set_irqs("V-11", device, kNone | kTrigger, 2, 0, 1, 0, "fire when off");
    set_irqs("V-10", device, kEvent | kTrigger, 0, 0, 1, event, "INTx");
    set_irqs("V-11", device, kEvent | kTrigger, 2, 0, 1, event, "MSI-X meanwhile");
    set_irqs("V-10", device, kNone | kTrigger, 0, 0, 0, 0, "INTx off");
    set_irqs("V-11", device, kEvent | kTrigger, 2, 1, 1, event, "only the second");
    set_irqs("V-11", device, kNone | kTrigger, 2, 0, 0, 0, "off");
    close(event);
}

/* The table is out of reach: it reads as ones, writes go nowhere; its page can be mapped. */
static void table(int device)
{
    heading("the MSI-X table");
    unsigned const at = find_capability(device, 0x11);
    uint32_t const where = config_read(device, at + 4, 4);
    uint32_t const bar = where & 7;
    uint64_t const offset = where & ~7u;
    config_write(device, 4, 2, 6);
    uint32_t value = 0;
    check("V-17", pread(device, &value, 4, region_at(bar, offset)), "pread(table)");
    note("V-17", "%x", value);
    value = 0x1234;
    check("V-17", pwrite(device, &value, 4, region_at(bar, offset)), "pwrite(table)");
    check("V-17", pread(device, &value, 4, region_at(bar, offset)), "pread(table)");
    note("V-17", "%x", value);
    uint64_t const start = offset & ~(page() - 1);
    void *const view = mmap(NULL, page(), PROT_READ | PROT_WRITE, MAP_SHARED, device, region_at(bar, start));
    check("V-18", view == MAP_FAILED ? -1 : 0, "mmap(table)");
    if (view != MAP_FAILED) munmap(view, page());
}

/* D3: neither memory nor mapping. */
static void power(int device)
{
    heading("power");
    unsigned const at = find_capability(device, 1);
    note("V-21", "there: %d", at != 0);
    if (at == 0) return;
    config_write(device, 4, 2, 6);
    uint32_t value = 0;
    check("V-17", pread(device, &value, 4, region_at(0, 0)), "pread(BAR 0)");
    note("V-21", "control and status %x", config_read(device, at + 4, 2) & 3);
    config_write(device, at + 4, 2, 3);
    note("V-21", "control and status %x", config_read(device, at + 4, 2) & 3);
    check("V-17 V-21", pread(device, &value, 4, region_at(0, 0)), "pread(BAR 0 in D3)");
    check("V-17 V-21", pwrite(device, &value, 4, region_at(0, 0x28)), "pwrite(BAR 0 in D3)");
    config_write(device, at + 4, 2, 0);
    note("V-21", "control and status %x", config_read(device, at + 4, 2) & 3);
    usleep(20000);
    check("V-17 V-21", pread(device, &value, 4, region_at(0, 0)), "pread(BAR 0 back in D0)");
    note("V-21", "COMMAND %x", config_read(device, 4, 2));
}

static void express(int device)
{
    heading("PCI Express");
    unsigned const at = find_capability(device, 0x10);
    note("V-21", "there: %d", at != 0);
    if (at == 0) return;
    uint32_t const can_reset = config_read(device, at + 4, 4) >> 28 & 1;
    note("V-21", "function level reset: %u", can_reset);
    config_write(device, 4, 2, 6);
    config_write(device, 0x3c, 1, 0x55);
    config_write(device, at + 8, 2, config_read(device, at + 8, 2) | 0x8000);
    usleep(120000);
    note("V-21", "reads back %x", config_read(device, at + 8, 2) & 0x8000);
    note("V-14 V-21", "COMMAND %x, line %x", config_read(device, 4, 2), config_read(device, 0x3c, 1));
}

/* The controller answers over registers, before and after a reset. */
static void controller(int device)
{
    heading("the controller");
    config_write(device, 4, 2, 6);
    uint32_t enabled = 0;
    check("V-17", pread(device, &enabled, 4, region_at(0, 0x1c)), "pread(CSTS)");
    note("V-17", "ready %u", enabled & 1);
    check("V-14", ioctl(device, VFIO_DEVICE_RESET), "RESET()");
    note("V-14", "COMMAND %x", config_read(device, 4, 2));
    check("V-17", pread(device, &enabled, 4, region_at(0, 0x1c)), "pread(CSTS)");
}

int main(void)
{
    begin();
    struct place const place = {open_container(), open_group(kNvme)};
    need(set_container(place.group, place.container) == 0 && ioctl(place.container, VFIO_SET_IOMMU, 3ul) == 0, "container");
    int const device = open_device(place.group, kNvme);
    device_info(device);
    regions(device);
    irqs(device);
    unknown_ioctls(device);
    command(device);
    msix(device);
    table(device);
    power(device);
    express(device);
    controller(device);
    features(device);
    close(device);
    leave(place);
    return finish();
}
