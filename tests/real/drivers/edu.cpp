// A driver of the edu device, compiled by clang with -O3 for the processor that it runs on. Each
// operation below is compiled once and runs twice, on a register of the device and on plain memory:
// both must end with the same values, whatever instruction the compiler has found for it.
#include <fcntl.h>
#include <linux/vfio.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <bit>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <random>
#include <string>

#include "operations.hpp"

namespace {

constexpr unsigned kLiveness = 0x04, kFactorial = 0x08, kStatus = 0x20, kInterruptStatus = 0x24,
                   kAcknowledge = 0x64;
constexpr unsigned kSource = 0x80, kDestination = 0x88, kCount = 0x90, kCommand = 0x98;
constexpr std::uint64_t kBuffer = 0x40000;  // the device's own memory, in its address space
constexpr std::uint64_t kIova = 0x100000;
constexpr std::size_t kBytes = 4096;

void require(bool holds, char const* what)
{
    if (holds) return;
    std::fprintf(stderr, "edu.cpp: %s (errno %d)\n", what, errno);
    std::exit(1);
}

template <class T>
unsigned compare_operations(char volatile* at)
{
    std::mt19937_64 random{1};
    unsigned done = 0;
    auto& reg = *reinterpret_cast<T volatile*>(at);
    for (auto const operation : kOperations<T>)
        for (int round = 0; round < 20; ++round) {
            T const start = round == 0 ? kUsual<T> : static_cast<T>(random());
            T const other = static_cast<T>(random());
            T volatile memory = start;
            reg = start;
            T const expected = operation(memory, other);
            T const got = operation(reg, other);
            if (got == expected && reg == memory) {
                ++done;
                continue;
            }
            std::fprintf(stderr,
                         "edu.cpp: operation %td on %zu bytes, from %llx with %llx: %llx and %llx, "
                         "not %llx and %llx\n",
                         &operation - kOperations<T>, sizeof(T), 0ULL + start, 0ULL + other,
                         0ULL + got, 0ULL + reg, 0ULL + expected, 0ULL + memory);
            std::exit(1);
        }
    return done;
}

// Blocks of 16 bytes go over in whatever the compiler copies them with.
void compare_blocks(char volatile* registers)
{
    std::uint64_t const values[2] = {0x0123456789abcdef, 0xfedcba9876543210};
    auto* const block = const_cast<char*>(registers + kSource);
    std::memcpy(block, values, sizeof values);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    std::uint64_t back[2];
    std::memcpy(back, block, sizeof back);
    require(std::memcmp(values, back, sizeof back) == 0,
            "a block of 16 bytes comes back otherwise");
    auto& real = *reinterpret_cast<double volatile*>(registers + kSource);
    real = 2.5;
    real = real * 3;
    require(real == 7.5, "a double comes back otherwise");
}

struct Device {
    int container;
    int device;
    std::uint64_t bar;  // the offset of its registers in the descriptor
};

std::uint64_t region_offset(int device, std::uint32_t index)
{
    vfio_region_info region{};
    region.argsz = sizeof region;
    region.index = index;
    require(ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &region) == 0,
            "VFIO_DEVICE_GET_REGION_INFO");
    return region.offset;
}

Device open_device(char const* bdf)
{
    auto const link =
        std::filesystem::read_symlink(std::string{"/sys/bus/pci/devices/"} + bdf + "/iommu_group");
    int const container = open("/dev/vfio/vfio", O_RDWR);
    int const group = open(("/dev/vfio" / link.filename()).c_str(), O_RDWR);
    require(container >= 0 && group >= 0, "cannot open the container and the group");
    require(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) == 0, "VFIO_GROUP_SET_CONTAINER");
    require(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) == 0, "VFIO_SET_IOMMU");
    int const device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf);
    require(device >= 0, "VFIO_GROUP_GET_DEVICE_FD");
    std::uint64_t const config = region_offset(device, VFIO_PCI_CONFIG_REGION_INDEX);
    std::uint16_t const command = 0x6;  // memory, bus master
    require(pwrite(device, &command, 2, static_cast<off_t>(config + 4)) == 2, "COMMAND");
    return {container, device, region_offset(device, VFIO_PCI_BAR0_REGION_INDEX)};
}

int bind_interrupt(int device)
{
    int const event = eventfd(0, EFD_CLOEXEC);
    alignas(vfio_irq_set) char room[sizeof(vfio_irq_set) + sizeof event]{};
    auto* const set = new (room) vfio_irq_set;
    set->argsz = sizeof room;
    set->flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
    set->index = VFIO_PCI_MSI_IRQ_INDEX;
    set->start = 0;
    set->count = 1;
    std::memcpy(room + sizeof *set, &event, sizeof event);
    require(ioctl(device, VFIO_DEVICE_SET_IRQS, room) == 0, "VFIO_DEVICE_SET_IRQS");
    return event;
}

template <class T>
T volatile& at(char volatile* registers, unsigned offset)
{
    return *reinterpret_cast<T volatile*>(registers + offset);
}

// Read-modify-writes of registers that do something: liveness reads as the inverse of what was
// written.
void use_registers(char volatile* registers)
{
    auto& liveness = at<std::uint32_t>(registers, kLiveness);
    liveness = 0x0f0f0f0f;
    liveness = liveness ^ 0xff;  // reads f0f0f0f0, writes f0f0f00f
    require(liveness == 0x0f0f0ff0, "liveness is not the inverse of what was written");
    auto& status = at<std::uint32_t>(registers, kStatus);
    status = status | 0x80;
    at<std::uint32_t>(registers, kFactorial) = 10;
    require(at<std::uint32_t>(registers, kFactorial) == 3628800, "10! is something else");
    require((at<std::uint32_t>(registers, kInterruptStatus) & 1) != 0,
            "the factorial raised no interrupt");
    at<std::uint32_t>(registers, kAcknowledge) = at<std::uint32_t>(registers, kInterruptStatus);
    status = status & ~0x80U;
}

void transfer(char volatile* registers, int event, std::uint64_t from, std::uint64_t to,
              std::uint64_t direction)
{
    at<std::uint64_t>(registers, kSource) = from;
    at<std::uint64_t>(registers, kDestination) = to;
    at<std::uint64_t>(registers, kCount) = kBytes;
    at<std::uint64_t>(registers, kCommand) = 1 | direction | 4;
    pollfd interrupt{event, POLLIN, 0};
    require(poll(&interrupt, 1, 30000) == 1, "no interrupt within 30 s");
    std::uint64_t count = 0;
    require(read(event, &count, sizeof count) == sizeof count, "cannot read the eventfd");
    while ((at<std::uint64_t>(registers, kCommand) & 1) != 0) {
    }
    at<std::uint32_t>(registers, kAcknowledge) = at<std::uint32_t>(registers, kInterruptStatus);
}

void copy_both_ways(Device const& opened, char volatile* registers, int event)
{
    auto* const memory = static_cast<unsigned char*>(
        mmap(nullptr, 2 * kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    require(memory != MAP_FAILED, "mmap");
    for (std::size_t i = 0; i < kBytes; ++i)
        memory[i] = static_cast<unsigned char>(i * 7 + i / 256);
    vfio_iommu_type1_dma_map map{};
    map.argsz = sizeof map;
    map.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
    map.vaddr = reinterpret_cast<std::uintptr_t>(memory);
    map.iova = kIova;
    map.size = 2 * kBytes;
    require(ioctl(opened.container, VFIO_IOMMU_MAP_DMA, &map) == 0, "VFIO_IOMMU_MAP_DMA");
    transfer(registers, event, kIova, kBuffer, 0);
    transfer(registers, event, kBuffer, kIova + kBytes, 2);
    require(std::memcmp(memory, memory + kBytes, kBytes) == 0, "the bytes come back otherwise");
}

// A BAR that keeps what is written to it, in units of any size: the null device's.
void use_plain_memory(char const* bdf)
{
    Device const opened = open_device(bdf);
    void* const bar = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, opened.device,
                           static_cast<off_t>(opened.bar));
    require(bar != MAP_FAILED, "cannot map the memory");
    auto* const memory = static_cast<char*>(bar);
    unsigned const done = compare_operations<std::uint8_t>(memory + 0x101) +
                          compare_operations<std::uint16_t>(memory + 0x202) +
                          compare_operations<std::uint32_t>(memory + 0x304) +
                          compare_operations<std::uint64_t>(memory + 0x408);
    for (std::size_t size = 1; size <= 1000; ++size) {
        std::string block(size, '\0');
        for (std::size_t i = 0; i < size; ++i) block[i] = static_cast<char>(i * 13 + size);
        std::string back(size, '\0');
        std::memset(memory + 0x600, 0x55, size + 1);
        std::memcpy(memory + 0x601, block.data(), size);
        std::memcpy(back.data(), memory + 0x601, size);
        require(block == back && memory[0x600] == 0x55, "a block comes back otherwise");
    }
    std::printf("null: %u operations did what they do on memory, and 1000 blocks came back\n",
                done);
}

}  // namespace

int main(int argc, char** argv)
{
    Device const opened = open_device(argc > 1 ? argv[1] : "0000:00:04.0");
    void* const bar = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, opened.device,
                           static_cast<off_t>(opened.bar));
    require(bar != MAP_FAILED, "cannot map the registers");
    auto* const registers = static_cast<char volatile*>(bar);
    int const event = bind_interrupt(opened.device);
    unsigned const on_edu = compare_operations<std::uint32_t>(registers + kSource) +
                            compare_operations<std::uint64_t>(registers + kSource);
    compare_blocks(registers);
    use_registers(registers);
    copy_both_ways(opened, registers, event);
    std::printf(
        "edu: %u operations did what they do on memory; 4096 bytes to the device and back\n",
        on_edu);
    use_plain_memory(argc > 2 ? argv[2] : "0000:00:05.0");
    return 0;
}
