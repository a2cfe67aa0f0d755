/* Locked memory: what is charged, against which limit, and what a failure leaves: rules P-1 to
 * P-10. */
#include <pthread.h>
#include "kinds.h"

static uint64_t p; /* the host's page */

static void charged(char const* rules) { note(rules, "locked %ld", locked()); }

static void exact_limits(int container)
{
    heading("limits to the page");
    struct memory const memory = touched("memory", 8);
    ipc_lock(false);
    uint64_t const limits[] = {0, 1, p - 1, p, p + 1, 2 * p, 3 * p - 1, 3 * p, 3 * p + 1, 4 * p};
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; ++i) {
        memlock_limit(limits[i]);
        for (uint64_t pages = 1; pages <= 4; ++pages) {
            check("P-2 P-3 P-9", map_dma(container, kBoth, vaddr_of(memory, 0), kIova, pages * p),
                  "MAP_DMA(%" PRIu64 " pages, limit %" PRIx64 ")", pages, limits[i]);
            charged("P-9");
            check("P-2 P-3", map_dma(container, kRead, vaddr_of(memory, 0), kIova + 8 * p, p),
                  "MAP_DMA(1 page more)");
            charged("P-9");
            unmap_all(container);
            charged("P-9");
        }
    }
    ipc_lock(true);
    release(memory);
}

static void same_page(int container)
{
    heading("the same page");
    struct memory const memory = touched("memory", 4);
    int const fd = memfd(1);
    struct memory const one = memory_of("one view", 1, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
    struct memory const other = memory_of("other view", 1, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
    close(fd);
    ipc_lock(false);
    memlock_limit(2 * p);
    map("P-6", container, kBoth, memory, 0, kIova, p);
    map("P-6", container, kBoth, memory, 0, kIova + p, p);
    charged("P-6");
    map("P-6", container, kBoth, memory, 0, kIova + 2 * p, p);
    unmap("P-9", container, 0, kIova, p);
    charged("P-9");
    map("P-6", container, kBoth, memory, 0, kIova + 2 * p, p);
    unmap_all(container);
    map("P-6", container, kBoth, one, 0, kIova, p);
    map("P-6", container, kBoth, other, 0, kIova + p, p);
    charged("P-6");
    map("P-6", container, kBoth, one, 0, kIova + 2 * p, p);
    unmap_all(container);
    charged("P-9");
    ipc_lock(true);
    release(memory), release(one), release(other);
}

static void with_mlock(int container)
{
    heading("together with mlock");
    struct memory const memory = touched("memory", 8);
    ipc_lock(false);
    memlock_limit(4 * p);
    check("P-1", mlock(memory.base, 2 * p), "mlock(2 pages)");
    charged("P-1");
    map("P-1", container, kBoth, memory, 0, kIova, 2 * p);
    charged("P-1");
    map("P-1", container, kBoth, memory, 0, kIova + 2 * p, p);
    check("P-1", mlock(memory.base + 4 * p, p), "mlock(1 page more)");
    charged("P-1");
    check("P-1", munlock(memory.base, 2 * p), "munlock(2 pages)");
    charged("P-1");
    map("P-1", container, kBoth, memory, 0, kIova + 2 * p, 2 * p);
    check("P-1", mlock(memory.base + 4 * p, p), "mlock(1 page)");
    charged("P-1");
    unmap("P-1", container, 0, kIova, 2 * p);
    charged("P-1");
    check("P-1", mlock(memory.base + 4 * p, 2 * p), "mlock(2 pages)");
    check("P-1", mlock(memory.base + 6 * p, p), "mlock(1 page more)");
    charged("P-1");
    check("P-1", munlockall(), "munlockall()");
    charged("P-1");
    unmap_all(container);
    charged("P-1");
    ipc_lock(true);
    release(memory);
}

static void capability_(int container)
{
    heading("CAP_IPC_LOCK");
    struct memory const memory = touched("memory", 8);
    memlock_limit(0);
    map("P-4", container, kBoth, memory, 0, kIova, 4 * p);
    charged("P-4");
    ipc_lock(false);
    map("P-4", container, kBoth, memory, 0, kIova + 8 * p, p);
    unmap("P-4", container, 0, kIova, 4 * p);
    charged("P-4");
    map("P-4", container, kBoth, memory, 0, kIova + 8 * p, p);
    ipc_lock(true);
    map("P-4", container, kBoth, memory, 0, kIova + 8 * p, p);
    ipc_lock(false);
    memlock_limit(2 * p);
    map("P-4", container, kBoth, memory, 0, kIova + 16 * p, p);
    map("P-4", container, kBoth, memory, 0, kIova + 24 * p, p);
    charged("P-4");
    memlock_limit(p);
    charged("P-2");
    unmap("P-2", container, 0, kIova + 16 * p, p);
    map("P-2", container, kBoth, memory, 0, kIova + 16 * p, p);
    unmap_all(container);
    map("P-2", container, kBoth, memory, 0, kIova + 16 * p, p);
    unmap_all(container);
    ipc_lock(true);
    release(memory);
}

/* A limit of some pages, a page that is no memory: the error that comes first (M-13), and that
 * nothing stays. */
static void failures(int container)
{
    heading("failures");
    struct memory const area = reserved("area", 8);
    ipc_lock(false);
    for (uint64_t limit = 0; limit <= 4; ++limit)
        for (uint64_t hole = 0; hole <= 4; ++hole) {
            lay_touched(area.base, area.size);
            lay_hole(area.base + hole * p, p);
            memlock_limit(limit * p);
            for (uint64_t pages = 1; pages <= 5; ++pages) {
                check("M-12 M-13 P-9",
                      map_dma(container, kBoth, vaddr_of(area, 0), kIova, pages * p),
                      "MAP_DMA(%" PRIu64 " pages, limit %" PRIu64 ", hole at %" PRIu64 ")", pages,
                      limit, hole);
                state("M-12 P-9", container);
                unmap_all(container);
            }
        }
    ipc_lock(true);
    release(area);
}

/* Which kinds cost nothing: with a limit of 0 those can be mapped. */
static void free_of_charge(struct place place)
{
    heading("free of charge");
    int const device = open_device(place.group, kFirst);
    uint32_t command = 0;
    need(pread(device, &command, 2, ((off_t)7 << 40) + 4) == 2, "COMMAND");
    command |= 2;
    need(pwrite(device, &command, 2, ((off_t)7 << 40) + 4) == 2, "COMMAND");
    kind_device = device;
    struct memory const area = reserved("area", 2);
    ipc_lock(false);
    for (int i = 0; i < kKindCount; ++i)
        for (uint32_t flags = 1; flags <= 3; ++flags)
            for (uint64_t limit = 0; limit <= 1; ++limit) {
                memlock_limit(0); /* so that the kind "locked" is not */
                kKinds[i].lay(area.base, area.size);
                memlock_limit(limit * p);
                check("P-3 P-8 M-15",
                      map_dma(place.container, flags, vaddr_of(area, 0), kIova, 2 * p),
                      "MAP_DMA(flags %x, %s, limit %" PRIu64 ")", flags, kKinds[i].name, limit);
                charged("P-8 M-15");
                unmap_all(place.container);
                charged("P-8 M-15");
            }
    ipc_lock(true);
    memlock_limit(8 * p);
    release(area);
    kind_device = -1;
    close(device);
}

/* Pages in a row that cost and that do not. */
static void mixtures(int container)
{
    heading("mixtures");
    struct memory const area = reserved("area", 8);
    ipc_lock(false);
    for (uint64_t limit = 0; limit <= 8; ++limit)
        for (uint32_t flags = 1; flags <= 3; flags += 2) {
            lay_untouched(area.base, area.size);
            touch(area.base + 1 * p, p);
            touch(area.base + 4 * p, 2 * p);
            memlock_limit(limit * p);
            check("P-8 M-15", map_dma(container, flags, vaddr_of(area, 0), kIova, 8 * p),
                  "MAP_DMA(flags %x, limit %" PRIu64 ")", flags, limit);
            charged("P-8 M-15");
            check("P-8 M-15", map_dma(container, kRead, vaddr_of(area, 0), kIova + 8 * p, 8 * p),
                  "MAP_DMA(read again)");
            charged("P-8 M-15");
            unmap_all(container);
            charged("P-8 M-15");
        }
    ipc_lock(true);
    release(area);
}

static void two_containers(struct place place)
{
    heading("two containers");
    struct place const other = {open_container(), open_group(kSecond)};
    need(set_container(other.group, other.container) == 0 &&
             ioctl(other.container, VFIO_SET_IOMMU, 3ul) == 0,
         "second container");
    struct memory const memory = touched("memory", 4);
    ipc_lock(false);
    memlock_limit(3 * p);
    map("P-6", place.container, kBoth, memory, 0, kIova, 2 * p);
    map("P-6", other.container, kBoth, memory, 0, kIova, 2 * p);
    map("P-6", other.container, kBoth, memory, 0, kIova, p);
    charged("P-6");
    close(other.group);
    charged("G-14 P-9");
    close(other.container);
    unmap_all(place.container);
    charged("P-9");
    ipc_lock(true);
    release(memory);
}

static void two_groups(struct place place)
{
    heading("two groups in one container");
    int const second = open_group(kSecond);
    struct memory const memory = touched("memory", 4);
    map("P-6", place.container, kBoth, memory, 0, kIova, 2 * p);
    check("G-17", set_container(second, place.container), "SET_CONTAINER(second)");
    charged("P-6");
    map("P-6", place.container, kBoth, memory, 0, kIova + 4 * p, 2 * p);
    charged("P-6");
    close(second);
    charged("P-6");
    unmap_all(place.container);
    charged("P-9");
    release(memory);
}

struct work {
    int container;
    uint64_t vaddr;
    int result;
    int error;
};

static void* map_elsewhere(void* argument)
{
    struct work* const work = argument;
    work->result = map_dma(work->container, kBoth, work->vaddr, kIova + 8 * p, 2 * p);
    work->error = errno;
    return NULL;
}

static void threads(int container)
{
    heading("threads");
    struct memory const memory = touched("memory", 4);
    ipc_lock(false);
    memlock_limit(3 * p);
    map("P-5", container, kBoth, memory, 0, kIova, 2 * p);
    struct work work = {.container = container, .vaddr = vaddr_of(memory, 0)};
    pthread_t thread;
    need(pthread_create(&thread, NULL, map_elsewhere, &work) == 0, "pthread_create");
    pthread_join(thread, NULL);
    errno = work.error;
    check("P-5", work.result, "MAP_DMA(in a thread, 2 pages)");
    memlock_limit(4 * p);
    need(pthread_create(&thread, NULL, map_elsewhere, &work) == 0, "pthread_create");
    pthread_join(thread, NULL);
    errno = work.error;
    check("P-5", work.result, "MAP_DMA(in a thread, 2 pages, limit 4)");
    charged("P-5");
    unmap_all(container);
    ipc_lock(true);
    release(memory);
}

int main(void)
{
    begin();
    p = page();
    struct place const place = settle(3);
    charged("P-1");
    exact_limits(place.container);
    same_page(place.container);
    with_mlock(place.container);
    capability_(place.container);
    failures(place.container);
    free_of_charge(place);
    mixtures(place.container);
    two_containers(place);
    two_groups(place);
    threads(place.container);
    leave(place);
    charged("P-9 G-15");
    return finish();
}
