// What a client sees of a host with large pages: page_client BYTES, under a machine of that host
// page. Prints what failed; exit status 0 where nothing did.
#include <malloc.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>

#include <array>
#include <csetjmp>
#include <csignal>
#include <vector>

#include "vfio_client.hpp"

extern "C" int __getpagesize(void);

namespace {

std::uint64_t page = 0;

constexpr int kAnonymous = MAP_PRIVATE | MAP_ANONYMOUS;
constexpr int kReadWrite = PROT_READ | PROT_WRITE;

long map_at(void* address, std::size_t size, int flags, int fd = -1, off_t offset = 0)
{
    return reinterpret_cast<long>(::mmap(address, size, kReadWrite, flags, fd, offset));
}
std::uint8_t* fresh(std::size_t size, int flags = kAnonymous, int fd = -1)
{
    return reinterpret_cast<std::uint8_t*>(map_at(nullptr, size, flags, fd));
}
bool aligned(void const* address) { return reinterpret_cast<std::uint64_t>(address) % page == 0; }

// Whether a 4 KiB page is mapped at all.
bool mapped(void* address)
{
    return ::syscall(SYS_msync, address, 4096UL, static_cast<long>(MS_ASYNC)) == 0;
}

int memory_file(off_t size)
{
    int const fd = ::memfd_create("file", MFD_CLOEXEC);
    return ::ftruncate(fd, size) == 0 ? fd : -1;
}

void sizes()
{
    CHECK(::sysconf(_SC_PAGESIZE) == static_cast<long>(page));
    CHECK(::sysconf(_SC_PAGE_SIZE) == static_cast<long>(page));
    CHECK(::getpagesize() == static_cast<int>(page));
    CHECK(::__getpagesize() == static_cast<int>(page));
    CHECK(::getauxval(AT_PAGESZ) == page);
    CHECK(::getauxval(AT_CLKTCK) != 0);
    struct sysinfo info{};
    CHECK(::sysinfo(&info) == 0);
    CHECK(::sysconf(_SC_PHYS_PAGES) == static_cast<long>(info.totalram * info.mem_unit / page));
    CHECK(::sysconf(_SC_AVPHYS_PAGES) > 0);
    CHECK(::sysconf(_SC_AVPHYS_PAGES) < ::sysconf(_SC_PHYS_PAGES));
    CHECK(::get_phys_pages() == ::sysconf(_SC_PHYS_PAGES));
    CHECK(::sysconf(_SC_NPROCESSORS_CONF) > 0);
    void* const block = ::valloc(1);
    CHECK(aligned(block));
    std::free(block);
}

void placing()
{
    std::vector<std::uint8_t*> places;
    for (std::size_t size : {std::size_t{1}, std::size_t{4096}, page, page + 1, 5 * page}) {
        auto* const at = fresh(size);
        CHECK(aligned(at));
        std::size_t const whole = (size + page - 1) / page * page;
        at[whole - 1] = 1;  // the tail of the last page belongs to the mapping
        CHECK(mapped(at + whole - 4096));
        CHECK(::munmap(at, size) == 0);
        CHECK(!mapped(at) && !mapped(at + whole - 4096));
    }
    // A hint counts from its page's start; where something is, it is a hint and no more.
    auto* const room = fresh(4 * page);
    CHECK(::munmap(room, 4 * page) == 0);
    CHECK(map_at(room + page + 4096, 4096, kAnonymous) == reinterpret_cast<long>(room + page));
    auto* const other = reinterpret_cast<std::uint8_t*>(map_at(room + page, page, kAnonymous));
    CHECK(other != room + page && aligned(other));
    CHECK_FAILS(EEXIST, map_at(room + page, 1, kAnonymous | MAP_FIXED_NOREPLACE));
    CHECK(map_at(room + 2 * page, 1, kAnonymous | MAP_FIXED_NOREPLACE) ==
          reinterpret_cast<long>(room + 2 * page));
    CHECK_FAILS(EINVAL, map_at(room + page + 4096, page, kAnonymous | MAP_FIXED));
    CHECK_FAILS(EINVAL, map_at(room + page + 4096, page, kAnonymous | MAP_FIXED_NOREPLACE));
    CHECK_FAILS(EBADF, map_at(room + 4096, page, MAP_SHARED | MAP_FIXED, 999));
    CHECK_FAILS(EINVAL, map_at(nullptr, 0, kAnonymous));
    CHECK_FAILS(EBADF, map_at(nullptr, page, MAP_SHARED, 999));
    CHECK_FAILS(ENOMEM, map_at(nullptr, ~std::size_t{0} - page, kAnonymous));
    CHECK_FAILS(ENOMEM, map_at(nullptr, ~std::size_t{0}, kAnonymous));
    (void)::munmap(room + page, 2 * page);
    (void)::munmap(other, page);
}

void unmapping_and_protecting()
{
    auto* const at = fresh(4 * page);
    CHECK_FAILS(EINVAL, ::munmap(at + 4096, page));
    CHECK_FAILS(EINVAL, ::munmap(at, 0));
    CHECK(::munmap(at + page, 1) == 0);
    CHECK(!mapped(at + page) && !mapped(at + 2 * page - 4096) && mapped(at + 2 * page));
    CHECK_FAILS(EINVAL, ::mprotect(at + 4096, 4096, PROT_NONE));
    CHECK_FAILS(ENOMEM, ::mprotect(at, 2 * page, PROT_READ));
    CHECK(::mprotect(at, 0, PROT_READ) == 0);
    CHECK(::mprotect(at + 2 * page, 4096, PROT_NONE) == 0);
    // A system call is told of a page that may not be read.
    int const zero = ::open("/dev/zero", O_RDONLY);
    CHECK_FAILS(EFAULT, ::read(zero, at + 3 * page - 1, 1));
    CHECK(::read(zero, at + 3 * page, 1) == 1);
    (void)::close(zero);
    (void)::munmap(at, page);
    (void)::munmap(at + 2 * page, 2 * page);
}

void files()
{
    int const file = memory_file(static_cast<off_t>(3 * page));
    CHECK_FAILS(EINVAL, map_at(nullptr, page, MAP_SHARED, file, 4096));
    auto* const at = reinterpret_cast<std::uint8_t*>(
        map_at(nullptr, page, MAP_SHARED, file, static_cast<off_t>(page)));
    CHECK(aligned(at));
    at[page - 1] = 7;
    std::uint8_t byte = 0;
    CHECK(::pread(file, &byte, 1, static_cast<off_t>(2 * page - 1)) == 1 && byte == 7);
    CHECK(::munmap(at, page) == 0);
    // Behind the end of a file its last page reads as zeros, and the next one is none.
    for (int const sharing : {MAP_SHARED, MAP_PRIVATE}) {
        int const small = memory_file(5000);
        auto* const text = fresh(5000, sharing, small);
        text[4999] = 1;
        text[8192] = 2;
        CHECK(text[8191] == 0 && text[8192] == 2 && text[page - 1] == 0);
        CHECK(::msync(text, page, MS_SYNC) == 0);
        CHECK(::pread(small, &byte, 1, 4999) == 1 && byte == (sharing == MAP_SHARED ? 1 : 0));
        CHECK(::munmap(text, 5000) == 0);
        CHECK(!mapped(text) && !mapped(text + page - 4096));
        auto* const long_one = fresh(2 * page, sharing, small);
        int const zero = ::open("/dev/zero", O_RDONLY);
        CHECK(::read(zero, long_one + page - 1, 1) == 1);
        CHECK_FAILS(EFAULT, ::read(zero, long_one + page, 1));
        (void)::close(zero);
        (void)::munmap(long_one, 2 * page);
        (void)::close(small);
    }
    (void)::close(file);
}

void moving()
{
    auto* const at = fresh(2 * page);
    at[0] = 1;
    at[page] = 2;
    CHECK_FAILS(EINVAL, reinterpret_cast<long>(::mremap(at + 4096, page, page, MREMAP_MAYMOVE)));
    CHECK_FAILS(EINVAL, reinterpret_cast<long>(::mremap(at, page, 0, MREMAP_MAYMOVE)));
    auto* const target = fresh(4 * page);
    CHECK_FAILS(EINVAL, reinterpret_cast<long>(::mremap(
                            at, page, page, MREMAP_MAYMOVE | MREMAP_FIXED, target + 4096)));
    // Sizes within one page are one size.
    CHECK(::mremap(at, 2 * page - 5, page + 1, 0) == at);
    CHECK(mapped(at + 2 * page - 4096));
    auto* const wall = reinterpret_cast<std::uint8_t*>(
        map_at(at + 2 * page, page, kAnonymous | MAP_FIXED_NOREPLACE));
    auto* const moved =
        static_cast<std::uint8_t*>(::mremap(at, 2 * page, 3 * page + 1, MREMAP_MAYMOVE));
    CHECK(moved != MAP_FAILED && aligned(moved) && moved[0] == 1 && moved[page] == 2);
    moved[4 * page - 1] = 3;
    CHECK(::mremap(moved, 4 * page, page, 0) == moved);
    CHECK(!mapped(moved + page));
    CHECK(::mremap(moved, page, page, MREMAP_MAYMOVE | MREMAP_FIXED, target) == target);
    CHECK(target[0] == 1);
    CHECK_FAILS(EFAULT, reinterpret_cast<long>(::mremap(moved, page, 2 * page, MREMAP_MAYMOVE)));
    if (reinterpret_cast<long>(wall) > 0) (void)::munmap(wall, page);
    (void)::munmap(target, 4 * page);
}

void advice_and_residence()
{
    auto* const at = fresh(3 * page);
    at[page] = 1;
    at[2 * page - 1] = 1;
    CHECK_FAILS(EINVAL, ::madvise(at + 4096, page, MADV_DONTNEED));
    std::array<unsigned char, 3> resident{9, 9, 9};
    CHECK(::mincore(at, 2 * page + 1, resident.data()) == 0);
    CHECK(resident[0] == 0 && resident[1] == 1 && resident[2] == 0);
    CHECK_FAILS(EINVAL, ::mincore(at + 4096, page, resident.data()));
    CHECK_FAILS(EFAULT, ::mincore(at, page, nullptr));
    CHECK(::madvise(at + page, 1, MADV_DONTNEED) == 0);
    CHECK(at[page] == 0 && at[2 * page - 1] == 0);
    CHECK(::madvise(at, 0, MADV_DONTNEED) == 0);
    CHECK(::posix_madvise(at + 4096, page, POSIX_MADV_WILLNEED) == EINVAL);
    CHECK(::posix_madvise(at, page, POSIX_MADV_WILLNEED) == 0);
    CHECK_FAILS(EINVAL, ::msync(at + 4096, page, MS_SYNC));
    CHECK(::msync(at, page, MS_SYNC) == 0);
    CHECK(::munmap(at + 2 * page, page) == 0);
    CHECK_FAILS(ENOMEM, ::msync(at, 2 * page + 1, MS_SYNC));
    CHECK_FAILS(ENOMEM, ::mincore(at, 2 * page + 1, resident.data()));
    (void)::munmap(at, 2 * page);
}

// VmLck as /proc/self/status has it, in bytes.
std::uint64_t locked()
{
    std::FILE* const status = std::fopen("/proc/self/status", "r");
    char line[256];
    unsigned long kib = 0;
    while (std::fgets(line, sizeof line, status) != nullptr)
        if (std::sscanf(line, "VmLck: %lu kB", &kib) == 1) break;
    (void)std::fclose(status);
    return kib * 1024;
}

void locking()
{
    std::uint64_t const before = locked();
    auto* const at = fresh(2 * page);
    CHECK(::mlock(at + page - 1, 2) == 0);
    CHECK(locked() == before + 2 * page);
    CHECK(::munlock(at, 1) == 0);
    CHECK(locked() == before + page);
    CHECK(::munlock(at + page, page) == 0);
    CHECK(::mlock2(at + 5, 1, MLOCK_ONFAULT) == 0);
    CHECK(locked() == before + page);
    CHECK(::munmap(at, 2 * page) == 0);
    CHECK(locked() == before);
    // What malloc() gives has no page of ours around it.
    void* const block = std::malloc(100);
    CHECK(::mlock(block, 100) == 0 && ::munlock(block, 100) == 0);
    std::free(block);
}

void mapping_for_a_device()
{
    Edu edu;
    vfio_iommu_type1_info info{};
    info.argsz = sizeof info;
    CHECK(::ioctl(edu.container, VFIO_IOMMU_GET_INFO, &info) == 0);
    CHECK((info.iova_pgsizes & (page | (page - 1))) == page);
    auto* const at = fresh(2 * page);
    std::memset(at, 0x11, 2 * page);
    CHECK_FAILS(EINVAL, edu.map(at, 0x100000, 4096));
    CHECK_FAILS(EINVAL, edu.map(at + 4096, 0x100000, page));
    CHECK_FAILS(EINVAL, edu.map(at, 0x101000, page));
    CHECK(edu.map(at, 0x100000, 2 * page) == 0);
    edu.transfer(0x100000 + page - 64, 128, Edu::Direction::to_device);
    edu.transfer(0x100000 + 2 * page - 128, 128, Edu::Direction::from_device);
    // What is unmapped while it is pinned stays there for the device.
    CHECK(::munmap(at + page, 1) == 0);
    edu.transfer(0x100000 + 2 * page - 128, 8, Edu::Direction::to_device, 256);
    edu.transfer(0x100000, 8, Edu::Direction::from_device, 256);
    CHECK(at[0] == 0x11);
    CHECK(edu.unmap(0x100000, 2 * page) == static_cast<long>(2 * page));
    // A file's last page is a page to pin.
    int const small = memory_file(100);
    auto* const text = fresh(page, MAP_SHARED, small);
    CHECK(edu.map(text, 0x100000, page) == 0);
    text[0] = 0x77;
    edu.transfer(0x100000, 8, Edu::Direction::to_device, 512);
    CHECK(::munmap(text, page) == 0);
    edu.transfer(0x100000 + page - 8, 8, Edu::Direction::from_device, 512);
    CHECK(edu.unmap(0x100000, page) == static_cast<long>(page));
    (void)::close(small);
    // A BAR's mapping is of whole pages too.
    auto* const place = fresh(2 * page);
    auto* const bar = static_cast<std::uint32_t volatile*>(
        ::mmap(place, 4096, kReadWrite, MAP_SHARED | MAP_FIXED, edu.device, edu.bar_offset()));
    CHECK(bar == static_cast<void*>(place) && bar[0] == 0x010000ed);
    CHECK(aligned(const_cast<std::uint32_t*>(edu.registers)));
    CHECK_FAILS(EINVAL, map_at(nullptr, page, MAP_SHARED, edu.device, edu.bar_offset() + 4096));
    CHECK(::munmap(place, 2 * page) == 0);
}

}  // namespace

int main(int, char** argv)
{
    ::setvbuf(stdout, nullptr, _IONBF, 0);
    page = std::strtoull(argv[1], nullptr, 10);
    sizes();
    placing();
    unmapping_and_protecting();
    files();
    moving();
    advice_and_residence();
    locking();
    mapping_for_a_device();
    return finish();
}
