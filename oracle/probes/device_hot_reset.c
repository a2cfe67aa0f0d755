/* Hot reset (V-15, V-16) behind root ports: an NVMe controller and an edu that are functions of one
 * slot (one group on x86, two on arm64), and an edu alone behind its port, whose reset serves as
 * function reset (V-14). The controller shows by its registers that it was reset; QEMU's edu keeps
 * its own whatever happens. */
#include "msix.h"

static char const* const kDisk = "0000:01:00.0";   /* the controller */
static char const* const kBeside = "0000:01:00.1"; /* an edu in its slot */
static char const* const kAlone = "0000:02:00.0";
enum { kEntries = 8, kConfiguration = 0x14, kStatus = 0x1c, kQueues = 0x24 };

struct list {
    uint32_t argsz;
    uint32_t flags;
    uint32_t count;
    struct vfio_pci_dependent_device devices[kEntries];
};

static void print_list(struct list const* list, uint32_t group)
{
    note("V-15", "argsz %u flags %x count %x", list->argsz, list->flags, list->count);
    for (uint32_t i = 0; i < list->count && i < kEntries; ++i) {
        struct vfio_pci_dependent_device const* const one = &list->devices[i];
        note("V-15", "%04x:%02x:%02x.%x, in this group: %d", one->segment, one->bus,
             one->devfn >> 3, one->devfn & 7, one->group_id == group);
    }
}

static uint32_t group_number(char const* bdf)
{
    char path[300];
    group_path(bdf, path, sizeof path);
    return (uint32_t)strtoul(strrchr(path, '/') + 1, NULL, 10);
}

static long info(int device, void* list, uint32_t argsz)
{
    return check("V-15", ioctl(device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, list),
                 "HOT_RESET_INFO(argsz %u)", argsz);
}

static void questions(int device, uint32_t group, uint32_t devices)
{
    uint32_t const fits = 12 + 8 * devices;
    uint32_t const argszs[] = {
        0, 11, 12, 13, 19, 20, 27, 28, fits - 1, fits, fits + 1, sizeof(struct list), 0xffffffff};
    for (size_t i = 0; i < sizeof argszs / sizeof argszs[0]; ++i) {
        struct list list;
        memset(&list, 0x5a, sizeof list);
        list.argsz = argszs[i];
        info(device, &list, argszs[i]);
        if (list.count == 0x5a5a5a5a)
            note("V-15", "flags %x count %x", list.flags, list.count);
        else
            print_list(&list, group);
    }
    check("V-15", ioctl(device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, NULL), "HOT_RESET_INFO(NULL)");
    struct list const whole = {.argsz = sizeof whole, .flags = 0x5a, .count = 0x5a};
    info(device, read_only_copy(&whole, sizeof whole), sizeof whole);
    check("V-15", ioctl(device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, before_the_edge(11)),
          "HOT_RESET_INFO(11 bytes before the edge)");
    /* Room for the header and not for all devices, whatever argsz says. */
    for (uint32_t room = 12; room < fits; room += 4) {
        struct list* const edge = before_the_edge(room);
        memcpy(edge, &whole, room);
        check("V-15", ioctl(device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, edge),
              "HOT_RESET_INFO(%u bytes before the edge)", room);
        note("V-15", "flags %x count %x", edge->flags, edge->count);
    }
}

static long reset(int device, uint32_t argsz, uint32_t flags, uint32_t count, int first, int second,
                  char const* what)
{
    int32_t room[16] = {(int32_t)argsz, (int32_t)flags, (int32_t)count, first,
                        second,         first,          first};
    return check("V-16", ioctl(device, VFIO_DEVICE_PCI_HOT_RESET, room),
                 "HOT_RESET(argsz %u, flags %x, count %x, %s)", argsz, flags, count, what);
}

/* The slot's functions and their groups, which may be one; and a group that has nothing to do with
 * them. */
struct slot {
    int container;
    int disk_group;
    int edu_group;
    int other_group;
    int disk;
    int edu;
};

static bool is_one_group(struct slot const* slot) { return slot->disk_group == slot->edu_group; }

static long reset_slot(struct slot const* slot, int device)
{
    return is_one_group(slot)
               ? reset(device, 16, 0, 1, slot->disk_group, -1, "the group")
               : reset(device, 20, 0, 2, slot->disk_group, slot->edu_group, "both groups");
}

static void reset_forms(int device, struct place place, int other_group)
{
    int const null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (uint32_t argsz = 11; argsz <= 13; ++argsz)
        for (uint32_t flags = 0; flags < 2; ++flags)
            for (uint32_t count = 0; count < 4; ++count)
                reset(device, argsz, flags, count, -1, -1, "-1");
    reset(device, 16, 0, 0xffffffff, place.group, -1, "as many as there can be");
    reset(device, 16, 0, 1, 4711, -1, "not open");
    reset(device, 16, 0, 1, null, -1, "/dev/null");
    reset(device, 16, 0, 1, place.container, -1, "the container");
    reset(device, 16, 0, 1, device, -1, "the device");
    reset(device, 16, 0, 1, other_group, -1, "another group");
    reset(device, 16, 0, 2, other_group, other_group, "another group, twice");
    reset(device, 16, 0, 2, place.group, 4711, "the group, and not open");
    reset(device, 16, 0, 2, place.group, null, "the group, and /dev/null");
    reset(device, 16, 0, 2, 4711, null, "not open, and /dev/null");
    reset(device, 16, 0, 2, null, 4711, "/dev/null, and not open");
    check("V-16", ioctl(device, VFIO_DEVICE_PCI_HOT_RESET, NULL), "HOT_RESET(NULL)");
    check("V-16", ioctl(device, VFIO_DEVICE_PCI_HOT_RESET, before_the_edge(11)),
          "HOT_RESET(11 bytes before the edge)");
    for (uint32_t count = 1; count < 4; ++count) {
        uint32_t* const edge = before_the_edge(12);
        edge[0] = 12, edge[1] = 0, edge[2] = count;
        check("V-16", ioctl(device, VFIO_DEVICE_PCI_HOT_RESET, edge),
              "HOT_RESET(12 bytes before the edge, count %u)", count);
    }
    close(null);
}

static uint32_t register_of(int disk, unsigned offset)
{
    uint32_t value = 0;
    need(pread(disk, &value, sizeof value, region_at(0, offset)) == sizeof value, "a register");
    return value;
}

static void set_register(int disk, unsigned offset, uint32_t value)
{
    need(pwrite(disk, &value, sizeof value, region_at(0, offset)) == sizeof value, "a register");
}

static void show_controller(char const* rules, int disk)
{
    note(rules, "enabled %x, status %x", register_of(disk, kConfiguration),
         register_of(disk, kStatus));
}

/* With admin queues whose addresses nobody has mapped; nothing is submitted. */
static void start(int disk)
{
    config_write(disk, 4, 2, config_read(disk, 4, 2) | 6);
    set_register(disk, kConfiguration, 0);
    set_register(disk, kQueues, 0x00030003);
    set_register(disk, kQueues + 4, 0x10000000);
    set_register(disk, kQueues + 8, 0);
    set_register(disk, kQueues + 12, 0x10100000);
    set_register(disk, kQueues + 16, 0);
    set_register(disk, kConfiguration, 0x00460001);
    usleep(100000);
    show_controller("V-17", disk);
}

static void state_of(char const* name, int device)
{
    note("V-16", "%s: COMMAND %x, line %x, BAR kept %d", name, config_read(device, 4, 2),
         config_read(device, 0x3c, 1), (config_read(device, 0x10, 4) & 0xfff00000) == 0x12300000);
}

/* What the client wrote stays, what is inside the controller goes; interrupts that are set up stay.
 */
static void successes(struct slot const* slot)
{
    heading("resets");
    int const disk = slot->disk;
    int const edu = slot->edu;
    config_write(disk, 4, 2, 0x406);
    config_write(disk, 0x3c, 1, 0x55);
    config_write(edu, 4, 2, 6);
    config_write(edu, 0x3c, 1, 0x56);
    config_write(edu, 0x10, 4, 0x12345678);
    int const event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    set_irqs("V-11", edu, kEvent | kTrigger, VFIO_PCI_MSI_IRQ_INDEX, 0, 1, event, "eventfd");
    uint32_t volatile* const registers =
        mmap(NULL, page(), PROT_READ | PROT_WRITE, MAP_SHARED, disk, 0);
    need(registers != MAP_FAILED, "BAR 0");

    start(disk);
    check("V-14", ioctl(edu, VFIO_DEVICE_RESET), "RESET()");
    show_controller("V-14 V-16", disk);
    reset(edu, 16, 0, 1, slot->other_group, -1, "another group");
    show_controller("V-16", disk);
    if (!is_one_group(slot)) {
        reset(edu, 16, 0, 1, slot->edu_group, -1, "edu's group");
        reset(edu, 16, 0, 1, slot->disk_group, -1, "the controller's group");
        reset(disk, 20, 0, 2, slot->disk_group, slot->other_group,
              "the controller's group and another");
        show_controller("V-16", disk);
    }
    reset_slot(slot, edu);
    show_controller("V-16", disk);
    note("V-16 V-18", "mapped: %x", registers[kStatus / 4]);
    state_of("controller", disk);
    state_of("edu", edu);
    set_irqs("V-11", edu, kNone | kTrigger, VFIO_PCI_MSI_IRQ_INDEX, 0, 1, 0, "fire");
    uint64_t fired = 0;
    check("V-11", read(event, &fired, sizeof fired), "read(eventfd)");

    start(disk);
    reset(disk, 20, 0, 2, slot->edu_group, slot->disk_group, "edu's group and the controller's");
    show_controller("V-16", disk);
    start(disk);
    reset(disk, 20, 0, 2, slot->other_group, slot->disk_group,
          "another group and the controller's");
    show_controller("V-16", disk);
    start(disk);
    check("V-14", ioctl(disk, VFIO_DEVICE_RESET), "RESET()");
    show_controller("V-14", disk);
    munmap((void*)(uintptr_t)registers, page());
    close(event);
}

/* Asleep, the controller is woken by it. */
static void asleep(struct slot const* slot)
{
    heading("in D3");
    int const disk = slot->disk;
    unsigned const power = find_capability(disk, 1);
    need(power != 0, "power management");
    for (int hot = 0; hot < 2; ++hot) {
        config_write(disk, power + 4, 2, 3);
        note("V-21", "state %x", config_read(disk, power + 4, 2) & 3);
        if (hot)
            reset_slot(slot, slot->edu);
        else
            check("V-14", ioctl(disk, VFIO_DEVICE_RESET), "RESET()");
        note(hot ? "V-16" : "V-14", "state %x", config_read(disk, power + 4, 2) & 3);
        uint32_t value = 0;
        check("V-17", pread(disk, &value, sizeof value, region_at(0, kStatus)), "pread(CSTS)");
        config_write(disk, power + 4, 2, 0);
        usleep(20000);
    }
}

/* A function that nobody has open is reset with the others. */
static void closing(struct slot* slot)
{
    heading("closing");
    close(slot->edu);
    start(slot->disk);
    reset_slot(slot, slot->disk);
    show_controller("V-16", slot->disk);
    slot->edu = open_device(slot->edu_group, kBeside);
    close(slot->disk);
    reset_slot(slot, slot->edu);
    slot->disk = open_device(slot->disk_group, kDisk);
    config_write(slot->disk, 4, 2, 6);
    show_controller("V-2", slot->disk);
    close(slot->edu);
}

static void tell_driver(char const* file, char const* bdf)
{
    char path[128];
    snprintf(path, sizeof path, "/sys/bus/pci/drivers/vfio-pci/%s", file);
    int const fd = open(path, O_WRONLY | O_CLOEXEC);
    need(fd >= 0 && write(fd, bdf, strlen(bdf)) > 0, path);
    close(fd);
}

/* Not bound to vfio-pci, the other function is in nobody's hands. In a group of its own, that has
 * to be closed before. */
static void unbound(struct slot* slot)
{
    heading("with the other function unbound");
    if (!is_one_group(slot)) close(slot->edu_group);
    tell_driver("unbind", kBeside);
    start(slot->disk);
    struct list list = {.argsz = sizeof list};
    info(slot->disk, &list, sizeof list);
    print_list(&list, group_number(kDisk));
    reset(slot->disk, 16, 0, 1, slot->disk_group, -1, "the controller's group");
    show_controller("V-16", slot->disk);
    check("G-9", ioctl(slot->disk_group, VFIO_GROUP_GET_DEVICE_FD, kBeside),
          "GET_DEVICE_FD(unbound)");
    tell_driver("bind", kBeside);
    slot->edu_group = is_one_group(slot) ? slot->disk_group : open_group(kBeside);
    reset_slot(slot, slot->disk);
    show_controller("V-16", slot->disk);
}

static int can_reset(int device)
{
    struct vfio_device_info info = {.argsz = 16};
    need(ioctl(device, VFIO_DEVICE_GET_INFO, &info) == 0, "GET_INFO");
    return (info.flags & VFIO_DEVICE_FLAGS_RESET) != 0;
}

static void one_slot(void)
{
    struct slot slot = {.container = open_container(),
                        .disk_group = open_group(kDisk),
                        .other_group = open_group(kAlone)};
    bool const is_one = group_number(kDisk) == group_number(kBeside);
    slot.edu_group = is_one ? slot.disk_group : open_group(kBeside);
    need(set_container(slot.disk_group, slot.container) == 0 &&
             ioctl(slot.container, VFIO_SET_IOMMU, 3ul) == 0,
         "container");
    need(is_one || set_container(slot.edu_group, slot.container) == 0, "container");
    slot.disk = open_device(slot.disk_group, kDisk);
    slot.edu = open_device(slot.edu_group, kBeside);
    heading("two functions behind one port");
    note("V-15", "in one group: %d", is_one);
    note("V-2 V-14", "can be reset: controller %d, edu %d", can_reset(slot.disk),
         can_reset(slot.edu));
    note("V-19", "header types %x %x", config_read(slot.disk, 0xe, 1),
         config_read(slot.edu, 0xe, 1));
    questions(slot.edu, group_number(kBeside), 2);
    heading("forms");
    reset_forms(slot.edu, (struct place){slot.container, slot.edu_group}, slot.other_group);
    successes(&slot);
    asleep(&slot);
    closing(&slot);
    unbound(&slot);
    close(slot.disk);
    close(slot.other_group);
    if (!is_one) close(slot.edu_group);
    leave((struct place){slot.container, slot.disk_group});
}

static void alone(void)
{
    heading("an edu alone behind its port");
    struct place const place = {open_container(), open_group(kAlone)};
    need(set_container(place.group, place.container) == 0 &&
             ioctl(place.container, VFIO_SET_IOMMU, 3ul) == 0,
         "container");
    int const device = open_device(place.group, kAlone);
    note("V-2 V-14", "can be reset: %d", can_reset(device));
    note("V-19", "header type %x", config_read(device, 0xe, 1));
    questions(device, group_number(kAlone), 1);
    reset_forms(device, place, place.group);
    config_write(device, 4, 2, 6);
    check("V-14", ioctl(device, VFIO_DEVICE_RESET), "RESET()");
    note("V-14", "COMMAND %x", config_read(device, 4, 2));
    reset(device, 16, 0, 1, place.group, -1, "the group");
    note("V-16", "COMMAND %x", config_read(device, 4, 2));
    close(device);
    leave(place);
}

int main(void)
{
    begin();
    one_slot();
    alone();
    return finish();
}
