// The interposed calls, one by one, as a client makes them. Prints what failed; exit status 0 where
// nothing did.
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <thread>
#include <vector>

#include "vfio_client.hpp"

namespace {

using Direction = Edu::Direction;

// Before the first VFIO file there is no engine to ask.
void before_the_engine()
{
    auto* const pages = memory(2 * kPage);
    pages[0] = 1;
    CHECK(::mmap(pages, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                 0) == pages);
    CHECK(pages[0] == 0);
    CHECK(::madvise(pages, kPage, MADV_DONTNEED) == 0);
    CHECK(::mremap(pages, 2 * kPage, kPage, 0) == pages);
    CHECK(::mprotect(pages, kPage, PROT_READ) == 0);
    CHECK(::munmap(pages, kPage) == 0);
}

int api_version(int fd) { return ::ioctl(fd, VFIO_GET_API_VERSION); }

int group_status(int fd)
{
    vfio_group_status status{};
    status.argsz = sizeof status;
    return ::ioctl(fd, VFIO_GROUP_GET_STATUS, &status) == 0 ? static_cast<int>(status.flags) : -1;
}

void opening()
{
    auto const node = group_node();
    int const group = ::open(node.c_str(), O_RDWR);
    CHECK(group >= 0);
    CHECK_FAILS(EBUSY, ::open(node.c_str(), O_RDWR));
    CHECK_FAILS(ENOENT, ::open("/dev/vfio/4711", O_RDWR));
    CHECK(::close(group) == 0);
    int const again = ::openat(AT_FDCWD, node.c_str(), O_RDWR | O_CLOEXEC);
    CHECK(again >= 0);
    CHECK((::fcntl(again, F_GETFD) & FD_CLOEXEC) != 0);
    CHECK(::close(again) == 0);

    int const one = ::open("/dev/vfio/vfio", O_RDWR);
    int const other = ::open("/dev/vfio/vfio", O_RDWR);
    CHECK(one >= 0 && other >= 0);
    CHECK(api_version(one) == VFIO_API_VERSION);
    CHECK(::ioctl(one, VFIO_CHECK_EXTENSION, VFIO_TYPE1_IOMMU) == 1);
    CHECK(::ioctl(one, VFIO_CHECK_EXTENSION, VFIO_SPAPR_TCE_IOMMU) == 0);
    CHECK_FAILS(EINVAL, ::ioctl(one, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU));
    CHECK_FAILS(EINVAL, ::ioctl(one, VFIO_IOMMU_MAP_DMA, nullptr));
    CHECK(::close(one) == 0);
    CHECK_FAILS(EBADF, api_version(one));
    CHECK(::close(other) == 0);
    CHECK_FAILS(EBADF, ::close(other));
    CHECK_FAILS(EBADF, api_version(-1));
    CHECK_FAILS(EBADF, api_version(1 << 30));
    CHECK_FAILS(ENOTTY, api_version(::open("/dev/null", O_RDWR)));
}

void names()
{
    int const container = ::open("/dev/vfio/vfio", O_RDWR);
    char link[64];
    char target[256] = {};
    std::snprintf(link, sizeof link, "/proc/self/fd/%d", container);
    CHECK(::readlink(link, target, sizeof target - 1) > 0);
    CHECK(std::string{target} == "/dev/vfio/vfio");
    CHECK(::access("/dev/vfio/vfio", F_OK) == 0);
    char resolved[4096];
    auto const device = std::string{"/sys/bus/pci/devices/"} + kBdf;
    CHECK(::realpath(device.c_str(), resolved) != nullptr);
    CHECK(std::string{resolved} == std::string{"/sys/devices/pinfold/pci0000:00/"} + kBdf);
    struct stat status{};
    CHECK(::stat((device + "/vendor").c_str(), &status) == 0);
    CHECK_FAILS(ENOENT, ::stat("/sys/bus/pci/devices/0000:00:1f.7", &status));
    CHECK(::close(container) == 0);
}

// A device has no name but that of its kind, and a stream that is closed takes its descriptor
// along.
void streams()
{
    {
        Edu edu;
        char target[256] = {};
        auto const link = std::string{"/proc/self/fd/"} + std::to_string(edu.device);
        CHECK(::readlink(link.c_str(), target, sizeof target - 1) > 0);
        CHECK(std::string{target} == "anon_inode:[vfio-device]");
        CHECK(::readlink(link.c_str(), target, 4) == 4);
    }
    std::FILE* const stream = std::fopen("/dev/vfio/vfio", "r+");
    CHECK(stream != nullptr);
    int const fd = ::fileno(stream);
    CHECK(api_version(fd) == VFIO_API_VERSION);
    CHECK(std::fclose(stream) == 0);
    int const null = ::open("/dev/null", O_RDWR);
    CHECK(null == fd);
    CHECK_FAILS(ENOTTY, api_version(null));
    CHECK(::close(null) == 0);
}

void duplicates()
{
    int const container = ::open("/dev/vfio/vfio", O_RDWR);
    int const copy = ::dup(container);
    int const high = ::fcntl(container, F_DUPFD, 200);
    int const closing = ::fcntl(container, F_DUPFD_CLOEXEC, 300);
    CHECK(api_version(copy) == 0 && api_version(high) == 0 && api_version(closing) == 0);
    CHECK(::dup2(container, 400) == 400 && api_version(400) == 0);
    CHECK(::dup3(container, 401, O_CLOEXEC) == 401 && api_version(401) == 0);
    CHECK_FAILS(EINVAL, ::dup3(container, container, 0));
    // A foreign descriptor over one of ours takes the number away from us.
    int const null = ::open("/dev/null", O_RDWR);
    CHECK(::dup2(null, 400) == 400);
    CHECK_FAILS(ENOTTY, api_version(400));
    // A group stays open, and busy, until the last descriptor of it goes.
    int const group = ::open(group_node().c_str(), O_RDWR);
    int const twin = ::dup(group);
    CHECK(::close(group) == 0);
    CHECK_FAILS(EBUSY, ::open(group_node().c_str(), O_RDWR));
    CHECK(group_status(twin) == VFIO_GROUP_FLAGS_VIABLE);
    CHECK(::close(twin) == 0);
    int const fresh = ::open(group_node().c_str(), O_RDWR);
    CHECK(fresh >= 0);
    CHECK(::close_range(3, ~0U, 0) == 0);
    CHECK_FAILS(EBADF, api_version(container));
    int const reopened = ::open(group_node().c_str(), O_RDWR);
    CHECK(reopened >= 0);
    ::closefrom(3);
    CHECK_FAILS(EBADF, group_status(reopened));
}

void reads_and_writes()
{
    Edu edu;
    std::uint32_t ids = 0;
    CHECK(::pread(edu.device, &ids, 4, edu.config_offset()) == 4 && ids == 0x11e81234);
    void* const volatile low =
        reinterpret_cast<void*>(0x10);  // volatile: the compiler would object
    std::array<std::uint8_t, 4096> config{};
    vfio_region_info info{};
    info.argsz = sizeof info;
    info.index = VFIO_PCI_CONFIG_REGION_INDEX;
    CHECK(::ioctl(edu.device, VFIO_DEVICE_GET_REGION_INFO, &info) == 0);
    CHECK(info.size == 256 || info.size == 4096);
    auto const whole = static_cast<ssize_t>(info.size);
    CHECK(::pread64(edu.device, config.data(), info.size, edu.config_offset()) == whole);
    CHECK_FAILS(EFAULT, ::pread(edu.device, config.data(), 4, edu.config_offset() + whole));
    CHECK_FAILS(EFAULT, ::pread(edu.device, low, 4, edu.config_offset()));
    CHECK_FAILS(EFAULT, ::pwrite(edu.device, low, 4, edu.config_offset()));
    CHECK(::pread(edu.device, &ids, 0, edu.config_offset()) == 0);
    CHECK_FAILS(EINVAL, ::pread(edu.device, &ids, 4, off_t{40} << 40));
    CHECK_FAILS(EINVAL, ::pread(edu.container, &ids, 4, 0));
    std::uint32_t value = 0x55aa55aa;
    CHECK(::pwrite(edu.device, &value, 4, edu.bar_offset() + 4) == 4);
    CHECK(::pread(edu.device, &value, 4, edu.bar_offset() + 4) == 4 && value == ~0x55aa55aaU);
    CHECK(edu.registers[1] == ~0x55aa55aaU);
}

void wild_arguments()
{
    Edu edu;
    auto* const wild = reinterpret_cast<void*>(0xdead0000dead0000);
    for (unsigned long request = 100; request < 125; ++request)
        for (int const fd : {edu.container, edu.group, edu.device}) {
            // These take their argument as a number, or do something real whatever it is.
            if (request == 100 || request == 101 || request == 102 || request == 111) continue;
            unsigned long const number = (';' << 8) | request;
            if (fd == edu.group && request == 105) continue;  // UNSET_CONTAINER: the device is open
            CHECK(::ioctl(fd, number, wild) == -1);
            CHECK(::ioctl(fd, number, nullptr) == -1);
        }
    CHECK_FAILS(EBUSY, ::ioctl(edu.group, VFIO_GROUP_UNSET_CONTAINER));
    CHECK_FAILS(EFAULT, ::ioctl(edu.container, VFIO_IOMMU_MAP_DMA, wild));
    vfio_iommu_type1_dma_map map{};
    for (std::uint32_t argsz = 0; argsz < sizeof map; ++argsz) {
        map.argsz = argsz;
        CHECK_FAILS(EINVAL, ::ioctl(edu.container, VFIO_IOMMU_MAP_DMA, &map));
    }
    CHECK_FAILS(ENOTTY, ::ioctl(edu.container, _IO(';', 200)));
    CHECK_FAILS(ENOTTY, ::ioctl(edu.device, _IO(';', 200)));
    CHECK_FAILS(ENOTTY, ::ioctl(edu.group, _IO(';', 200)));
}

void mapping_bars()
{
    Edu edu;
    constexpr std::uint64_t kBar = 1 << 20;
    auto const offset = edu.bar_offset();
    int const zero = must(::open("/dev/zero", O_RDONLY), "/dev/zero");
    CHECK_FAILS(EINVAL, reinterpret_cast<long>(
                            ::mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE, edu.device, offset)));
    CHECK_FAILS(EINVAL, reinterpret_cast<long>(::mmap(nullptr, kPage, PROT_READ, MAP_SHARED,
                                                      edu.device, offset + (1 << 20))));
    CHECK_FAILS(EINVAL, reinterpret_cast<long>(::mmap(nullptr, kPage, PROT_READ, MAP_SHARED,
                                                      edu.device, edu.config_offset())));
    // Over a reservation, as DPDK does it; then a hole in the middle.
    auto* const place = memory(kBar);
    void* const at =
        ::mmap(place, kBar, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, edu.device, offset);
    CHECK(at == place);
    auto* const bar = static_cast<std::uint32_t volatile*>(at);
    CHECK(bar[0] == 0x010000ed);
    bar[1] = 0x0f0f0f0f;
    CHECK(bar[1] == 0xf0f0f0f0 && edu.registers[1] == 0xf0f0f0f0);
    CHECK(::munmap(place + kPage, kPage) == 0);
    bar[1] = 1;
    CHECK(bar[1] == ~1U);
    void* const moved = ::mremap(place, kPage, kPage, MREMAP_MAYMOVE | MREMAP_FIXED, memory(kPage));
    CHECK(moved != MAP_FAILED);
    static_cast<std::uint32_t volatile*>(moved)[1] = 2;
    CHECK(edu.registers[1] == ~2U);
    CHECK(::mprotect(moved, kPage, PROT_READ | PROT_WRITE) == 0);
    static_cast<std::uint32_t volatile*>(moved)[1] = 3;
    CHECK(edu.registers[1] == ~3U);
    CHECK(::munmap(moved, kPage) == 0);
    // What lies beside a BAR changes, also where one call names both.
    auto* const beside = memory(3 * kPage);
    CHECK(::mmap(beside + kPage, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, edu.device,
                 offset) == beside + kPage);
    CHECK(::mprotect(beside, 3 * kPage, PROT_READ) == 0);
    CHECK_FAILS(EFAULT, ::read(zero, beside, 1));
    CHECK_FAILS(EFAULT, ::read(zero, beside + 2 * kPage, 1));
    CHECK(::mprotect(beside, 3 * kPage, PROT_READ | PROT_WRITE) == 0);
    CHECK(::read(zero, beside, 1) == 1 && ::read(zero, beside + 2 * kPage, 1) == 1);
    CHECK(::munmap(beside + 2 * kPage, kPage) == 0);
    CHECK_FAILS(ENOMEM, ::mprotect(beside, 3 * kPage, PROT_READ));
    CHECK_FAILS(EINVAL, ::mprotect(beside + 1, kPage, PROT_READ));
    CHECK(::munmap(beside, 3 * kPage) == 0);
    CHECK(::munmap(place + 2 * kPage, kBar - 2 * kPage) == 0);
    (void)::close(zero);
    // A mapping keeps the device open after its descriptors are closed, as a kernel's would.
    auto* const last = static_cast<std::uint32_t volatile*>(
        ::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, edu.device, offset));
    (void)::close(edu.device);
    last[1] = 4;
    CHECK(last[1] == ~4U);
    CHECK(::munmap(const_cast<std::uint32_t*>(last), kPage) == 0);
}

// A system call reads and writes registers, as it does on Linux.
void bars_as_buffers()
{
    Edu edu;
    auto* const bar = const_cast<std::uint32_t*>(edu.registers);
    int ends[2];
    must(::pipe(ends), "pipe");
    std::uint32_t value = 0x00ff00ff;
    CHECK(::write(ends[1], &value, 4) == 4);
    CHECK(::read(ends[0], &bar[1], 4) == 4);
    CHECK(edu.registers[1] == ~0x00ff00ffU);
    value = 0;
    CHECK(::write(ends[1], bar, 4) == 4);
    CHECK(::read(ends[0], &value, 4) == 4 && value == 0x010000ed);
    // Configuration space into a register, and back out of it.
    CHECK(::pread(edu.device, &bar[1], 4, edu.config_offset()) == 4);
    CHECK(edu.registers[1] == ~0x11e81234U);
    CHECK(::pwrite(edu.device, &bar[1], 4, edu.bar_offset() + 4) == 4);
    CHECK(edu.registers[1] == 0x11e81234U);
    // What is refused is refused first, and what lies beside a BAR is memory.
    CHECK_FAILS(EBADF, ::read(-1, &bar[1], 4));
    CHECK_FAILS(EAGAIN,
                ::fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0 ? ::read(ends[0], &bar[1], 4) : 0);
    auto* const beside = memory(2 * kPage);
    CHECK(::mmap(beside + kPage, kPage, PROT_READ, MAP_SHARED | MAP_FIXED, edu.device,
                 edu.bar_offset()) == beside + kPage);
    std::fill_n(beside + kPage - 4, 4, 0x5a);
    std::array<std::uint32_t, 2> both{};
    CHECK(::write(ends[1], beside + kPage - 4, 8) == 8);
    CHECK(::read(ends[0], both.data(), 8) == 8);
    CHECK(both[0] == 0x5a5a5a5a && both[1] == 0x010000ed);
    // What ends before the BAR needs none of it.
    CHECK(::write(ends[1], "hello", 5) == 5);
    CHECK(::read(ends[0], beside, 2 * kPage) == 5 && std::memcmp(beside, "hello", 5) == 0);
    CHECK(::write(ends[1], &value, 4) == 4);
    CHECK_FAILS(EFAULT, ::read(ends[0], beside + kPage, 4));
    CHECK(::munmap(beside, 2 * kPage) == 0);
    (void)::close(ends[0]);
    (void)::close(ends[1]);
}

// Whatever compilers make of volatile accesses, and what they do not: the processor's own effect.
void instructions()
{
    Edu edu;
    auto* const liveness = const_cast<std::uint32_t*>(&edu.registers[1]);
    std::uint32_t value = 0;
    edu.registers[1] = 0x0f;
    asm volatile("lock orl $0x100, %0"
                 : "+m"(*liveness));  // reads ~0xf, writes what reads as its ~
    CHECK(*const_cast<std::uint32_t volatile*>(liveness) == ~(~0x0fU | 0x100U));
    bool zero = false;
    asm volatile("testl $0x0f, %1" : "=@ccz"(zero) : "m"(*liveness));
    CHECK(zero == ((edu.registers[1] & 0x0f) == 0));
    asm volatile("addl %1, %0" : "+r"(value) : "m"(edu.registers[0]));
    CHECK(value == 0x010000ed);
    // A copy of the identification by a string instruction, and by a vector register.
    std::array<std::uint32_t, 4> copy{};
    void const* from = const_cast<std::uint32_t*>(edu.registers);
    void* to = copy.data();
    std::uint64_t count = 1;
    asm volatile("rep movsl" : "+S"(from), "+D"(to), "+c"(count) : : "memory");
    CHECK(copy[0] == 0x010000ed && count == 0 && to == &copy[1]);
    asm volatile("movups (%1), %%xmm3\n movups %%xmm3, (%0)"
                 :
                 : "r"(copy.data()), "r"(edu.registers)
                 : "xmm3", "memory");
    CHECK(copy[0] == 0x010000ed || copy[0] == 0xffffffff);  // edu knows 4 bytes at a time
}

sigjmp_buf way_out;

// An instruction's own fault is the program's, as it would be on memory.
void faulting_instructions()
{
    Edu edu;
    CHECK(::signal(SIGFPE, [](int) { ::siglongjmp(way_out, 1); }) == SIG_DFL);
    edu.registers[1] = ~0U;  // reads as zero
    bool volatile came_back = false;
    if (sigsetjmp(way_out, 1) == 0) {
        std::uint32_t low = 1;
        std::uint32_t high = 0;
        asm volatile("divl %2" : "+a"(low), "+d"(high) : "m"(edu.registers[1]));
    } else {
        came_back = true;
    }
    CHECK(came_back);
    CHECK(edu.registers[1] == 0);
    CHECK(::signal(SIGFPE, SIG_DFL) != SIG_DFL);
}

// What the device reads at `iova`, by way of its own memory and a second mapping.
std::uint8_t seen_by_device(Edu const& edu, std::uint64_t iova)
{
    static auto* const scratch = memory(kPage);
    constexpr std::uint64_t kScratch = 0x7000000;
    if (edu.map(scratch, kScratch, kPage) != 0) return 0;
    scratch[0] = 0xee;
    edu.transfer(iova, 8, Direction::to_device, 512);
    edu.transfer(kScratch, 8, Direction::from_device, 512);
    (void)edu.unmap(kScratch, kPage);
    return scratch[0];
}

void write_by_device(Edu const& edu, std::uint64_t iova, std::uint8_t value)
{
    static auto* const scratch = memory(kPage);
    constexpr std::uint64_t kScratch = 0x7100000;
    if (edu.map(scratch, kScratch, kPage) != 0) return;
    std::memset(scratch, value, 8);
    edu.transfer(kScratch, 8, Direction::to_device, 1024);
    edu.transfer(iova, 8, Direction::from_device, 1024);
    (void)edu.unmap(kScratch, kPage);
}

std::uint16_t command(Edu const& edu)
{
    std::uint16_t value = 0;
    must(static_cast<int>(::pread(edu.device, &value, 2, edu.config_offset() + 4)), "COMMAND");
    return value;
}
void set_command(Edu const& edu, std::uint16_t value)
{
    must(static_cast<int>(::pwrite(edu.device, &value, 2, edu.config_offset() + 4)), "COMMAND");
}

// A BAR can be mapped for a device as memory can, and costs nothing (rules 3.3 and M-15).
void bars_as_sources()
{
    Edu edu;
    auto* const bar = const_cast<std::uint32_t*>(edu.registers);
    constexpr std::uint64_t kIova = 0x100000;
    CHECK(edu.map(bar, kIova, kPage) == 0);
    CHECK(edu.unmap(kIova, kPage) == kPage);
    CHECK(edu.map(bar, kIova, kPage, VFIO_DMA_MAP_FLAG_READ) == 0);
    // A device's own memory is not there for its own DMA, and nothing hangs.
    edu.transfer(kIova + 4, 4, Direction::from_device);
    CHECK(edu.unmap(kIova, kPage) == kPage);
    std::uint16_t const before = command(edu);
    set_command(edu, static_cast<std::uint16_t>(before & ~2));
    CHECK_FAILS(EFAULT, edu.map(bar, kIova, kPage));
    set_command(edu, before);
    CHECK(edu.map(bar, kIova, kPage) == 0);
    CHECK(edu.unmap(kIova, kPage) == kPage);
    // What the program may not write, a device may not write for it.
    void* const read_only =
        ::mmap(nullptr, kPage, PROT_READ, MAP_SHARED, edu.device, edu.bar_offset());
    CHECK(edu.map(read_only, kIova, kPage, VFIO_DMA_MAP_FLAG_READ) == 0);
    CHECK(edu.unmap(kIova, kPage) == kPage);
    CHECK_FAILS(EFAULT, edu.map(read_only, kIova, kPage));
    (void)::munmap(read_only, kPage);
    // Memory, a BAR and memory again, in one mapping.
    auto* const mixed = memory(3 * kPage);
    CHECK(::mmap(mixed + kPage, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, edu.device,
                 edu.bar_offset()) == mixed + kPage);
    CHECK(edu.map(mixed, kIova, 3 * kPage) == 0);
    mixed[2 * kPage] = 0x21;
    CHECK(seen_by_device(edu, kIova + 2 * kPage) == 0x21);
    CHECK(edu.unmap(kIova, 3 * kPage) == 3 * kPage);
    (void)::munmap(mixed, 3 * kPage);
}

void pins_hold()
{
    Edu edu;
    constexpr std::uint64_t kIova = 0x100000;
    auto* const pages = memory(8 * kPage);
    std::memset(pages, 0x11, 8 * kPage);
    CHECK(edu.map(pages, kIova, 8 * kPage) == 0);
    CHECK(seen_by_device(edu, kIova) == 0x11);

    CHECK(::munmap(pages, kPage) == 0);
    CHECK(seen_by_device(edu, kIova) == 0x11);
    // Something else at the old address is not what the device sees.
    auto* const other = static_cast<std::uint8_t*>(::mmap(
        pages, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
    CHECK(other == pages);
    std::memset(other, 0x22, kPage);
    CHECK(seen_by_device(edu, kIova) == 0x11);
    CHECK(edu.map(other, 0x200000, kPage) == 0);
    CHECK(seen_by_device(edu, 0x200000) == 0x22);
    CHECK(seen_by_device(edu, kIova) == 0x11);

    CHECK(::madvise(pages + kPage, kPage, MADV_DONTNEED) == 0);
    CHECK(pages[kPage] == 0);
    CHECK(seen_by_device(edu, kIova + kPage) == 0x11);
    void* const replaced = ::mmap(pages + 2 * kPage, kPage, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    CHECK(replaced == pages + 2 * kPage);
    CHECK(pages[2 * kPage] == 0);
    CHECK(seen_by_device(edu, kIova + 2 * kPage) == 0x11);
    // A page that is moved takes the device along.
    auto* const moved = static_cast<std::uint8_t*>(
        ::mremap(pages + 3 * kPage, kPage, kPage, MREMAP_MAYMOVE | MREMAP_FIXED, memory(kPage)));
    moved[0] = 0x33;
    CHECK(seen_by_device(edu, kIova + 3 * kPage) == 0x33);
    write_by_device(edu, kIova + 3 * kPage, 0x44);
    CHECK(moved[0] == 0x44);
    // What the program forbids itself does not bind the device (rule M-17).
    CHECK(::mprotect(pages + 4 * kPage, kPage, PROT_NONE) == 0);
    CHECK(seen_by_device(edu, kIova + 4 * kPage) == 0x11);
    write_by_device(edu, kIova + 4 * kPage, 0x55);
    CHECK(::mprotect(pages + 4 * kPage, kPage, PROT_READ) == 0 && pages[4 * kPage] == 0x55);
    CHECK(edu.unmap(kIova, 8 * kPage) == 8 * kPage);
    CHECK(edu.unmap(0x200000, kPage) == kPage);
    CHECK(edu.unmap(kIova, 8 * kPage) == 0);
}

void dma_follows_the_rules()
{
    Edu edu;
    auto* const pages = memory(2 * kPage);
    std::memset(pages, 0x5a, 2 * kPage);
    CHECK(edu.map(pages, 0x100000, kPage, VFIO_DMA_MAP_FLAG_READ) == 0);
    write_by_device(edu, 0x100000, 0x77);
    CHECK(pages[0] == 0x5a);  // a device may not write through a read-only mapping
    edu.bus_master(false);
    edu.transfer(0x100000, 8, Direction::to_device, 2048);
    edu.bus_master(true);
    CHECK(edu.unmap(0x100000, kPage) == kPage);
    CHECK_FAILS(EINVAL, edu.map(pages, 0xfee00000, kPage));
    CHECK_FAILS(EINVAL, edu.map(pages, std::uint64_t{1} << 39, kPage));
    CHECK_FAILS(EFAULT, edu.map(nullptr, 0x100000, kPage));
    CHECK_FAILS(EINVAL, edu.map(pages + 1, 0x100000, kPage));
    CHECK(edu.map(pages, 0x100000, kPage) == 0);
    CHECK_FAILS(EEXIST, edu.map(pages, 0x100000, kPage));
    CHECK(edu.unmap(0, 0, VFIO_DMA_UNMAP_FLAG_ALL) == kPage);
}

bool fired(int event)
{
    pollfd wait{.fd = event, .events = POLLIN, .revents = 0};
    return ::poll(&wait, 1, 0) == 1;
}

void interrupts()
{
    Edu edu;
    int const event = ::eventfd(0, EFD_CLOEXEC);
    CHECK_FAILS(EBADF, enable_msi(edu.device, 999));
    CHECK_FAILS(EINVAL, enable_msi(edu.device, edu.container));
    CHECK(enable_msi(edu.device, event) == 0);
    CHECK(!fired(event));
    edu.registers[0x60 / 4] = 1;
    CHECK(fired(event));
    // The engine holds its own reference: a client that sweeps its descriptors away keeps its
    // interrupts.
    int const twin = ::dup(event);
    (void)::close(event);
    std::uint64_t count = 0;
    CHECK(::read(twin, &count, sizeof count) == sizeof count && count == 1);
    edu.registers[0x64 / 4] = 1;
    edu.registers[0x60 / 4] = 1;
    CHECK(fired(twin));
    (void)::close(twin);
}

void children()
{
    Edu edu;
    pid_t const child = ::fork();
    if (child == 0) {
        int bad = 0;
        bad += api_version(edu.container) != 0;
        errno = 0;
        bad += !(::open(group_node().c_str(), O_RDWR) == -1 && errno == EBUSY);
        int const container = ::open("/dev/vfio/vfio", O_RDWR);
        bad += container < 0 || api_version(container) != 0;
        ::_exit(bad);
    }
    int status = -1;
    (void)::waitpid(child, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(api_version(edu.container) == 0);
    edu.registers[1] = 6;
    CHECK(edu.registers[1] == ~6U);
    // A group is in use as long as a device of it is open, also for other processes.
    CHECK(::close(edu.group) == 0);
    pid_t const third = ::fork();
    if (third == 0) ::_exit(::open(group_node().c_str(), O_RDWR) == -1 && errno == EBUSY ? 0 : 1);
    (void)::waitpid(third, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    edu.close();
    pid_t const other = ::fork();
    if (other == 0) {
        Edu own;
        own.registers[1] = 7;
        ::_exit(own.registers[1] == ~7U ? 0 : 1);
    }
    (void)::waitpid(other, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

// What a vfork()ed child closes, it closes for itself.
void borrowed_memory()
{
    Edu edu;
    pid_t const child = ::vfork();
    if (child == 0) {
        (void)::close(edu.container);
        (void)::close_range(3, ~0U, 0);
        (void)::execlp("true", "true", nullptr);
        ::_exit(127);
    }
    int status = -1;
    (void)::waitpid(child, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(api_version(edu.container) == 0);
    CHECK(edu.map(memory(kPage), 0x100000, kPage) == 0);
    CHECK(edu.unmap(0x100000, kPage) == kPage);
}

void refused_calls_take_nothing()
{
    Edu edu;
    auto* const page = memory(kPage);
    page[0] = 0x66;
    CHECK(edu.map(page, 0x100000, kPage) == 0);
    CHECK_FAILS(EBADF, reinterpret_cast<long>(
                           ::mmap(page, kPage, PROT_READ, MAP_SHARED | MAP_FIXED, 999, 0)));
    CHECK_FAILS(EINVAL,
                reinterpret_cast<long>(::mremap(page, kPage, kPage, MREMAP_FIXED, memory(kPage))));
    CHECK(page[0] == 0x66);
    page[0] = 0x67;
    CHECK(seen_by_device(edu, 0x100000) == 0x67);
}

void threads()
{
    Edu edu;
    constexpr int kThreads = 4;
    constexpr int kRounds = 200;
    std::atomic<int> wrong{0};
    std::vector<std::thread> workers;
    for (int index = 0; index < kThreads; ++index)
        workers.emplace_back([&, index] {
            auto* const pages = memory(16 * kPage);
            std::uint64_t const iova = 0x1000000 * static_cast<std::uint64_t>(index + 1);
            for (int round = 0; round < kRounds; ++round) {
                wrong += edu.map(pages, iova, 16 * kPage) != 0;
                std::uint32_t id = 0;
                wrong += ::pread(edu.device, &id, 4, edu.config_offset()) != 4 || id != 0x11e81234;
                wrong += edu.registers[0] != 0x010000ed;
                edu.registers[1] = static_cast<std::uint32_t>(round);
                int const container = ::open("/dev/vfio/vfio", O_RDWR);
                wrong += container < 0 || ::close(container) != 0;
                wrong += edu.unmap(iova, 16 * kPage) != 16 * static_cast<long>(kPage);
            }
        });
    for (auto& worker : workers) worker.join();
    CHECK(wrong == 0);
}

std::atomic<int> alarms{0};

void signals()
{
    Edu edu;
    struct sigaction action{};
    action.sa_handler = [](int) { alarms += 1; };
    CHECK(::sigaction(SIGUSR1, &action, nullptr) == 0);
    CHECK(::signal(SIGUSR2, SIG_IGN) == SIG_DFL);
    struct sigaction old{};
    CHECK(::sigaction(SIGUSR1, nullptr, &old) == 0 && old.sa_handler == action.sa_handler);
    std::atomic<bool> stop{false};
    pthread_t const target = ::pthread_self();
    std::thread sender{[&] {
        while (!stop) (void)::pthread_kill(target, SIGUSR1);
    }};
    auto* const page = memory(kPage);
    int bad = 0;
    // Until the other thread has had its turns, which a busy machine may keep from it for long.
    for (int round = 0; round < 2000 || (alarms == 0 && round < 1000000); ++round) {
        edu.registers[1] = static_cast<std::uint32_t>(round);
        bad += edu.registers[1] != ~static_cast<std::uint32_t>(round);
        std::uint32_t added = 1;
        asm volatile("lock xaddl %0, %1" : "+r"(added), "+m"(edu.registers[1]));
        bad += added != ~static_cast<std::uint32_t>(round);
        bad += edu.map(page, 0x100000, kPage) != 0;
        bad += edu.unmap(0x100000, kPage) != static_cast<long>(kPage);
    }
    stop = true;
    sender.join();
    CHECK(bad == 0);
    CHECK(alarms > 0);
    // A blocked SIGSEGV must not turn a register access into death.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    CHECK(::pthread_sigmask(SIG_BLOCK, &all, &before) == 0);
    edu.registers[1] = 9;
    CHECK(edu.registers[1] == ~9U);
    CHECK(::pthread_sigmask(SIG_SETMASK, &before, nullptr) == 0);
}

}  // namespace

int main()
{
    ::setvbuf(stdout, nullptr, _IONBF, 0);  // children must not print what their parent has
    before_the_engine();
    opening();
    names();
    streams();
    duplicates();
    reads_and_writes();
    wild_arguments();
    mapping_bars();
    bars_as_buffers();
    instructions();
    faulting_instructions();
    bars_as_sources();
    pins_hold();
    dma_follows_the_rules();
    interrupts();
    children();
    borrowed_memory();
    refused_calls_take_nothing();
    threads();
    signals();
    return finish();
}
