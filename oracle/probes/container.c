/* Containers and SET_IOMMU: rules C-1 to C-13. */
#include "probe.h"

static unsigned long const kTypes[] = {0, 1, 2,  3,  4,  5,        6,          7,
                                       8, 9, 10, 11, 99, 1u << 31, 0xffffffff, 0xfffffffffffffff1};
enum { kTypeCount = sizeof kTypes / sizeof kTypes[0] };

static void file(void)
{
    heading("the file");
    int const container =
        check_fd("C-1", open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC), "open(container)");
    int const other =
        check_fd("C-1", open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC), "open(container) again");
    char byte = 0;
    check("C-1", read(container, &byte, 1), "read(container)");
    check("C-1", write(container, &byte, 1), "write(container)");
    void* const view = mmap(NULL, page(), PROT_READ | PROT_WRITE, MAP_SHARED, container, 0);
    check("C-1", view == MAP_FAILED ? -1 : 0, "mmap(container)");
    check("C-1", close(container), "close(container)");
    check("C-1", ioctl(other, VFIO_GET_API_VERSION), "GET_API_VERSION()");
    close(other);
}

static void versions(int container, char const* state)
{
    check("C-2", ioctl(container, VFIO_GET_API_VERSION, 0), "GET_API_VERSION(0) %s", state);
    check("C-2", ioctl(container, VFIO_GET_API_VERSION, ~0ul), "GET_API_VERSION(-1) %s", state);
}

static void extensions(int container, char const* state)
{
    for (unsigned long number = 0; number < 20; ++number)
        check("C-5 C-6", ioctl(container, VFIO_CHECK_EXTENSION, number), "CHECK_EXTENSION(%lu) %s",
              number, state);
    unsigned long const odd[] = {99,          0x7fffffff,  0x80000000,         0xffffffff,
                                 0x100000001, 0x100000009, 0x8000000000000001, ~0ul};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; ++i)
        check("C-5", ioctl(container, VFIO_CHECK_EXTENSION, odd[i]), "CHECK_EXTENSION(0x%lx) %s",
              odd[i], state);
}

/* Every number of VFIO's range but the three that need no back end, with arguments that are no
 * memory. */
static void unknown(char const* rules, int container, char const* state)
{
    for (unsigned number = 0x00; number < 0x100; ++number) {
        if (number >= 0x64 && number <= 0x66) continue;
        unsigned long const request = 0x3b00 | number;
        if (number < 0x60 || number > 0x90) {
            if (ioctl(container, request, 0) == -1 && errno == EINVAL)
                continue; /* the answer of most, unsaid */
            if (errno == ENOTTY) continue;
        }
        check(rules, ioctl(container, request, 0), "0x%lx(NULL) %s", request, state);
        check(rules, ioctl(container, request, 8), "0x%lx(8) %s", request, state);
    }
    check(rules, ioctl(container, 0x3b64u | 0x80000000u, 0), "0x80003b64(NULL) %s", state);
    check(rules, ioctl(container, 0xc0043b71, 0), "0xc0043b71(NULL) %s", state);
}

static void without_group(void)
{
    heading("no group");
    int const container = open_container();
    versions(container, "empty");
    extensions(container, "empty");
    unknown("C-3", container, "empty");
    for (int i = 0; i < kTypeCount; ++i)
        check("C-8", ioctl(container, VFIO_SET_IOMMU, kTypes[i]), "SET_IOMMU(0x%lx) empty",
              kTypes[i]);
    close(container);
}

static void without_backend(void)
{
    heading("a group and no back end");
    struct place const place = settle(0);
    versions(place.container, "unset");
    extensions(place.container, "unset");
    unknown("C-3", place.container, "unset");
    leave(place);
}

static void types(void)
{
    heading("types");
    for (int i = 0; i < kTypeCount; ++i) {
        struct place const place = settle(0);
        check("C-9", ioctl(place.container, VFIO_SET_IOMMU, kTypes[i]), "SET_IOMMU(0x%lx)",
              kTypes[i]);
        check("C-8 C-11", ioctl(place.container, VFIO_SET_IOMMU, kTypes[i]),
              "SET_IOMMU(0x%lx) once more", kTypes[i]);
        check("C-11", ioctl(place.container, VFIO_SET_IOMMU, 3ul), "SET_IOMMU(3) after 0x%lx",
              kTypes[i]);
        check("C-8", ioctl(place.container, VFIO_SET_IOMMU, 1ul), "SET_IOMMU(1) after that");
        leave(place);
    }
}

/* v1 takes an unmap that begins at a mapping and cuts it; v2 refuses it. */
static void versions_differ(unsigned long type)
{
    struct place const place = settle(type);
    uint64_t const g = granule(place.container);
    struct memory const memory = touched("memory", 2 * g / page());
    map("C-10", place.container, kBoth, memory, 0, kIova, 2 * g);
    unmap("C-10 U-6", place.container, 0, kIova, g);
    unmap_all(place.container);
    leave(place);
    release(memory);
}

static void with_backend(unsigned long type, char const* state)
{
    heading(state);
    struct place const place = settle(type);
    versions(place.container, state);
    extensions(place.container, state);
    unknown("C-4", place.container, state);
    leave(place);
}

static void again(void)
{
    heading("the group goes and comes back");
    struct place const place = settle(3);
    check("C-6", ioctl(place.container, VFIO_CHECK_EXTENSION, 10ul),
          "CHECK_EXTENSION(10) with a group");
    check("G-7", ioctl(place.group, VFIO_GROUP_UNSET_CONTAINER), "UNSET_CONTAINER()");
    check("C-6", ioctl(place.container, VFIO_CHECK_EXTENSION, 10ul), "CHECK_EXTENSION(10) without");
    check("C-6", ioctl(place.container, VFIO_CHECK_EXTENSION, 4ul), "CHECK_EXTENSION(4) without");
    check("G-15", ioctl(place.container, VFIO_SET_IOMMU, 3ul), "SET_IOMMU(3) without");
    check("G-15 C-3", ioctl(place.container, VFIO_IOMMU_GET_INFO, NULL), "GET_INFO(NULL) without");
    check("G-4", set_container(place.group, place.container), "SET_CONTAINER()");
    check("G-15 C-3", ioctl(place.container, VFIO_IOMMU_GET_INFO, NULL), "GET_INFO(NULL) unset");
    check("G-15", ioctl(place.container, VFIO_SET_IOMMU, 1ul), "SET_IOMMU(1)");
    check("G-15 C-4", ioctl(place.container, VFIO_IOMMU_GET_INFO, NULL), "GET_INFO(NULL) set");
    leave(place);
}

int main(void)
{
    begin();
    file();
    without_group();
    without_backend();
    types();
    with_backend(1, "v1");
    with_backend(3, "v2");
    versions_differ(1);
    versions_differ(3);
    again();
    return finish();
}
