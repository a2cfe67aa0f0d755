/* The device file of vfio-pci on edu, a conventional device with INTx and MSI: rules V-1 to V-22.
 */
#include "device.h"

/* What the first open and the last close do to what is kept between them (V-2, G-10). */
static void opens(int group)
{
    heading("opens");
    int const one = open_device(group, kFirst);
    note("V-2", "COMMAND %x", config_read(one, 4, 2));
    config_write(one, 4, 2, 0x6);
    config_write(one, 0x3c, 1, 0x77);
    int const two = open_device(group, kFirst);
    note("G-10 V-2", "COMMAND of the second %x, line %x", config_read(two, 4, 2),
         config_read(two, 0x3c, 1));
    close(one);
    note("G-10 V-2", "COMMAND after the first close %x", config_read(two, 4, 2));
    close(two);
    int const three = open_device(group, kFirst);
    note("V-2", "COMMAND after the last close %x", config_read(three, 4, 2));
    close(three);
}

/* MSI: address, data and control belong to the program; enable follows SET_IRQS. */
static void msi(int device)
{
    heading("MSI");
    unsigned at = config_read(device, 0x34, 1);
    while (at != 0 && config_read(device, at, 1) != 5) at = config_read(device, at + 1, 1);
    note("V-21", "there: %d", at != 0);
    if (at == 0) return;
    note("V-21", "control %x", config_read(device, at + 2, 2));
    for (unsigned offset = 2; offset < 14; offset += 2) {
        uint32_t const old = config_read(device, at + offset, 2);
        config_write(device, at + offset, 2, 0xffff);
        note("V-21", "%x: %x, all %x", offset, old, config_read(device, at + offset, 2));
        config_write(device, at + offset, 2, 0);
        note("V-21", "%x: none %x", offset, config_read(device, at + offset, 2));
        config_write(device, at + offset, 2, old);
    }
    int const event = eventfd(0, EFD_CLOEXEC);
    set_irqs("V-11", device, kEvent | kTrigger, 1, 0, 1, event, "set up");
    note("V-21", "control %x", config_read(device, at + 2, 2));
    config_write(device, at + 2, 2, 0);
    note("V-21", "control %x", config_read(device, at + 2, 2));
    config_write(device, at + 2, 2, 1);
    note("V-21", "control %x", config_read(device, at + 2, 2));
    config_write(device, at + 2, 2, 0x71);
    note("V-21", "control %x", config_read(device, at + 2, 2));
    set_irqs("V-11", device, kNone | kTrigger, 1, 0, 0, 0, "off");
    note("V-21", "control %x", config_read(device, at + 2, 2));
    config_write(device, at + 2, 2, 1);
    note("V-21", "control %x", config_read(device, at + 2, 2));
    close(event);
}

/* edu raises its interrupt when a register is written, and holds it until another is. */
static void intx(int device)
{
    heading("INTx fires");
    int const event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    config_write(device, 4, 2, 0x6);
    set_irqs("V-10", device, kEvent | kTrigger, 0, 0, 1, event, "set up");
    uint32_t const bits = 5;
    for (int round = 0; round < 4; ++round) {
        if (round != 1) need(pwrite(device, &bits, 4, region_at(0, 0x60)) == 4, "raise");
        usleep(20000);
        uint64_t fired = 0;
        check("V-10", read(event, &fired, sizeof fired), "read(eventfd), round %d", round);
        note("V-10", "fired %" PRIu64, fired);
        if (round == 2) need(pwrite(device, &bits, 4, region_at(0, 0x64)) == 4, "lower");
        set_irqs("V-10", device, kNone | kUnmask, 0, 0, 1, 0, "unmask");
        usleep(20000);
        fired = 0;
        check("V-10", read(event, &fired, sizeof fired), "read(eventfd), after the unmask");
        note("V-10", "fired %" PRIu64, fired);
    }
    need(pwrite(device, &bits, 4, region_at(0, 0x64)) == 4, "lower");
    config_write(device, 4, 2, 0x406);
    note("V-19", "COMMAND %x", config_read(device, 4, 2));
    need(pwrite(device, &bits, 4, region_at(0, 0x60)) == 4, "raise");
    usleep(20000);
    uint64_t fired = 0;
    check("V-10 V-19", read(event, &fired, sizeof fired), "read(eventfd), INTx disabled");
    config_write(device, 4, 2, 0x6);
    usleep(20000);
    check("V-10 V-19", read(event, &fired, sizeof fired), "read(eventfd), INTx enabled");
    need(pwrite(device, &bits, 4, region_at(0, 0x64)) == 4, "lower");
    set_irqs("V-10", device, kNone | kTrigger, 0, 0, 0, 0, "off");
    close(event);
}

static void registers(int device)
{
    heading("registers");
    uint32_t value = 0;
    config_write(device, 4, 2, 0x6);
    check("V-17", pread(device, &value, 4, region_at(0, 0)), "pread(identification)");
    note("V-17", "%x", value);
    value = 0x12345678;
    check("V-17", pwrite(device, &value, 4, region_at(0, 4)), "pwrite(liveness)");
    check("V-17", pread(device, &value, 4, region_at(0, 4)), "pread(liveness)");
    note("V-17", "%x", value);
    unsigned char bytes[16] = {0};
    check("V-17", pread(device, bytes, 16, region_at(0, 0x100000 - 4)),
          "pread(16 bytes, 4 before the end)");
    check("V-17", pread(device, bytes, 4, region_at(0, 0x100000)), "pread(at the end)");
    uint32_t volatile* const bar =
        mmap(NULL, page(), PROT_READ | PROT_WRITE, MAP_SHARED, device, 0);
    check("V-18", bar == MAP_FAILED ? -1 : 0, "mmap(BAR 0)");
    bar[1] = 0x0f0f0f0f;
    note("V-18", "%x %x", bar[0], bar[1]);
    munmap((void*)(uintptr_t)bar, page());
}

int main(void)
{
    begin();
    struct place const place = settle(3);
    opens(place.group);
    int const device = open_device(place.group, kFirst);
    generic(device);
    for (uint32_t index = 0; index < kIrqs; ++index) irq_actions(device, index, index == 0 ? 1 : 0);
    msi(device);
    registers(device);
    intx(device);
    close(device);
    leave(place);
    return finish();
}
