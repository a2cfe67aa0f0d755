/* The device file of vfio-pci on the two edu devices, which are conventional PCI functions: rules
 * V-1 to V-22. */
/* On QEMU's virt board the guest hangs somewhere behind the configuration space, in the kernel: why
 * is not known yet. */
// oracle: without arm64-*
#include "probe.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/eventfd.h>

enum { kConfig = 7 };

static struct place here;
static int device;
static void* volatile nowhere = NULL;

static off_t at(unsigned region, uint64_t offset)
{
    return (off_t)((uint64_t)region << 40 | offset);
}

/* A structure in a room full of 0xa5; how much of it was written shows. */
struct room {
    uint32_t word[40];
};

static struct room room_of(uint32_t argsz)
{
    struct room room;
    memset(&room, 0xa5, sizeof room);
    room.word[0] = argsz;
    return room;
}

/* --- what there is
 * ------------------------------------------------------------------------------------------------
 */

static void info(void)
{
    heading("GET_INFO");
    for (uint32_t argsz = 0; argsz <= 32; ++argsz) {
        struct room room = room_of(argsz);
        check("12.2", ioctl(device, VFIO_DEVICE_GET_INFO, &room), "DEVICE_GET_INFO(argsz %u)",
              argsz);
        printf("     ");
        print_bytes(&room, 32);
    }
    check("12.2", ioctl(device, VFIO_DEVICE_GET_INFO, NULL), "DEVICE_GET_INFO(NULL)");
    check("12.2", ioctl(device, VFIO_DEVICE_GET_INFO, before_the_edge(12)),
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

/* --- interrupts
 * ----------------------------------------------------------------------------------------------------
 */

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

/* --- configuration space
 * -------------------------------------------------------------------------------------------- */

static uint32_t config(uint64_t offset, size_t size)
{
    uint32_t value = 0;
    need(pread(device, &value, size, at(kConfig, offset)) == (ssize_t)size, "configuration space");
    return value;
}

static void write_config(char const* rules, uint64_t offset, uint32_t value, size_t size)
{
    check(rules, pwrite(device, &value, size, at(kConfig, offset)),
          "pwrite(config %" PRIx64 ", %x, %zu)", offset, value, size);
    note(rules, "config %" PRIx64 " reads %x", offset, config(offset, size));
}

static void reading(void)
{
    heading("reading configuration space");
    static struct {
        uint64_t offset;
        size_t size;
    } const reads[] = {{0, 0},   {0, 1},   {0, 2},   {0, 4},   {0, 8},   {1, 3},   {2, 4},
                       {252, 4}, {252, 5}, {255, 1}, {256, 1}, {256, 0}, {300, 4}, {4096, 4}};
    for (unsigned i = 0; i < sizeof reads / sizeof reads[0]; ++i) {
        unsigned char bytes[8] = {0};
        check("V-17", pread(device, bytes, reads[i].size, at(kConfig, reads[i].offset)),
              "pread(config %" PRIx64 ", %zu)", reads[i].offset, reads[i].size);
        check("V-17",
              pwrite(device, bytes, reads[i].offset >= 252 ? reads[i].size : 0,
                     at(kConfig, reads[i].offset)),
              "pwrite(config %" PRIx64 ", %zu)", reads[i].offset, reads[i].size);
    }
    check("V-17", pread(device, nowhere, 4, at(kConfig, 0)), "pread(config, NULL)");
    for (unsigned region = 6; region < 12; ++region) {
        uint32_t value = 0;
        check("V-17", pread(device, &value, 0, at(region, 0)), "pread(region %u, 0 bytes)", region);
        if (region != kConfig)
            check("V-17", pread(device, &value, 4, at(region, 0)), "pread(region %u, 4 bytes)",
                  region);
        if (region != kConfig)
            check("V-17", pwrite(device, &value, 4, at(region, 0)), "pwrite(region %u, 4 bytes)",
                  region);
    }
    note("V-19", "vendor and device %x, class %x, header %x", config(0, 4), config(8, 4),
         config(14, 1));
    note("V-19", "command %x", config(4, 2));
    note("V-21", "status %x, capabilities at %x", config(6, 2), config(0x34, 1));
    note("V-20", "interrupt pin %x", config(0x3d, 1));
}

static void writing(void)
{
    heading("writing configuration space");
    write_config("V-19", 0, 0x12345678, 4);
    write_config("V-19", 2, 0xffff, 2);
    write_config("V-19", 4, 0x0000, 2);
    write_config("V-19", 4, 0x0002, 2);
    write_config("V-19", 4, 0x0007, 2);
    write_config("V-19", 4, 0x0407, 2);
    write_config("V-19", 4, 0x0006, 2);
    write_config("V-20", 0x3c, 0x5a, 1);
    write_config("V-20", 0x3d, 0x04, 1);
    write_config("V-19", 0x2c, 0xffffffff, 4);
    write_config("V-19", 0x08, 0xffffffff, 4);
    write_config("V-19", 0x0c, 0xff, 1);
    write_config("V-19", 0x0d, 0xff, 1);
    for (unsigned bar = 0; bar < 6; ++bar) {
        uint32_t const before = config(0x10 + 4 * bar, 4);
        write_config("V-20", 0x10 + 4 * bar, 0xffffffff, 4);
        write_config("V-20", 0x10 + 4 * bar, 0x12345678, 4);
        write_config("V-20", 0x12 + 4 * bar, 0xffff, 2);
        write_config("V-20", 0x13 + 4 * bar, 0x77, 1);
        write_config("V-20", 0x10 + 4 * bar, 0, 4);
        need(pwrite(device, &before, 4, at(kConfig, 0x10 + 4 * bar)) == 4, "BAR back");
    }
    write_config("V-20", 0x30, 0xffffffff, 4);
    write_config("V-20", 0x30, 0, 4);
}

/* The MSI capability, wherever it is. */
static void msi_capability(int event)
{
    heading("the MSI capability");
    uint32_t position = config(0x34, 1);
    while (position != 0 && config(position, 1) != 5) position = config(position + 1, 1);
    if (position == 0) return note("V-21", "none");
    note("V-21", "at %x: %x %x", position, config(position, 4), config(position + 1, 1));
    write_config("V-21", position + 2, 0xffff, 2);
    write_config("V-21", position + 4, 0xffffffff, 4);
    write_config("V-21", position + 4, 0xfee00000, 4);
    write_config("V-21", position + 8, 0xffffffff, 4);
    write_config("V-21", position + 12, 0xffff, 2);
    write_config("V-21", position + 2, 0, 2);
    set("up", 0x24, 1, 1, event);
    note("V-21", "control %x", config(position + 2, 2));
    write_config("V-21", position + 2, 1, 2);
    write_config("V-21", position + 2, 0x71, 2);
    write_config("V-21", position + 2, 0, 2);
    set("down", 0x21, 1, 0, 0);
    note("V-21", "control %x", config(position + 2, 2));
}

/* --- BARs
 * ------------------------------------------------------------------------------------------------------------
 */

static void bar(void)
{
    heading("BAR 0 by read and write");
    write_config("V-17", 4, 6, 2);
    uint32_t value = 0;
    check("V-17", pread(device, &value, 4, at(0, 0)), "pread(BAR 0, 4)");
    note("V-17", "identification %x", value);
    value = 0x12345678;
    check("V-17", pwrite(device, &value, 4, at(0, 4)), "pwrite(BAR 0 + 4, 4)");
    check("V-17", pread(device, &value, 4, at(0, 4)), "pread(BAR 0 + 4, 4)");
    note("V-17", "the complement %x", value);
    static struct {
        uint64_t offset;
        size_t size;
    } const reads[] = {{0, 0},        {0xffffc, 4},  {0xffffc, 8}, {0xfffff, 4},
                       {0x100000, 4}, {0x100000, 0}, {0x200000, 1}};
    for (unsigned i = 0; i < sizeof reads / sizeof reads[0]; ++i) {
        char bytes[8];
        check("V-17", pread(device, bytes, reads[i].size, at(0, reads[i].offset)),
              "pread(BAR 0 + %" PRIx64 ", %zu)", reads[i].offset, reads[i].size);
    }
    check("V-17", pread(device, nowhere, 4, at(0, 0)), "pread(BAR 0, NULL)");
    check("V-17", pread(device, &value, 4, at(1, 0)), "pread(BAR 1, 4)");
    check("V-17", pread(device, &value, 4, at(20, 0)), "pread(region 20, 4)");
    write_config("V-17", 4, 0, 2);
    check("V-17", pread(device, &value, 4, at(0, 0)), "pread(BAR 0, decoding off)");
    check("V-17", pwrite(device, &value, 4, at(0, 4)), "pwrite(BAR 0, decoding off)");
    check("V-17", pread(device, &value, 4, at(0, 0x100000)), "pread(beyond BAR 0, decoding off)");
    write_config("V-17", 4, 6, 2);
    check("V-17", pread(device, &value, 4, at(0, 0)), "pread(BAR 0, decoding on)");
}

static void mapping(char const* what, uint64_t size, int protection, int flags, uint64_t offset)
{
    void* const base = mmap(NULL, size, protection, flags, device, (off_t)offset);
    int const error = errno;
    printf("[V-18] mmap(%s) = %s\n", what, base == MAP_FAILED ? strerrorname_np(error) : "address");
    if (base != MAP_FAILED) munmap(base, size);
}

static sigjmp_buf after_fault;

static void on_fault(int signal) { siglongjmp(after_fault, signal); }

/* The signal that a load ends by; 0 for none. */
static int faults(uint32_t volatile* where)
{
    struct sigaction const action = {.sa_handler = on_fault};
    struct sigaction before;
    sigaction(SIGBUS, &action, &before);
    int const signal = sigsetjmp(after_fault, 1);
    if (signal == 0) (void)*where;
    sigaction(SIGBUS, &before, NULL);
    return signal;
}

static void mappings(void)
{
    heading("mapping");
    int const both = PROT_READ | PROT_WRITE;
    mapping("BAR 0, a page", page(), both, MAP_SHARED, 0);
    mapping("BAR 0, whole", 0x100000, both, MAP_SHARED, 0);
    mapping("BAR 0, a page too much", 0x100000 + page(), both, MAP_SHARED, 0);
    mapping("BAR 0, a byte", 1, both, MAP_SHARED, 0);
    mapping("BAR 0, nothing", 0, both, MAP_SHARED, 0);
    mapping("BAR 0, private", page(), both, MAP_PRIVATE, 0);
    mapping("BAR 0, read only", page(), PROT_READ, MAP_SHARED, 0);
    mapping("BAR 0, the last page", page(), both, MAP_SHARED, 0x100000 - page());
    mapping("BAR 0, behind the end", page(), both, MAP_SHARED, 0x100000);
    mapping("BAR 0, inside a page", page(), both, MAP_SHARED, 512);
    for (unsigned region = 1; region < 12; ++region) {
        char what[32];
        snprintf(what, sizeof what, "region %u", region);
        mapping(what, page(), both, MAP_SHARED, (uint64_t)region << 40);
    }
    uint32_t volatile* const base = mmap(NULL, page(), both, MAP_SHARED, device, 0);
    need(base != MAP_FAILED, "BAR 0");
    note("V-18", "identification by load %x", base[0]);
    base[1] = 0x0f0f0f0f;
    note("V-18", "the complement by load %x", base[1]);
    munmap((void*)(uintptr_t)base, page());
}

/* --- resets, features, the rest
 * ---------------------------------------------------------------------------------------- */

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
    usleep(300000);
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

static void decoding_off(void)
{
    heading("a mapping while decoding is off");
    uint32_t volatile* const base =
        mmap(NULL, page(), PROT_READ | PROT_WRITE, MAP_SHARED, device, 0);
    need(base != MAP_FAILED, "BAR 0");
    write_config("V-18", 4, 0, 2);
    struct memory const memory = touched("m", 1);
    (void)memory;
    note("V-18", "a load ends by signal %d", faults(base));
    write_config("V-18", 4, 6, 2);
    munmap((void*)(uintptr_t)base, page());
}

int main(void)
{
    begin();
    here = settle(VFIO_TYPE1v2_IOMMU);
    device = open_device(here.group, kFirst);
    int const event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    need(event >= 0, "eventfd");
    info();
    regions();
    interrupts();
    set_form();
    set_intx(event);
    set_msi(event);
    set_req(event);
    reading();
    writing();
    msi_capability(event);
    bar();
    mappings();
    resets();
    features();
    low_power(event);
    unknown();
    decoding_off();
    heading("closing and opening again");
    close(device);
    device = open_device(here.group, kFirst);
    note("V-2", "command %x, interrupt line kept %d", config(4, 2), config(0x3c, 1) == 0x5a);
    int const twice = open_device(here.group, kFirst);
    write_config("V-2", 4, 6, 2);
    close(twice);
    note("V-2 G-10", "command %x", config(4, 2));
    close(device);
    leave(here);
    return finish();
}
