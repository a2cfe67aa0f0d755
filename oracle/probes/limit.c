/* The limit on the number of mappings (K-3, I-14, and its place in 3.1): maps one page until no
 * more are left. */
#include "probe.h"

static uint64_t g;

static void exhaust(int container, struct memory memory)
{
    long const available = dma_available(container);
    note("K-3 I-14", "available %ld", available);
    long made = 0;
    while (made < available + 2 &&
           map_dma(container, kRead, vaddr_of(memory, 0), (uint64_t)(2 * made + 2) * g, g) == 0)
        ++made;
    note("K-3 U-12", "made %ld of %ld", made, available);
    state("K-3 I-14", container);
}

static void at_the_limit(int container, struct memory memory)
{
    map("3.1 K-3", container, kRead, memory, 0, 3 * g, g);
    map("3.1 M-1", container, kRead, memory, 0, 2 * g, g);
    map("3.1 M-1", container, kRead, memory, 0, 1 * g, 2 * g);
    struct iova_range ranges[2];
    need(iova_ranges(container, ranges, 2) >= 1, "IOVA ranges");
    map("3.1 M-1", container, kRead, memory, 0, ranges[0].last + 1, g);
    map("3.1 M-1", container, kRead, memory, 0, 3 * g + 512, g);
    map("3.1 M-1", container, kRead, memory, 0, 3 * g, 0);
    map("3.1 M-1", container, 8, memory, 0, 3 * g, g);
    struct memory const nothing = {"no memory", (unsigned char*)(uintptr_t)g, g};
    map("3.1 M-1", container, kRead, nothing, 0, 3 * g, g);
    unmap("U-11", container, VFIO_DMA_UNMAP_FLAG_VADDR, 2 * g, g);
    map("M-23", container, kVaddr, memory, 0, 2 * g, g);
    unmap("U-12", container, 0, 2 * g, g);
    map("M-12 K-3", container, kRead, nothing, 0, 3 * g, g);
    state("M-12 K-3", container);
    map("U-12", container, kRead, memory, 0, 3 * g, g);
    map("K-3", container, kRead, memory, 0, 2 * g, g);
    state("K-3", container);
}

int main(void)
{
    begin();
    struct place const place = settle(3);
    g = granule(place.container);
    struct memory const memory = touched("memory", 2 * g / page());
    exhaust(place.container, memory);
    at_the_limit(place.container, memory);
    unmap("U-3 U-5 U-12", place.container, kAll, 0, 0);
    state("K-3 U-12", place.container);
    exhaust(place.container, memory);
    check("G-15", ioctl(place.group, VFIO_GROUP_UNSET_CONTAINER), "UNSET_CONTAINER()");
    note("G-15", "locked %ld", locked());
    leave(place);
    return finish();
}
