// What the test clients share: plain VFIO on the edu device, as any program would write it. These
// programs are not linked with Pinfold; they run under `pinfold run`, and on a real kernel as well.
#pragma once

#include <fcntl.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

constexpr std::uint64_t kPage = 4096;
constexpr char const* kBdf = "0000:00:04.0";

inline int failures = 0;
inline int checks = 0;

// Says which check failed, and goes on.
#define CHECK(...)                                                                         \
    do {                                                                                   \
        ++checks;                                                                          \
        errno = 0;                                                                         \
        if (!(__VA_ARGS__)) {                                                              \
            ++failures;                                                                    \
            std::printf("FAILED line %d: %s (errno %d)\n", __LINE__, #__VA_ARGS__, errno); \
        }                                                                                  \
    } while (false)
// A call that must fail with this errno.
#define CHECK_FAILS(error, ...)                                                                    \
    do {                                                                                           \
        ++checks;                                                                                  \
        errno = 0;                                                                                 \
        auto const result_ = (__VA_ARGS__);                                                        \
        int const errno_ = errno;                                                                  \
        if (result_ != -1 || errno_ != (error)) {                                                  \
            ++failures;                                                                            \
            std::printf("FAILED line %d: %s gave %ld, errno %d, not %s\n", __LINE__, #__VA_ARGS__, \
                        static_cast<long>(result_), errno_, #error);                               \
        }                                                                                          \
    } while (false)

inline int finish()
{
    std::printf("%d checks, %d failed\n", checks, failures);
    return failures == 0 && checks > 0 ? 0 : 1;
}

inline std::string group_node()
{
    char target[256] = {};
    auto const link = std::string{"/sys/bus/pci/devices/"} + kBdf + "/iommu_group";
    if (::readlink(link.c_str(), target, sizeof target - 1) < 0) {
        std::perror(link.c_str());
        std::exit(1);
    }
    return std::string{"/dev/vfio/"} + (std::strrchr(target, '/') + 1);
}

inline int must(int result, char const* what)
{
    if (result >= 0) return result;
    std::perror(what);
    std::exit(1);
}

// A container with the edu device's group and a Type1v2 back end, and the device open.
struct Edu {
    int container, group, device;
    std::uint32_t volatile* registers = nullptr;

    explicit Edu(unsigned long type = VFIO_TYPE1v2_IOMMU)
        : container{must(::open("/dev/vfio/vfio", O_RDWR), "/dev/vfio/vfio")},
          group{must(::open(group_node().c_str(), O_RDWR), "group")},
          device{-1}
    {
        must(::ioctl(group, VFIO_GROUP_SET_CONTAINER, &container), "SET_CONTAINER");
        must(::ioctl(container, VFIO_SET_IOMMU, type), "SET_IOMMU");
        device = must(::ioctl(group, VFIO_GROUP_GET_DEVICE_FD, kBdf), "GET_DEVICE_FD");
        bus_master(true);
        void* const at =
            ::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, device, bar_offset());
        if (at == MAP_FAILED) must(-1, "mmap BAR0");
        registers = static_cast<std::uint32_t volatile*>(at);
    }
    Edu(Edu const&) = delete;
    ~Edu() { close(); }

    void close()
    {
        if (device < 0) return;
        (void)::munmap(const_cast<std::uint32_t*>(registers), kPage);
        (void)::close(device);
        (void)::close(group);
        (void)::close(container);
        device = -1;
    }

    off_t offset(unsigned index) const
    {
        vfio_region_info info{};
        info.argsz = sizeof info;
        info.index = index;
        must(::ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info), "GET_REGION_INFO");
        return static_cast<off_t>(info.offset);
    }
    off_t bar_offset() const { return offset(VFIO_PCI_BAR0_REGION_INDEX); }
    off_t config_offset() const { return offset(VFIO_PCI_CONFIG_REGION_INDEX); }

    void bus_master(bool on) const
    {
        std::uint16_t command = 0;
        off_t const at = config_offset() + 4;
        must(static_cast<int>(::pread(device, &command, sizeof command, at)), "read COMMAND");
        command = static_cast<std::uint16_t>(on ? command | 0x6 : command & ~0x4);
        must(static_cast<int>(::pwrite(device, &command, sizeof command, at)), "write COMMAND");
    }

    int map(void* vaddr, std::uint64_t iova, std::uint64_t size,
            std::uint32_t flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE) const
    {
        vfio_iommu_type1_dma_map map{};
        map.argsz = sizeof map;
        map.flags = flags;
        map.vaddr = reinterpret_cast<std::uint64_t>(vaddr);
        map.iova = iova;
        map.size = size;
        return ::ioctl(container, VFIO_IOMMU_MAP_DMA, &map);
    }
    // The bytes that were unmapped, or -1.
    long unmap(std::uint64_t iova, std::uint64_t size, std::uint32_t flags = 0) const
    {
        vfio_iommu_type1_dma_unmap unmap{};
        unmap.argsz = sizeof unmap;
        unmap.flags = flags;
        unmap.iova = iova;
        unmap.size = size;
        return ::ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap) == 0 ? static_cast<long>(unmap.size)
                                                                     : -1;
    }

    // Copies `size` bytes between `iova` and the device's own 4 KiB, and waits.
    enum class Direction : std::uint64_t { to_device = 0, from_device = 2 };
    void transfer(std::uint64_t iova, std::uint64_t size, Direction direction,
                  std::uint64_t own = 0) const
    {
        bool const out = direction == Direction::from_device;
        std::uint64_t const buffer = 0x40000 + own;
        set(0x80, out ? buffer : iova);
        set(0x88, out ? iova : buffer);
        set(0x90, size);
        set(0x98, 1 | static_cast<std::uint64_t>(direction));
        while ((registers[0x98 / 4] & 1U) != 0) {
        }
    }
    // What one byte at `iova` is, as the device sees it: copied in, and out to `scratch_iova`.
    void set(unsigned at, std::uint64_t value) const
    {
        *reinterpret_cast<std::uint64_t volatile*>(&registers[at / 4]) = value;
    }
};

inline std::uint8_t* memory(std::uint64_t size)
{
    void* const at =
        ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) must(-1, "mmap");
    return static_cast<std::uint8_t*>(at);
}

// MSI of one vector by `event`. What VFIO_DEVICE_SET_IRQS returns.
inline int enable_msi(int device, int event)
{
    alignas(vfio_irq_set) std::array<std::uint8_t, sizeof(vfio_irq_set) + sizeof event> room{};
    auto* const set = reinterpret_cast<vfio_irq_set*>(room.data());
    set->argsz = room.size();
    set->flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
    set->index = VFIO_PCI_MSI_IRQ_INDEX;
    set->count = 1;
    std::memcpy(set->data, &event, sizeof event);
    return ::ioctl(device, VFIO_DEVICE_SET_IRQS, set);
}
