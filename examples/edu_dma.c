/* A VFIO driver in one page: maps memory, lets the edu device copy it out and back, and takes the
 * interrupt. Plain VFIO and nothing else, so the same binary runs on a real kernel (QEMU's -device
 * edu behind an emulated IOMMU) and under `pinfold run -- ./edu_dma 0000:00:04.0`.
 *
 * Exit status: 0 where every step did what it must; 1 with a sentence otherwise. */
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    kLiveness = 0x04,
    kFactorial = 0x08,
    kStatus = 0x20,
    kInterruptStatus = 0x24,
    kAcknowledge = 0x64
};
enum { kSource = 0x80, kDestination = 0x88, kCount = 0x90, kCommand = 0x98 };
enum { kStart = 1, kFromDevice = 2, kInterrupt = 4 };
enum { kSize = 4096 };
static uint64_t const kBuffer = 0x40000; /* the device's own memory, in its address space */
static uint64_t const kIova = 0x100000;

static void fail(char const* what)
{
    fprintf(stderr, "edu_dma: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void require(int true_of_the_device, char const* what)
{
    if (true_of_the_device) return;
    fprintf(stderr, "edu_dma: %s\n", what);
    exit(1);
}

static int open_group(char const* bdf)
{
    char link[256];
    char target[256];
    char node[300];
    snprintf(link, sizeof link, "/sys/bus/pci/devices/%s/iommu_group", bdf);
    ssize_t const length = readlink(link, target, sizeof target - 1);
    if (length < 0) fail(link);
    target[length] = '\0';
    snprintf(node, sizeof node, "/dev/vfio/%s", strrchr(target, '/') + 1);
    int const group = open(node, O_RDWR);
    if (group < 0) fail(node);
    return group;
}

static int open_device(char const* bdf, int* container_out)
{
    int const container = open("/dev/vfio/vfio", O_RDWR);
    if (container < 0) fail("/dev/vfio/vfio");
    int const group = open_group(bdf);
    if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) != 0) fail("VFIO_GROUP_SET_CONTAINER");
    if (ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) != 0) fail("VFIO_SET_IOMMU");
    int const device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf);
    if (device < 0) fail("VFIO_GROUP_GET_DEVICE_FD");
    *container_out = container;
    return device;
}

static uint64_t region_offset(int device, uint32_t index)
{
    struct vfio_region_info info = {.argsz = sizeof info, .index = index};
    if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info) != 0) fail("VFIO_DEVICE_GET_REGION_INFO");
    return info.offset;
}

static void master_the_bus(int device)
{
    uint64_t const command = region_offset(device, VFIO_PCI_CONFIG_REGION_INDEX) + 4;
    uint16_t value = 0;
    if (pread(device, &value, sizeof value, (off_t)command) != sizeof value) fail("read COMMAND");
    value |= 0x4 | 0x2;
    if (pwrite(device, &value, sizeof value, (off_t)command) != sizeof value) fail("write COMMAND");
}

static int bind_interrupt(int device)
{
    int const event = eventfd(0, EFD_CLOEXEC);
    if (event < 0) fail("eventfd");
    char room[sizeof(struct vfio_irq_set) + sizeof event];
    struct vfio_irq_set* const set = (struct vfio_irq_set*)room;
    *set = (struct vfio_irq_set){.argsz = sizeof room,
                                 .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
                                 .index = VFIO_PCI_MSI_IRQ_INDEX,
                                 .count = 1};
    memcpy(set->data, &event, sizeof event);
    if (ioctl(device, VFIO_DEVICE_SET_IRQS, set) != 0) fail("VFIO_DEVICE_SET_IRQS");
    return event;
}

static uint32_t volatile* registers;

static void write64(unsigned offset, uint64_t value)
{
    *(uint64_t volatile*)&registers[offset / 4] = value;
}

static void transfer(int event, uint64_t source, uint64_t destination, uint64_t direction)
{
    write64(kSource, source);
    write64(kDestination, destination);
    write64(kCount, kSize);
    write64(kCommand, kStart | kInterrupt | direction);
    struct pollfd interrupt = {.fd = event, .events = POLLIN};
    require(poll(&interrupt, 1, 5000) == 1, "no interrupt within 5 s");
    uint64_t count = 0;
    if (read(event, &count, sizeof count) != sizeof count) fail("read eventfd");
    require((*(uint64_t volatile*)&registers[kCommand / 4] & kStart) == 0,
            "the transfer did not end");
    registers[kAcknowledge / 4] = registers[kInterruptStatus / 4];
}

int main(int argc, char** argv)
{
    char const* const bdf = argc > 1 ? argv[1] : "0000:00:04.0";
    int container = -1;
    int const device = open_device(bdf, &container);
    master_the_bus(device);
    int const event = bind_interrupt(device);
    registers = mmap(NULL, 0x1000, PROT_READ | PROT_WRITE, MAP_SHARED, device,
                     (off_t)region_offset(device, 0));
    if (registers == MAP_FAILED) fail("mmap BAR0");
    printf("identification %08x\n", registers[0]);
    registers[kLiveness / 4] = 0x12345678;
    printf("liveness %08x\n", registers[kLiveness / 4]);
    registers[kFactorial / 4] = 10;
    while ((registers[kStatus / 4] & 1) != 0) {
    }
    printf("10! is %u\n", registers[kFactorial / 4]);

    unsigned char* const memory =
        mmap(NULL, 2 * kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) fail("mmap");
    for (unsigned i = 0; i < kSize; ++i) memory[i] = (unsigned char)(i * 7 + 3);
    struct vfio_iommu_type1_dma_map map = {
        .argsz = sizeof map,
        .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
        .vaddr = (uint64_t)(uintptr_t)memory,
        .iova = kIova,
        .size = 2 * kSize};
    if (ioctl(container, VFIO_IOMMU_MAP_DMA, &map) != 0) fail("VFIO_IOMMU_MAP_DMA");
    transfer(event, kIova, kBuffer, 0);
    transfer(event, kBuffer, kIova + kSize, kFromDevice);
    require(memcmp(memory, memory + kSize, kSize) == 0, "what came back is not what was sent");
    printf("%d bytes to the device and back\n", kSize);

    struct vfio_iommu_type1_dma_unmap unmap = {
        .argsz = sizeof unmap, .iova = kIova, .size = 2 * kSize};
    if (ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap) != 0) fail("VFIO_IOMMU_UNMAP_DMA");
    printf("unmapped %llu bytes\n", (unsigned long long)unmap.size);
    return 0;
}
