// The smallest probe: shows that a cell boots, that its devices are there and that a mapping works.
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static int open_group(char const* bdf)
{
    char path[128];
    char link[256];
    snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/iommu_group", bdf);
    ssize_t const size = readlink(path, link, sizeof link - 1);
    if (size < 0) return -1;
    link[size] = 0;
    snprintf(path, sizeof path, "/dev/vfio/%s", strrchr(link, '/') + 1);
    return open(path, O_RDWR | O_CLOEXEC);
}

static char const* say(int result) { return result < 0 ? strerrorname_np(errno) : "0"; }

static void show_info(int container)
{
    char buffer[4096] = {0};
    struct vfio_iommu_type1_info* const info = (void*)buffer;
    info->argsz = sizeof buffer;
    printf("GET_INFO %s\n", say(ioctl(container, VFIO_IOMMU_GET_INFO, info)));
    printf("pgsizes 0x%llx cap_offset %u\n", info->iova_pgsizes, info->cap_offset);
    for (unsigned offset = info->cap_offset; offset != 0;) {
        struct vfio_info_cap_header const* const header = (void*)(buffer + offset);
        printf("cap %u at %u\n", header->id, offset);
        if (header->id == VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE) {
            struct vfio_iommu_type1_info_cap_iova_range const* const ranges = (void*)header;
            for (unsigned i = 0; i < ranges->nr_iovas; ++i)
                printf("range 0x%llx 0x%llx\n", ranges->iova_ranges[i].start,
                       ranges->iova_ranges[i].end);
        }
        offset = header->next;
    }
}

static void show_devices(void)
{
    static char const* const devices[] = {"0000:00:04.0", "0000:00:05.0", "0000:00:06.0"};
    for (unsigned i = 0; i < sizeof devices / sizeof *devices; ++i) {
        int const group = open_group(devices[i]);
        printf("%s %s\n", devices[i], say(group));
        if (group >= 0) close(group);
    }
}

int main(int argc, char** argv)
{
    for (int i = 1; i < argc; ++i) printf("argument %s\n", argv[i]);
    show_devices();
    int const container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
    int group = open_group("0000:00:04.0");
    printf("SET_CONTAINER %s\n", say(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container)));
    printf("SET_IOMMU %s\n", say(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU)));
    show_info(container);
    size_t const size = 1 << 20;
    void* const memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(memory, 0x5a, size);
    struct vfio_iommu_type1_dma_map map = {sizeof map, 3, (uintptr_t)memory, 0x10000000, size};
    printf("MAP_DMA %s\n", say(ioctl(container, VFIO_IOMMU_MAP_DMA, &map)));
    printf("again %s\n", say(ioctl(container, VFIO_IOMMU_MAP_DMA, &map)));
    struct vfio_iommu_type1_dma_unmap unmap = {sizeof unmap, 0, 0x10000000, size};
    printf("UNMAP_DMA %s\n", say(ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap)));
    printf("size 0x%llx\n", unmap.size);
    fprintf(stderr, "a word on the error stream\n");
    return 3;
}
