/* Several groups in one container, several containers: rules G-17, A-1 to A-14, C-11, U-13. */
#include "probe.h"

static uint64_t g;

static void info(char const* rules, int container)
{
    struct vfio_iommu_type1_info head = {.argsz = 16};
    int const result = ioctl(container, VFIO_IOMMU_GET_INFO, &head);
    check(rules, result, "GET_INFO(argsz 10)");
    if (result != 0) return;
    struct iova_range list[16];
    unsigned const count = iova_ranges(container, list, 16);
    note(rules, "page sizes %llx, available %ld, locked %ld", (unsigned long long)head.iova_pgsizes,
         dma_available(container), locked());
    for (unsigned i = 0; i < count; ++i)
        note(rules, "range %" PRIx64 " to %" PRIx64, list[i].start, list[i].last);
}

static void join(char const* rules, int group, int container, char const* what)
{
    check(rules, set_container(group, container), "SET_CONTAINER(%s)", what);
}
static void part(char const* rules, int group, char const* what)
{
    check(rules, ioctl(group, VFIO_GROUP_UNSET_CONTAINER), "UNSET_CONTAINER(%s)", what);
}

/* Both groups first, then the back end. */
static void before_the_backend(unsigned long type)
{
    printf("== two groups, then SET_IOMMU(%lu)\n", type);
    struct place const place = settle(0);
    int const second = open_group(kSecond);
    join("G-4", second, place.container, "second");
    join("G-4", second, place.container, "second, twice");
    check("C-11", ioctl(place.container, VFIO_SET_IOMMU, 99ul), "SET_IOMMU(99)");
    check("C-11", ioctl(place.container, VFIO_SET_IOMMU, 9ul), "SET_IOMMU(9)");
    check("C-11 A-2", ioctl(place.container, VFIO_SET_IOMMU, type), "SET_IOMMU(%lu)", type);
    info("A-2 I-5", place.container);
    struct memory const memory = touched("memory", 4 * g / page());
    map("A-2", place.container, kBoth, memory, 0, kIova, 2 * g);
    info("P-6", place.container);
    part("A-11", place.group, "first");
    info("A-11 A-13", place.container);
    map("A-11", place.container, kBoth, memory, 0, kIova, 2 * g);
    map("A-11", place.container, kBoth, memory, 0, kIova + 4 * g, 2 * g);
    join("G-17", place.group, place.container, "first, again");
    info("G-17", place.container);
    unmap("U-13", place.container, 0, kIova, 6 * g);
    part("A-11", place.group, "first");
    part("A-11 G-15", second, "second");
    info("G-15", place.container);
    close(second);
    leave(place);
    release(memory);
}

/* A group joins what is mapped already: the mappings stay, in every order of going. */
static void on_a_live_container(unsigned long type, bool first_leaves)
{
    printf("== a second group on a live container, type %lu, the %s leaves first\n", type,
           first_leaves ? "first" : "second");
    struct place const place = settle(type);
    int const second = open_group(kSecond);
    struct memory const memory = touched("memory", 8 * g / page());
    map("G-17", place.container, kBoth, memory, 0, kIova, 2 * g);
    map("G-17", place.container, kRead, memory, 0, kIova + 4 * g, g);
    map("G-17", place.container, kWrite, memory, g, 0, g);
    info("G-17", place.container);
    join("G-17 A-6", second, place.container, "second");
    join("6.2", second, place.container, "second, twice");
    info("G-17 A-2 P-6", place.container);
    map("A-2", place.container, kBoth, memory, 0, kIova + 8 * g, 4 * g);
    int const one = check_fd("G-8", ioctl(place.group, VFIO_GROUP_GET_DEVICE_FD, kFirst),
                             "GET_DEVICE_FD(first)");
    int const two =
        check_fd("G-8", ioctl(second, VFIO_GROUP_GET_DEVICE_FD, kSecond), "GET_DEVICE_FD(second)");
    check_fd("G-8", ioctl(second, VFIO_GROUP_GET_DEVICE_FD, kFirst),
             "GET_DEVICE_FD(first's device of the second)");
    part("G-7", place.group, "first, device open");
    part("G-7", second, "second, device open");
    close(one), close(two);
    int const goes = first_leaves ? place.group : second;
    int const stays = first_leaves ? second : place.group;
    part("A-11", goes, "one");
    info("A-11 A-13 P-6", place.container);
    map("A-11 M-1", place.container, kBoth, memory, 0, kIova, g);
    unmap("A-11", place.container, 0, kIova, 2 * g);
    map("A-11", place.container, kBoth, memory, 0, kIova, g);
    join("G-17", goes, place.container, "one, again");
    unmap("G-17", place.container, 0, kIova + 4 * g, g);
    part("A-11", goes, "one");
    part("A-11 G-15", stays, "the other");
    info("G-15", place.container);
    note("G-15 P-9", "locked %ld", locked());
    close(second);
    leave(place);
    release(memory);
}

static void dirty_bits(struct place place)
{
    uint64_t bits = 0;
    struct {
        struct vfio_iommu_type1_dirty_bitmap head;
        uint64_t iova, size, pgsize, bitmap_size, data;
    } query = {.head = {.argsz = sizeof query, .flags = 4},
               .iova = kIova,
               .size = 8 * g,
               .pgsize = g,
               .bitmap_size = 8,
               .data = (uintptr_t)&bits};
    check("A-14 B-5", ioctl(place.container, VFIO_IOMMU_DIRTY_PAGES, &query), "DIRTY_PAGES(get)");
    note("A-14 B-5", "%" PRIx64, bits);
}

static void dirty_and_leaving(void)
{
    heading("dirty pages when a group comes and goes");
    struct place const place = settle(3);
    int const second = open_group(kSecond);
    struct memory const memory = touched("memory", 4 * g / page());
    struct vfio_iommu_type1_dirty_bitmap start = {.argsz = sizeof start, .flags = 1};
    check("B-1", ioctl(place.container, VFIO_IOMMU_DIRTY_PAGES, &start), "DIRTY_PAGES(start)");
    map("B-8", place.container, kBoth, memory, 0, kIova, 2 * g);
    map("B-8", place.container, kBoth, memory, 0, kIova + 3 * g, g);
    dirty_bits(place);
    join("A-9", second, place.container, "second");
    dirty_bits(place);
    part("A-14", second, "second");
    dirty_bits(place);
    dirty_bits(place);
    join("A-9", second, place.container, "second");
    part("A-14", place.group, "first");
    map("B-8", place.container, kRead, memory, 0, kIova + 5 * g, 2 * g);
    dirty_bits(place);
    part("G-15", second, "second");
    check("G-15 C-3", ioctl(place.container, VFIO_IOMMU_DIRTY_PAGES, &start),
          "DIRTY_PAGES(start) without a group");
    join("G-4", second, place.container, "second");
    check("C-8", ioctl(place.container, VFIO_SET_IOMMU, 3ul), "SET_IOMMU(3)");
    dirty_bits(place);
    close(second);
    leave(place);
    release(memory);
}

static void between_containers(void)
{
    heading("from one container to another");
    struct place const place = settle(3);
    int const other = open_container();
    int const second = open_group(kSecond);
    struct memory const memory = touched("memory", 4 * g / page());
    join("G-4", second, other, "second to the other");
    check("C-8", ioctl(other, VFIO_SET_IOMMU, 1ul), "SET_IOMMU(1)");
    map("P-6", place.container, kBoth, memory, 0, kIova, 2 * g);
    map("P-6", other, kBoth, memory, 0, kIova, 2 * g);
    note("P-6", "locked %ld", locked());
    join("G-4", second, place.container, "second while in the other");
    part("G-7", second, "second");
    note("P-9", "locked %ld", locked());
    join("G-17", second, place.container, "second to the first");
    check("C-3", map_dma(other, kBoth, vaddr_of(memory, 0), kIova, g), "MAP_DMA(other)");
    part("G-7", second, "second");
    join("G-4", second, other, "second to the other");
    check("C-8 C-10", ioctl(other, VFIO_SET_IOMMU, 3ul), "SET_IOMMU(3)");
    map("C-10", other, kBoth, memory, 0, kIova, 2 * g);
    unmap("C-10", other, 0, kIova, g);
    info("P-6", place.container);
    info("P-6", other);
    close(other);
    note("G-12", "locked %ld", locked());
    close(second);
    note("G-14 P-9", "locked %ld", locked());
    leave(place);
    release(memory);
}

/* The container's descriptor goes, and with groups that leave one by one. */
static void close_orders(void)
{
    heading("closing two groups and a container");
    static char const* const orders[] = {"c12", "c21", "1c2", "2c1", "12c", "21c"};
    for (int i = 0; i < 6; ++i) {
        struct place const place = settle(3);
        int const second = open_group(kSecond);
        struct memory const memory = touched("memory", 2 * g / page());
        need(set_container(second, place.container) == 0, "SET_CONTAINER");
        map("G-16", place.container, kBoth, memory, 0, kIova, 2 * g);
        for (char const* step = orders[i]; *step != '\0'; ++step) {
            close(*step == 'c' ? place.container : *step == '1' ? place.group : second);
            note("G-12 G-14 G-16", "locked %ld after %c of %s", locked(), *step, orders[i]);
        }
        release(memory);
    }
}

/* Mappings of every size are there for a group that comes later; the borders of the ranges too. */
static void many(void)
{
    heading("many mappings and a second group");
    struct place const place = settle(3);
    int const second = open_group(kSecond);
    struct memory const memory = touched("memory", 600);
    struct iova_range list[16];
    unsigned const count = iova_ranges(place.container, list, 16);
    for (uint64_t i = 1; i <= 24; ++i)
        map("A-6", place.container, (uint32_t)(1 + i % 3), memory, 0, kIova + 700 * i * page(),
            i * 25 * page());
    for (unsigned i = 0; i < count; ++i) {
        map("A-6", place.container, kBoth, memory, 0, list[i].start, g);
        if (list[i].last != ~0ull)
            map("A-6", place.container, kBoth, memory, 0, list[i].last + 1 - g, g);
    }
    join("A-6 G-17", second, place.container, "second");
    info("A-6", place.container);
    part("A-11", place.group, "first");
    info("A-11", place.container);
    unmap("U-5 U-13", place.container, kAll, 0, 0);
    join("G-17", place.group, place.container, "first");
    close(second);
    leave(place);
    release(memory);
}

int main(void)
{
    begin();
    struct place const place = settle(3);
    g = granule(place.container);
    leave(place);
    before_the_backend(3);
    before_the_backend(1);
    on_a_live_container(3, true);
    on_a_live_container(3, false);
    on_a_live_container(1, true);
    dirty_and_leaving();
    between_containers();
    close_orders();
    many();
    return finish();
}
