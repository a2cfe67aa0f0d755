/* The device file of vfio-pci on an NVMe controller: PCI Express, MSI-X, a 64-bit BAR. What belongs
 * to the controller and not to vfio-pci is not printed. Rules V-1 to V-23. */
#include "msix.h"

static char const* const kNvme = "0000:00:06.0";

/* Flags and whether a region is there; sizes are the machine's, but that of configuration space. */
static void regions(int device)
{
    heading("regions");
    for (uint32_t index = 0; index < kRegions + 1; ++index) {
        struct {
            struct vfio_region_info info;
            unsigned char more[64];
        } room = {.info = {.argsz = sizeof room, .index = index}};
        check("V-3 V-4 V-5", ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &room),
              "REGION_INFO(index %u)", index);
        note("V-4 V-5", "flags %x, there %d, offset %llx, capabilities at %u", room.info.flags,
             room.info.size != 0, (unsigned long long)room.info.offset, room.info.cap_offset);
        if (index == kConfig) note("V-4", "size %llx", (unsigned long long)room.info.size);
        if (room.info.cap_offset == 0) continue;
        printf("[V-5] ");
        print_bytes((char*)&room + room.info.cap_offset, 8);
    }
    uint32_t const sizes[] = {31, 32, 39, 40, 41};
    for (int i = 0; i < 5; ++i) {
        struct vfio_region_info info[2] = {
            {.argsz = sizes[i], .index = 0, .cap_offset = 0xa5a5a5a5}};
        check("V-5", ioctl(device, VFIO_DEVICE_GET_REGION_INFO, info),
              "REGION_INFO(argsz %u, index 0)", sizes[i]);
        note("V-5", "argsz %u flags %x capabilities at %x", info[0].argsz, info[0].flags,
             info[0].cap_offset);
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
    note("V-14 V-21", "COMMAND %x, line %x", config_read(device, 4, 2),
         config_read(device, 0x3c, 1));
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
    need(set_container(place.group, place.container) == 0 &&
             ioctl(place.container, VFIO_SET_IOMMU, 3ul) == 0,
         "container");
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
