/* SET_IRQS: its form, and what it does to each kind of interrupt. */
#ifndef PINFOLD_ORACLE_DEVICE_EDU_SET_IRQS_H
#define PINFOLD_ORACLE_DEVICE_EDU_SET_IRQS_H
#include "device_edu/room.h"

static struct room irq_set(uint32_t flags, uint32_t index, uint32_t start, uint32_t count)
{
    struct room room = room_of(20 + 4 * (count < 32 ? count : 0));
    room.word[1] = flags;
    room.word[2] = index;
    room.word[3] = start;
    room.word[4] = count;
    for (uint32_t i = 0; i < 32 && i < count; ++i) room.word[5 + i] = (uint32_t)-1;
    return room;
}

static void set_form(void)
{
    heading("SET_IRQS: form");
    static uint32_t const kinds[] = {0, 1, 2, 3, 4, 5, 6, 7};
    static uint32_t const actions[] = {0, 8, 0x10, 0x20, 0x18, 0x28, 0x38, 0x40};
    for (uint32_t index = 0; index < 6; ++index)
        for (unsigned kind = 0; kind < 8; ++kind)
            for (unsigned action = 0; action < 8; ++action) {
                uint32_t const flags = kinds[kind] | actions[action];
                struct room room = irq_set(flags, index, 1, 0);
                check("V-9", ioctl(device, VFIO_DEVICE_SET_IRQS, &room),
                      "SET_IRQS(flags %x, index %u, start 1, count 0)", flags, index);
                room = irq_set(flags, index, 0, 40);
                check("V-9", ioctl(device, VFIO_DEVICE_SET_IRQS, &room),
                      "SET_IRQS(flags %x, index %u, start 0, count 40)", flags, index);
            }
    static struct {
        uint32_t argsz, flags, index, start, count;
    } const forms[] = {
        {19, 0x21, 0, 0, 0},          {20, 0x21, 9, 0, 0}, {20, 0x21, 0, 0, 0xffffffff},
        {20, 0x21, 0, 1, 0xfffffffe}, {20, 0x22, 0, 0, 1}, {20, 0x24, 0, 0, 1},
        {23, 0x24, 0, 0, 1},          {20, 0x24, 1, 0, 1}, {20, 0x100, 0, 0, 0},
        {0xffffffff, 0x22, 0, 0, 1},  {24, 0x0c, 0, 0, 1}, {24, 0x14, 0, 0, 1},
        {21, 0x0a, 0, 0, 1},          {21, 0x12, 0, 0, 1}, {20, 0x09, 0, 0, 1},
        {20, 0x11, 0, 0, 1},          {20, 0x21, 0, 0, 1}, {21, 0x22, 0, 0, 1},
        {20, 0x21, 1, 0, 1},          {20, 0x09, 1, 0, 1}, {20, 0x11, 1, 0, 1},
        {20, 0x21, 3, 0, 1},          {20, 0x21, 4, 0, 1}, {20, 0x21, 4, 0, 0},
        {21, 0x22, 4, 0, 1},          {24, 0x24, 4, 0, 1}, {20, 0x24, 4, 0, 0},
        {20, 0x22, 4, 0, 0},          {20, 0x09, 4, 0, 1}, {20, 0x24, 1, 0, 0}};
    for (unsigned i = 0; i < sizeof forms / sizeof forms[0]; ++i) {
        struct room room = irq_set(forms[i].flags, forms[i].index, forms[i].start, forms[i].count);
        room.word[0] = forms[i].argsz;
        if ((forms[i].flags & 2) != 0) room.word[5] = 1;
        check("V-9 V-10 V-11 V-12", ioctl(device, VFIO_DEVICE_SET_IRQS, &room),
              "SET_IRQS(argsz %u, flags %x, index %u, start %u, count %x)", forms[i].argsz,
              forms[i].flags, forms[i].index, forms[i].start, forms[i].count);
    }
    check("V-9", ioctl(device, VFIO_DEVICE_SET_IRQS, before_the_edge(19)), "SET_IRQS(19 bytes)");
    struct room const room = irq_set(0x24, 1, 0, 1);
    check("V-9", ioctl(device, VFIO_DEVICE_SET_IRQS, memcpy(before_the_edge(20), &room, 20)),
          "SET_IRQS(data behind the edge)");
}

static long set(char const* what, uint32_t flags, uint32_t index, uint32_t count, int value)
{
    struct room room = irq_set(flags, index, 0, count);
    room.word[5] = (uint32_t)value;
    return check("V-10 V-11 V-12", ioctl(device, VFIO_DEVICE_SET_IRQS, &room),
                 "SET_IRQS(%s, flags %x, index %u, count %u)", what, flags, index, count);
}

static void fired(char const* rules, int fd)
{
    uint64_t count = 0;
    ssize_t const size = read(fd, &count, sizeof count);
    note(rules, "fired %d", size == (ssize_t)sizeof count ? (int)count : 0);
}

static void set_intx(int event)
{
    heading("SET_IRQS: INTx");
    set("mask while off", 0x09, 0, 1, 0);
    set("unmask while off", 0x11, 0, 1, 0);
    set("fire while off", 0x21, 0, 1, 0);
    set("down while off", 0x21, 0, 0, 0);
    set("a descriptor that is not open", 0x24, 0, 1, 1000);
    set("no eventfd", 0x24, 0, 1, device);
    set("fire, off still", 0x21, 0, 1, 0);
    set("up", 0x24, 0, 1, event);
    set("fire", 0x21, 0, 1, 0);
    fired("V-10", event);
    set("fire by truth", 0x22, 0, 1, 1);
    fired("V-10", event);
    set("not by falsehood", 0x22, 0, 1, 0);
    fired("V-10", event);
    set("MSI while INTx is up", 0x24, 1, 1, event);
    set("mask", 0x09, 0, 1, 0);
    set("mask by truth", 0x0a, 0, 1, 1);
    set("mask by eventfd", 0x0c, 0, 1, event);
    set("unmask by truth", 0x12, 0, 1, 1);
    set("unmask", 0x11, 0, 1, 0);
    set("unmask with count 0", 0x11, 0, 0, 0);
    set("another eventfd", 0x24, 0, 1, event);
    set("none", 0x24, 0, 1, -1);
    set("fire without", 0x21, 0, 1, 0);
    fired("V-10", event);
    set("again a descriptor that is not open", 0x24, 0, 1, 1000);
    set("fire after that", 0x21, 0, 1, 0);
    set("down", 0x21, 0, 0, 0);
    set("down twice", 0x21, 0, 0, 0);
    set("up without", 0x24, 0, 1, -1);
    set("down again", 0x21, 0, 0, 0);
}

static void set_msi(int event)
{
    heading("SET_IRQS: MSI");
    set("fire while off", 0x21, 1, 1, 0);
    set("down while off", 0x21, 1, 0, 0);
    set("nothing while off", 0x24, 1, 0, 0);
    set("up with a descriptor that is not open", 0x24, 1, 1, 1000);
    set("fire, off still", 0x21, 1, 1, 0);
    set("up without", 0x24, 1, 1, -1);
    set("fire without", 0x21, 1, 1, 0);
    set("bound", 0x24, 1, 1, event);
    set("fire", 0x21, 1, 1, 0);
    fired("V-11", event);
    set("fire by truth", 0x22, 1, 1, 1);
    fired("V-11", event);
    set("INTx while MSI is up", 0x24, 0, 1, event);
    set("fire INTx", 0x21, 0, 1, 0);
    set("no eventfd", 0x24, 1, 1, device);
    set("fire after that", 0x21, 1, 1, 0);
    fired("V-11", event);
    set("nothing while up", 0x24, 1, 0, 0);
    set("nothing by truth", 0x22, 1, 0, 0);
    set("mask", 0x09, 1, 1, 0);
    set("down", 0x21, 1, 0, 0);
    set("fire after that", 0x21, 1, 1, 0);
    set("two of one", 0x24, 1, 2, event);
}

static void set_req(int event)
{
    heading("SET_IRQS: REQ");
    set("fire while off", 0x21, 4, 1, 0);
    set("off while off", 0x21, 4, 0, 0);
    set("truth while off", 0x22, 4, 1, 1);
    set("on", 0x24, 4, 1, event);
    set("fire", 0x21, 4, 1, 0);
    fired("V-12", event);
    set("truth", 0x22, 4, 1, 1);
    fired("V-12", event);
    set("not open", 0x24, 4, 1, 1000);
    set("fire after that", 0x21, 4, 1, 0);
    fired("V-12", event);
    set("off by -1", 0x24, 4, 1, -1);
    set("fire", 0x21, 4, 1, 0);
    set("on", 0x24, 4, 1, event);
    set("off by count 0", 0x21, 4, 0, 0);
    set("off again", 0x21, 4, 0, 0);
}

#endif
