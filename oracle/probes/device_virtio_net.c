/* The device file of vfio-pci on virtio-net: a conventional device with I/O and memory BARs, vendor
 * capabilities and MSI-X, and nothing that resets it. What a driver negotiates is the device's;
 * that its DMA and its interrupts arrive is asked of a modern one, which goes through the IOMMU.
 * Rules V-1 to V-23. */
// oracle: seconds 120
#include <stddef.h>
#include "msix.h"

static char const* const kTransitional = "0000:00:07.0";
static char const* const kModern = "0000:00:08.0";

/* Vendor capabilities say where the registers are and are the device's own, but for the window into
 * its BARs. */
static void vendor_capabilities(int device)
{
    heading("vendor capabilities");
    for (unsigned at = config_read(device, 0x34, 1); at != 0; at = config_read(device, at + 1, 1)) {
        unsigned const id = config_read(device, at, 1);
        note("V-21", "at %x: id %x", at, id);
        if (id != 9) continue;
        unsigned const length = config_read(device, at + 2, 1);
        unsigned const type = config_read(device, at + 3, 1);
        note("V-21", "length %u, type %u", length, type);
        for (unsigned offset = 4; offset < length && offset < 16; offset += 4) {
            uint32_t const old = config_read(device, at + offset, 4);
            config_write(device, at + offset, 4, ~old);
            note("V-21", "%u: %x, turned %x", offset, old,
                 config_read(device, at + offset, 4) ^ old);
            config_write(device, at + offset, 4, old);
        }
        config_write(device, at + 2, 2, 0xffff);
        note("V-21", "length and type afterwards: %x", config_read(device, at + 2, 2));
    }
}

/* The window of 4.1.4.7: BAR, offset and length, and the data behind them. */
static void window(int device)
{
    heading("the window");
    unsigned at = config_read(device, 0x34, 1);
    while (at != 0 && (config_read(device, at, 1) != 9 || config_read(device, at + 3, 1) != 5))
        at = config_read(device, at + 1, 1);
    note("V-21", "there: %d", at != 0);
    if (at == 0) return;
    config_write(device, 4, 2, 3);
    config_write(device, at + 4, 1, 4);
    config_write(device, at + 8, 4, 0x12);
    config_write(device, at + 12, 4, 2);
    note("V-21", "queues %x", config_read(device, at + 16, 2));
    config_write(device, at + 8, 4, 0x14);
    config_write(device, at + 12, 4, 1);
    config_write(device, at + 16, 1, 3);
    note("V-21", "status %x", config_read(device, at + 16, 1));
    config_write(device, at + 16, 1, 0);
    note("V-21", "status %x", config_read(device, at + 16, 1));
}

static void legacy_registers(int device)
{
    heading("the I/O BAR");
    config_write(device, 4, 2, 3);
    uint32_t value = 0;
    for (uint16_t queue = 0; queue < 4; ++queue) {
        check("V-17", pwrite(device, &queue, 2, region_at(0, 0xe)), "pwrite(queue select)");
        check("V-17", pread(device, &value, 2, region_at(0, 0xc)), "pread(queue size)");
        note("V-17", "%x", value);
    }
    unsigned char status = 3;
    check("V-17", pwrite(device, &status, 1, region_at(0, 0x12)), "pwrite(status)");
    check("V-17", pread(device, &status, 1, region_at(0, 0x12)), "pread(status)");
    note("V-17", "%x", status);
    status = 0;
    check("V-17", pwrite(device, &status, 1, region_at(0, 0x12)), "pwrite(status)");
    check("V-17", pread(device, &value, 4, region_at(0, 0x1e)), "pread(4 bytes, 2 before the end)");
    check("V-17", pread(device, &value, 4, region_at(0, 0x20)), "pread(at the end)");
    config_write(device, 4, 2, 2);
    check("V-17", pread(device, &value, 4, region_at(0, 0)), "pread(I/O off)");
    config_write(device, 4, 2, 1);
    check("V-17", pread(device, &value, 4, region_at(4, 0)), "pread(memory off)");
    config_write(device, 4, 2, 3);
}

/* --- a frame --- */

enum {
    kStatus = 0x14,
    kQueueSelect = 0x16,
    kQueueSize = 0x18,
    kQueueVector = 0x1a,
    kQueueEnable = 0x1c,
    kQueueNotify = 0x1e,
    kNotify = 0x3000
};

static uint64_t get(int device, uint64_t offset, unsigned size)
{
    uint64_t value = 0;
    need(pread(device, &value, size, region_at(4, offset)) == (ssize_t)size, "BAR 4");
    return value;
}

static void put(int device, uint64_t offset, unsigned size, uint64_t value)
{
    for (unsigned done = 0; done < size; done += 4) { /* addresses go in halves */
        unsigned const some = size - done < 4 ? size - done : 4;
        need(pwrite(device, (char*)&value + done, some, region_at(4, offset + done)) ==
                 (ssize_t)some,
             "BAR 4");
    }
}

struct ring {
    struct {
        uint64_t address;
        uint32_t length;
        uint16_t flags, next;
    } descriptors[4];
    struct {
        uint16_t flags, index, ring[4], event;
    } available;
    char padding[2];
    struct {
        uint16_t flags, index;
        struct {
            uint32_t id, length;
        } ring[4];
        uint16_t event;
    } used;
    unsigned char frame[256];
};

static void start(int device, uint64_t iova)
{
    put(device, kStatus, 1, 0);
    put(device, kStatus, 1, 3);
    put(device, 0x08, 4, 1);
    put(device, 0x0c, 4, 3); /* VERSION_1 and ACCESS_PLATFORM */
    put(device, kStatus, 1, 11);
    note("V-17", "status %" PRIx64, get(device, kStatus, 1));
    put(device, kQueueSelect, 2, 1);
    put(device, kQueueSize, 2, 4);
    put(device, kQueueVector, 2, 2);
    note("V-11", "vector of the queue: %" PRIx64, get(device, kQueueVector, 2));
    put(device, 0x20, 8, iova + offsetof(struct ring, descriptors));
    put(device, 0x28, 8, iova + offsetof(struct ring, available));
    put(device, 0x30, 8, iova + offsetof(struct ring, used));
    put(device, kQueueEnable, 2, 1);
    put(device, kStatus, 1, 15);
    note("V-17", "status %" PRIx64, get(device, kStatus, 1));
}

static void sent(int device, struct ring volatile* ring, int event, char const* what)
{
    uint16_t const before = ring->used.index;
    ring->available.ring[ring->available.index % 4] = 0;
    ring->available.index = (uint16_t)(ring->available.index + 1);
    put(device, kNotify + 4 * get(device, kQueueNotify, 2), 2, 1);
    for (int i = 0; i < 200 && ring->used.index == before; ++i) usleep(10000);
    usleep(20000);
    uint64_t fired = 0;
    check("V-11", read(event, &fired, sizeof fired), "read(eventfd), %s", what);
    note("V-11", "%s: used %d, id %x, fired %" PRIu64, what, ring->used.index - before,
         ring->used.ring[before % 4].id, fired);
}

/* A frame of 64 bytes goes out of memory that only the IOMMU leads to; whoever is there to take it
 * does not answer. */
static void sending(struct place place)
{
    heading("sending");
    int const group = open_group(kModern);
    need(set_container(group, place.container) == 0, "SET_CONTAINER");
    int const device = open_device(group, kModern);
    struct memory const memory = touched("ring", 1);
    struct ring volatile* const ring = memset(memory.base, 0, sizeof(struct ring));
    map("V-2", place.container, kBoth, memory, 0, kIova, page());
    ring->descriptors[0].address = kIova + offsetof(struct ring, frame);
    ring->descriptors[0].length = 12 + 64;
    int const event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    set_irqs("V-11", device, kEvent | kTrigger, 2, 0, 3, event, "three vectors");
    config_write(device, 4, 2, 6);
    start(device, kIova);
    sent(device, ring, event, "a frame");
    sent(device, ring, event, "another");
    set_irqs("V-11", device, kEvent | kTrigger, 2, 2, 1, -1, "no vector for the queue");
    sent(device, ring, event, "a third");
    set_irqs("V-11", device, kEvent | kTrigger, 2, 2, 1, event, "the vector again");
    sent(device, ring, event, "a fourth");
    set_irqs("V-11", device, kEvent | kTrigger, 2, 2, 1, -1, "no vector for the queue");
    sent(device, ring, event, "a fifth");
    set_irqs("V-11", device, kNone | kTrigger, 2, 0, 0, 0, "off");
    set_irqs("V-11", device, kEvent | kTrigger, 2, 0, 3, event, "three vectors");
    sent(device, ring, event, "a sixth");
    set_irqs("V-11", device, kNone | kTrigger, 2, 0, 0, 0, "off");
    set_irqs("V-11", device, kEvent | kTrigger, 2, 0, 1, event, "one vector");
    sent(device, ring, event, "a seventh");
    set_irqs("V-11 V-23", device, kEvent | kTrigger, 2, 2, 1, event, "the third");
    sent(device, ring, event, "an eighth");
    put(device, kStatus, 1, 0);
    note("V-17", "status %" PRIx64, get(device, kStatus, 1));
    set_irqs("V-11", device, kNone | kTrigger, 2, 0, 0, 0, "off");
    unmap("V-2", place.container, 0, kIova, page());
    close(event);
    close(device);
    close(group);
    release(memory);
}

int main(void)
{
    begin();
    struct place const place = {open_container(), open_group(kTransitional)};
    need(set_container(place.group, place.container) == 0 &&
             ioctl(place.container, VFIO_SET_IOMMU, 3ul) == 0,
         "container");
    int const device = open_device(place.group, kTransitional);
    generic(device);
    for (uint32_t index = 0; index < kIrqs; ++index) irq_actions(device, index, index == 0 ? 1 : 0);
    vendor_capabilities(device);
    window(device);
    legacy_registers(device);
    msix(device);
    table(device);
    close(device);
    sending(place);
    leave(place);
    return finish();
}
