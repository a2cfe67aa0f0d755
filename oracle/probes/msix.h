/* MSI-X as vfio-pci has it: vectors that come and go, and a table that is out of reach. Rules V-11,
 * V-17, V-18, V-21, V-23. */
#ifndef PINFOLD_ORACLE_MSIX_H
#define PINFOLD_ORACLE_MSIX_H
#include "device.h"

static inline unsigned find_capability(int device, unsigned id)
{
    unsigned at = config_read(device, 0x34, 1);
    while (at != 0 && config_read(device, at, 1) != id) at = config_read(device, at + 1, 1);
    return at;
}

/* Vectors 0 and 1, in every state of being set up. */
static inline void msix(int device)
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
static inline void table(int device)
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
    void* const view =
        mmap(NULL, page(), PROT_READ | PROT_WRITE, MAP_SHARED, device, region_at(bar, start));
    check("V-18", view == MAP_FAILED ? -1 : 0, "mmap(table)");
    if (view != MAP_FAILED) munmap(view, page());
}

#endif
