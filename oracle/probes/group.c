/* Groups, their files, device names and the orders in which everything may be closed: rules G-1 to
 * G-16. */
#include <sys/eventfd.h>
#include "probe.h"

static void opening(void)
{
    heading("opening");
    int const group = check_fd("G-1", try_group(kFirst), "open(group)");
    check_fd("G-1", try_group(kFirst), "open(group) while open");
    int const copy = check_fd("G-1", dup(group), "dup(group)");
    close(group);
    check_fd("G-1", try_group(kFirst), "open(group) while a duplicate is open");
    check("G-2", ioctl(copy, VFIO_GET_API_VERSION, 0), "GET_API_VERSION(group)");
    close(copy);
    int const again = check_fd("G-1", try_group(kFirst), "open(group) after the last close");
    close(again);
    check_fd("G-1", open("/dev/vfio/4000", O_RDWR), "open(no such group)");
    char path[300];
    group_path(kFirst, path, sizeof path);
    int const reader = check_fd("G-1", open(path, O_RDONLY | O_CLOEXEC), "open(group, O_RDONLY)");
    if (reader >= 0) close(reader);
}

static void unknown(void)
{
    heading("unknown ioctls");
    int const group = open_group(kFirst);
    for (unsigned long request = 0x3b60; request < 0x3b80; ++request) {
        if (request >= 0x3b67 && request <= 0x3b6a) continue;
        check("G-2", ioctl(group, request, 0), "0x%lx(group, NULL)", request);
    }
    char byte = 0;
    check("G-2", read(group, &byte, 1), "read(group)");
    check("G-2", write(group, &byte, 1), "write(group)");
    void* const view = mmap(NULL, page(), PROT_READ, MAP_SHARED, group, 0);
    check("G-2", view == MAP_FAILED ? -1 : 0, "mmap(group)");
    close(group);
}

static void status(int group, char const* state)
{
    for (uint32_t argsz = 0; argsz <= 12; ++argsz) {
        struct vfio_group_status answer = {.argsz = argsz, .flags = 0xa5a5a5a5};
        check("G-3", ioctl(group, VFIO_GROUP_GET_STATUS, &answer), "GET_STATUS(argsz %u) %s", argsz,
              state);
        note("G-3", "argsz %x flags %x", answer.argsz, answer.flags);
    }
    struct vfio_group_status const good = {.argsz = sizeof good, .flags = 0};
    char* const near = before_the_edge(7);
    memcpy(near, &good, 7);
    check("G-3", ioctl(group, VFIO_GROUP_GET_STATUS, NULL), "GET_STATUS(NULL) %s", state);
    check("G-3", ioctl(group, VFIO_GROUP_GET_STATUS, near),
          "GET_STATUS(7 bytes before the edge) %s", state);
    check("G-3", ioctl(group, VFIO_GROUP_GET_STATUS, read_only_copy(&good, sizeof good)),
          "GET_STATUS(read-only) %s", state);
}

static void statuses(void)
{
    heading("status");
    int const group = open_group(kFirst);
    int const container = open_container();
    status(group, "alone");
    set_container(group, container);
    status(group, "in a container");
    ioctl(container, VFIO_SET_IOMMU, 3ul);
    status(group, "with a back end");
    ioctl(group, VFIO_GROUP_UNSET_CONTAINER);
    status(group, "alone again");
    close(group);
    close(container);
}

static void set_to(int group, int fd, char const* what)
{
    check("G-4", set_container(group, fd), "SET_CONTAINER(%s)", what);
}

static void containers(void)
{
    heading("containers");
    int const group = open_group(kFirst);
    int const other_group = open_group(kSecond);
    int const container = open_container();
    int const other = open_container();
    int const null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int const event = eventfd(0, EFD_CLOEXEC);
    int const path = open("/", O_PATH | O_CLOEXEC);
    check("G-4", ioctl(group, VFIO_GROUP_SET_CONTAINER, NULL), "SET_CONTAINER(NULL)");
    check("G-4", ioctl(group, VFIO_GROUP_SET_CONTAINER, before_the_edge(3)),
          "SET_CONTAINER(3 bytes before the edge)");
    set_to(group, -1, "-1");
    set_to(group, 4711, "not open");
    set_to(group, null, "/dev/null");
    set_to(group, event, "eventfd");
    set_to(group, path, "O_PATH");
    set_to(group, group, "the group");
    set_to(group, other_group, "another group");
    check("G-7", ioctl(group, VFIO_GROUP_UNSET_CONTAINER), "UNSET_CONTAINER() outside");
    set_to(group, container, "container");
    set_to(group, container, "the same");
    set_to(group, other, "another");
    set_to(group, null, "/dev/null, inside");
    set_to(group, -1, "-1, inside");
    check("G-4", ioctl(group, VFIO_GROUP_SET_CONTAINER, NULL), "SET_CONTAINER(NULL) inside");
    check("G-7", ioctl(group, VFIO_GROUP_UNSET_CONTAINER), "UNSET_CONTAINER()");
    check("G-7", ioctl(group, VFIO_GROUP_UNSET_CONTAINER), "UNSET_CONTAINER() twice");
    set_to(group, other, "another, after");
    set_to(other_group, other, "the same, second group");
    close(null), close(event), close(path), close(container), close(other), close(group),
        close(other_group);
}

static int name(int group, char const* text, char const* state)
{
    return check_fd("G-8 G-9", ioctl(group, VFIO_GROUP_GET_DEVICE_FD, text),
                    "GET_DEVICE_FD(\"%s\") %s", text, state);
}

static void names(int group, char const* state)
{
    static char const* const bad[] = {
        "",
        "nope",
        "0000:00:04",
        "0000:00:04.",
        "00:04.0",
        "0000:00:04.1",
        "0000:00:05.0",
        "0000:00:1f.7",
        " 0000:00:04.0",
        "0000:00:04.0x",
        "0000:00:04.00",
        "0000:00:04.0,",
        "0000:00:04.0 foo",
        "0000:00:04.0 vf_token=",
        "0000:00:04.0 vf_token=nonsense",
        "0000:00:04.0 vf_token=00000000-0000-0000-0000-000000000000",
        "0000:00:04.0 foo=1 vf_token=00000000-0000-0000-0000-000000000000"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; ++i) {
        int const fd = name(group, bad[i], state);
        if (fd >= 0) close(fd);
    }
    static char const* const maybe[] = {"0000:00:04.0", "0000:00:04.0 ", "0000:00:04.0  "};
    for (size_t i = 0; i < sizeof maybe / sizeof maybe[0]; ++i) {
        int const fd = name(group, maybe[i], state);
        if (fd < 0) continue;
        note("G-8", "close-on-exec %d", (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
        close(fd);
    }
    check("G-8", ioctl(group, VFIO_GROUP_GET_DEVICE_FD, NULL), "GET_DEVICE_FD(NULL) %s", state);
    check("G-8", ioctl(group, VFIO_GROUP_GET_DEVICE_FD, 8), "GET_DEVICE_FD(8) %s", state);
    memset(before_the_edge(64), 'x', 64);
    check("G-8", ioctl(group, VFIO_GROUP_GET_DEVICE_FD, before_the_edge(64)),
          "GET_DEVICE_FD(no end before the edge) %s", state);
    char* const whole = before_the_edge(2 * page());
    memset(whole, 'x', 2 * page());
    whole[page()] = '\0';
    check("G-8", ioctl(group, VFIO_GROUP_GET_DEVICE_FD, whole),
          "GET_DEVICE_FD(end behind a page) %s", state);
    whole[page() - 1] = '\0';
    check("G-8", ioctl(group, VFIO_GROUP_GET_DEVICE_FD, whole),
          "GET_DEVICE_FD(end at the end of a page) %s", state);
    strcpy(before_the_edge(13), kFirst);
    int const fd = name(group, before_the_edge(13), state);
    if (fd >= 0) close(fd);
}

static void full_table(int group, char const* good)
{
    int const next = dup(group);
    close(next);
    struct rlimit old;
    getrlimit(RLIMIT_NOFILE, &old);
    struct rlimit const full = {(rlim_t)next, old.rlim_max};
    setrlimit(RLIMIT_NOFILE, &full);
    name(group, good, "with a full table");
    name(group, "nope", "with a full table");
    setrlimit(RLIMIT_NOFILE, &old);
}

static void devices(void)
{
    heading("devices");
    struct place place = {open_container(), open_group(kFirst)};
    names(place.group, "alone");
    set_container(place.group, place.container);
    names(place.group, "unset");
    ioctl(place.container, VFIO_SET_IOMMU, 3ul);
    names(place.group, "set");
    full_table(place.group, kFirst);
    int const one = name(place.group, kFirst, "first");
    int const two = name(place.group, kFirst, "second");
    check("G-7", ioctl(place.group, VFIO_GROUP_UNSET_CONTAINER),
          "UNSET_CONTAINER() with two devices open");
    close(one);
    check("G-7 G-10", ioctl(place.group, VFIO_GROUP_UNSET_CONTAINER),
          "UNSET_CONTAINER() with one device open");
    struct vfio_device_info info = {.argsz = 16};
    check("G-10", ioctl(two, VFIO_DEVICE_GET_INFO, &info), "GET_INFO(device) of the second");
    int const copy = dup(two);
    close(two);
    check("G-7", ioctl(place.group, VFIO_GROUP_UNSET_CONTAINER),
          "UNSET_CONTAINER() with a duplicate open");
    close(copy);
    check("G-7", ioctl(place.group, VFIO_GROUP_UNSET_CONTAINER),
          "UNSET_CONTAINER() with none open");
    check("G-7", ioctl(place.group, VFIO_GROUP_UNSET_CONTAINER), "UNSET_CONTAINER() again");
    leave(place);
}

/* One of the six orders: c, g and d for container, group and device. */
static void close_in_order(char const* order)
{
    struct place const place = settle(3);
    uint64_t const g = granule(place.container);
    struct memory const memory = touched("memory", 2 * g / page());
    int const device = open_device(place.group, kFirst);
    map("G-11", place.container, kBoth, memory, 0, kIova, 2 * g);
    note("G-12", "order %s: locked %ld", order, locked());
    for (char const* step = order; *step != '\0'; ++step) {
        close(*step == 'c' ? place.container : *step == 'g' ? place.group : device);
        int const again = check_fd("G-12 G-13 G-14 G-16", try_group(kFirst),
                                   "open(group) after closing %c of %s", *step, order);
        if (again >= 0) close(again);
        note("G-12 G-13 G-14 G-16", "locked %ld after closing %c of %s", locked(), *step, order);
    }
    release(memory);
}

/* What a container is after its last group has left. */
static void renewal(void)
{
    heading("renewal");
    struct place place = settle(1);
    uint64_t const g = granule(place.container);
    struct memory const memory = touched("memory", 4 * g / page());
    map("G-15", place.container, kBoth, memory, 0, kIova, 2 * g);
    state("G-15", place.container);
    close(place.group);
    note("G-14 G-15", "locked %ld after the group", locked());
    check("G-15 C-3", map_dma(place.container, kBoth, vaddr_of(memory, 0), kIova, g),
          "MAP_DMA() without a group");
    check("G-15", ioctl(place.container, VFIO_SET_IOMMU, 3ul), "SET_IOMMU(3) without a group");
    place.group = open_group(kFirst);
    check("G-15", set_container(place.group, place.container), "SET_CONTAINER()");
    check("G-15 C-3", map_dma(place.container, kBoth, vaddr_of(memory, 0), kIova, g),
          "MAP_DMA() unset");
    check("G-15", ioctl(place.container, VFIO_SET_IOMMU, 3ul), "SET_IOMMU(3)");
    state("G-15", place.container);
    map("G-15", place.container, kBoth, memory, 0, kIova, 2 * g);
    unmap("G-15 C-10", place.container, 0, kIova, g);
    leave(place);
    note("G-15", "locked %ld at the end", locked());
    release(memory);
}

/* A container that lost its descriptor lives on in its group, and nobody else can reach it. */
static void orphan(void)
{
    heading("orphan");
    struct place place = settle(3);
    uint64_t const g = granule(place.container);
    struct memory const memory = touched("memory", g / page());
    map("G-12", place.container, kBoth, memory, 0, kIova, g);
    int const copy = dup(place.container);
    close(place.container);
    unmap("G-12", copy, 0, kIova, g);
    map("G-12", copy, kBoth, memory, 0, kIova, g);
    close(copy);
    note("G-12", "locked %ld", locked());
    place.container = open_container();
    check("G-12 G-4", set_container(place.group, place.container),
          "SET_CONTAINER() while in the lost one");
    check("G-12 G-7", ioctl(place.group, VFIO_GROUP_UNSET_CONTAINER),
          "UNSET_CONTAINER() from the lost one");
    note("G-12", "locked %ld", locked());
    check("G-12 G-4", set_container(place.group, place.container), "SET_CONTAINER()");
    leave(place);
    release(memory);
}

int main(void)
{
    begin();
    opening();
    unknown();
    statuses();
    containers();
    devices();
    heading("closing");
    static char const* const orders[] = {"cgd", "cdg", "gcd", "gdc", "dcg", "dgc"};
    for (int i = 0; i < 6; ++i) close_in_order(orders[i]);
    renewal();
    orphan();
    return finish();
}
