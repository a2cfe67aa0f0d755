/* Taking the vaddr of mappings away and giving a new one: rules M-20 to M-23, U-5, U-11, and 6.2
 * step 1. */
#include "probe.h"

static uint64_t g;
static struct memory old_memory;
static struct memory new_memory;

static void fresh(int container, unsigned count)
{
    unmap_all(container);
    for (unsigned i = 0; i < count; ++i)
        need(map_dma(container, kBoth, vaddr_of(old_memory, i * g), kIova + i * g, g) == 0,
             "MAP_DMA");
}

/* Whether a mapping waits for a vaddr: giving it one succeeds then only. */
static void marked(int container, uint64_t index)
{
    check("M-20 U-11", map_dma(container, kVaddr, vaddr_of(new_memory, 0), kIova + index * g, g),
          "MAP_DMA(vaddr, mapping %" PRIu64 ")", index);
}

static void exchange(int container)
{
    heading("exchange");
    unmap_all(container);
    map("M-20", container, kVaddr, new_memory, 0, kIova, g);
    fresh(container, 1);
    map("M-20", container, kVaddr, new_memory, 0, kIova, g);
    state("M-22", container);
    unmap("U-11", container, kVaddr, kIova, g);
    state("M-22 M-23", container);
    map("M-20", container, kVaddr, new_memory, 0, kIova, 2 * g);
    map("M-20", container, kVaddr, new_memory, 0, kIova - g, 2 * g);
    map("M-20", container, kVaddr, new_memory, 0, kIova - g, g);
    map("M-20 3.1", container, kVaddr | kRead, new_memory, 0, kIova, g);
    map("M-20 3.1", container, kVaddr, new_memory, 512, kIova, g);
    map("M-21 M-23", container, kVaddr, new_memory, 0, kIova, g);
    state("M-22 M-23", container);
    map("M-20", container, kVaddr, new_memory, 0, kIova, g);
    unmap("U-11", container, kVaddr, kIova, g);
    struct memory const nothing = {"no memory", (unsigned char*)(uintptr_t)g, g};
    map("M-21", container, kVaddr, nothing, 0, kIova, g);
    unmap("U-11", container, 0, kIova, g);
    state("M-22 M-23", container);
}

static void twice(int container)
{
    heading("twice");
    fresh(container, 2);
    unmap("U-11", container, kVaddr, kIova, g);
    unmap("U-11 U-1", container, kVaddr, kIova, g);
    marked(container, 0);
    unmap("U-11", container, kVaddr, kIova + g, g);
    unmap("U-11 U-1", container, kVaddr, kIova, 2 * g);
    marked(container, 0);
    marked(container, 1);
    fresh(container, 3);
    unmap("U-11", container, kVaddr, kIova + 2 * g, g);
    unmap("U-11 U-1", container, kVaddr | kAll, 0, 0);
    for (uint64_t i = 0; i < 3; ++i) marked(container, i);
    unmap("U-11 U-5", container, kVaddr | kAll, 0, 0);
    for (uint64_t i = 0; i < 3; ++i) marked(container, i);
}

static void unmapping(int container)
{
    heading("unmapping what waits");
    fresh(container, 2);
    unmap("U-11", container, kVaddr, kIova, g);
    map("U-11", container, kBoth, old_memory, 0, kIova + 4 * g, g);
    unmap("U-11", container, 0, kIova + 4 * g, g);
    unmap("U-11", container, 0, kIova, 2 * g);
    map("M-20", container, kVaddr, new_memory, 0, kIova, g);
    map("U-11", container, kBoth, old_memory, 0, kIova, g);
    map("M-20", container, kVaddr, new_memory, 0, kIova, g);
    unmap("U-11", container, kVaddr | kAll, 0, 0);
    unmap("U-11 U-5", container, kAll, 0, 0);
    unmap("U-11 U-5", container, kVaddr | kAll, 0, 0);
    state("U-11", container);
}

static void bisecting(int container)
{
    heading("bisecting");
    unmap_all(container);
    map("U-3", container, kBoth, old_memory, 0, kIova, 4 * g);
    unmap("U-3 U-11", container, kVaddr, kIova, g);
    unmap("U-3 U-11", container, kVaddr, kIova + g, 3 * g);
    unmap("U-3 U-11", container, kVaddr, kIova + g, g);
    marked(container, 0);
    unmap("U-4 U-11", container, kVaddr, kIova - g, 8 * g);
    unmap("4.2 U-11", container, kVaddr, kIova + 512, g);
    unmap("4.2 U-11", container, kVaddr, kIova, 0);
    map("M-20", container, kVaddr, new_memory, 0, kIova, g);
    map("M-21", container, kVaddr, new_memory, 0, kIova, 4 * g);
    unmap("4.1", container, kVaddr | kBitmap, kIova, 4 * g);
    unmap("U-4 U-11", container, kVaddr, kIova + 64 * g, g);
}

/* Nobody may join while a mapping waits. */
static void joining(unsigned long type)
{
    heading("joining");
    struct place const place = settle(type);
    int const second = open_group(kSecond);
    fresh(place.container, 1);
    unmap("U-11", place.container, kVaddr, kIova, g);
    check("U-11 6.2", set_container(second, place.container),
          "SET_CONTAINER() while a mapping waits");
    map("M-21", place.container, kVaddr, new_memory, 0, kIova, g);
    check("U-11 6.2", set_container(second, place.container), "SET_CONTAINER() while none waits");
    check("G-7", ioctl(second, VFIO_GROUP_UNSET_CONTAINER), "UNSET_CONTAINER()");
    unmap("U-11", place.container, kVaddr, kIova, g);
    check("U-11 6.2", set_container(second, place.container),
          "SET_CONTAINER() while a mapping waits");
    unmap("U-11", place.container, 0, kIova, g);
    check("U-11 6.2", set_container(second, place.container), "SET_CONTAINER() after it has gone");
    check("C-5", ioctl(place.container, VFIO_CHECK_EXTENSION, 10ul), "CHECK_EXTENSION(10)");
    close(second);
    leave(place);
}

static void limited(int container)
{
    heading("without CAP_IPC_LOCK");
    fresh(container, 2);
    ipc_lock(false);
    memlock_limit(0);
    unmap("U-11", container, kVaddr, kIova, g);
    map("M-22", container, kVaddr, new_memory, 0, kIova, g);
    state("M-22", container);
    map("M-22", container, kBoth, new_memory, 0, kIova + 8 * g, g);
    ipc_lock(true);
    unmap_all(container);
}

static void version(unsigned long type)
{
    printf("== v%d\n", type == 1 ? 1 : 2);
    struct place const place = settle(type);
    exchange(place.container);
    twice(place.container);
    unmapping(place.container);
    bisecting(place.container);
    limited(place.container);
    leave(place);
    joining(type);
}

int main(void)
{
    begin();
    struct place const place = settle(3);
    g = granule(place.container);
    leave(place);
    old_memory = touched("old", 8 * g / page());
    new_memory = touched("new", 8 * g / page());
    version(3);
    version(1);
    return finish();
}
