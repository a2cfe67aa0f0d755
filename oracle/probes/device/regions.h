/* Reading, writing and mapping of regions, as no program should. */
#ifndef PINFOLD_ORACLE_DEVICE_REGIONS_H
#define PINFOLD_ORACLE_DEVICE_REGIONS_H
#include "device/access.h"

static inline void access_errors(int device)
{
    heading("reading and writing");
    unsigned char byte[16] = {0};
    void* volatile nowhere = NULL; /* the compiler knows that NULL cannot be read into */
    void* volatile top = (void*)(uintptr_t)-4;
    check("V-17", pread(device, top, 8, region_at(kConfig, 0)), "pread(8 bytes at the top)");
    check("V-17", pwrite(device, top, 8, region_at(kConfig, 0)), "pwrite(8 bytes at the top)");
    for (uint32_t index = 0; index < kRegions + 2; ++index) {
        struct vfio_region_info info = {.argsz = sizeof info, .index = index};
        uint64_t const size =
            ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info) == 0 ? info.size : 0;
        uint64_t const offsets[] = {size - 1, size, size + 1, 0x7fffffffff, 0xffffffffff};
        check("V-17", pread(device, byte, 0, region_at(index, 0)), "pread(region %u, 0 bytes)",
              index);
        check("V-17", pwrite(device, byte, 0, region_at(index, 0)), "pwrite(region %u, 0 bytes)",
              index);
        for (int i = size == 0 ? 1 : 0; i < 5; ++i) {
            if (index == kConfig || i > 0)
                check("V-17", pread(device, byte, 4, region_at(index, offsets[i])),
                      "pread(region %u, place %d)", index, i);
            if (i > 0)
                check("V-17", pwrite(device, byte, 4, region_at(index, offsets[i])),
                      "pwrite(region %u, place %d)", index, i);
        }
    }
    check("V-17", pread(device, byte, 1, (off_t)1 << 62), "pread(beyond all regions)");
    check("V-17", pread(device, byte, 1, -1), "pread(offset -1)");
    check("V-17", pread(device, nowhere, 4, region_at(kConfig, 0)), "pread(region 7, into NULL)");
    check("V-17", pwrite(device, nowhere, 4, region_at(kConfig, 0x3c)),
          "pwrite(region 7, from NULL)");
    check("V-17", pread(device, before_the_edge(2), 4, region_at(kConfig, 0)),
          "pread(region 7, 2 bytes before the edge)");
}

static inline void mapping_errors(int device)
{
    heading("mmap");
    for (uint32_t index = 0; index < kRegions + 1; ++index) {
        struct vfio_region_info info = {.argsz = sizeof info, .index = index};
        uint64_t const size =
            ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info) == 0 ? info.size : 0;
        uint64_t const whole = (size + page() - 1) & ~(page() - 1);
        struct {
            char const* what;
            uint64_t size;
            uint64_t offset;
            int flags;
        } const tries[] = {{"a page", page(), 0, MAP_SHARED},
                           {"whole", whole == 0 ? page() : whole, 0, MAP_SHARED},
                           {"a page too many", whole + page(), 0, MAP_SHARED},
                           {"behind the end", page(), whole, MAP_SHARED},
                           {"private", page(), 0, MAP_PRIVATE},
                           {"a byte", 1, 0, MAP_SHARED}};
        for (size_t i = 0; i < sizeof tries / sizeof tries[0]; ++i) {
            void* const view = mmap(NULL, tries[i].size, PROT_READ | PROT_WRITE, tries[i].flags,
                                    device, region_at(index, tries[i].offset));
            check("V-18", view == MAP_FAILED ? -1 : 0, "mmap(region %u, %s)", index, tries[i].what);
            if (view != MAP_FAILED) munmap(view, tries[i].size);
        }
    }
    void* const odd = (void*)syscall(SYS_mmap, NULL, page(), PROT_READ, MAP_SHARED, device, 512l);
    check("V-18", odd == MAP_FAILED ? -1 : 0, "mmap(offset 512)");
}

#endif
