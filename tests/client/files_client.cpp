// VFIO descriptors as files: read(2) and its kin, and what fstat(2) sees. What is expected here is
// what Linux 6.1 and 7.3 do. Prints what failed; exit status 0 where nothing did.
#include <sys/eventfd.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <array>
#include <vector>

#include "vfio_client.hpp"

extern "C" {
ssize_t __read_chk(int fd, void* buffer, std::size_t size, std::size_t room);
int __fxstat(int version, int fd, struct stat* out);
int __fxstatat(int version, int fd, char const* path, struct stat* out, int flags);
}

namespace {

constexpr std::uint32_t kIdentification = 0x010000ed;

int another(Edu const& edu)
{
    return must(::ioctl(edu.group, VFIO_GROUP_GET_DEVICE_FD, kBdf), "GET_DEVICE_FD");
}

std::uint32_t liveness(Edu const& edu)
{
    std::uint32_t value = 0;
    CHECK(::pread(edu.device, &value, 4, edu.bar_offset() + 4) == 4);
    return value;
}

iovec part(void* base, std::size_t size) { return {.iov_base = base, .iov_len = size}; }

void positions()
{
    Edu edu;
    int const fd = another(edu);
    std::uint32_t value = 0;
    CHECK(::read(fd, &value, 4) == 4 && value == kIdentification);
    value = 0x12345678;
    CHECK(::write(fd, &value, 4) == 4 && liveness(edu) == ~0x12345678U);
    // Nothing moves for nothing, for an error, and for who says where.
    void* const volatile low = reinterpret_cast<void*>(0x10);
    CHECK(::read(fd, &value, 0) == 0);
    CHECK_FAILS(EFAULT, ::read(fd, low, 4));
    CHECK(::pread(fd, &value, 4, 4) == 4);
    // A copy of the descriptor has the same position, another of the device its own.
    int const copy = ::dup(fd);
    CHECK(::syscall(SYS_read, copy, &value, 4L) == 4);  // at 8
    int const other = another(edu);
    CHECK(__read_chk(other, &value, 4, 4) == 4 && value == kIdentification);
    value = 0x55;
    CHECK(::syscall(SYS_write, other, &value, 4L) == 4 && liveness(edu) == ~0x55U);
    CHECK(::close(copy) == 0 && ::close(other) == 0);
    // The end of a region is not the beginning of the next.
    std::vector<char> bar(0x200000);
    int const long_reader = another(edu);
    CHECK(::read(long_reader, bar.data(), bar.size()) == 0x100000);
    CHECK_FAILS(EINVAL, ::read(long_reader, &value, 4));
    CHECK_FAILS(EINVAL, ::write(long_reader, &value, 4));
    CHECK(::close(long_reader) == 0);
    for (int const whence : {SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, SEEK_HOLE})
        for (int const ours : {fd, edu.group, edu.container})
            CHECK_FAILS(ESPIPE, ::lseek(ours, 0, whence));
    CHECK_FAILS(EINVAL, ::lseek64(fd, 0, 77));
    CHECK_FAILS(ESPIPE, ::syscall(SYS_lseek, fd, 0L, SEEK_SET));
    CHECK(::close(fd) == 0);
}

void a_child_shares_the_position()
{
    Edu edu;
    int const fd = another(edu);
    std::uint32_t value = 0;
    pid_t const child = ::fork();
    if (child == 0) ::_exit(::read(fd, &value, 4) == 4 && value == kIdentification ? 0 : 1);
    int status = -1;
    CHECK(::waitpid(child, &status, 0) == child && status == 0);
    value = 0xabcd;
    CHECK(::write(fd, &value, 4) == 4 && liveness(edu) == ~0xabcdU);
    CHECK(::close(fd) == 0);
}

void several_parts()
{
    Edu edu;
    int const fd = another(edu);
    std::uint32_t first = 0, second = 0;
    std::array<iovec, 2> const both{part(&first, 4), part(&second, 4)};
    second = 0x77;
    CHECK(::preadv(fd, both.data(), 2, edu.bar_offset()) == 8);
    CHECK(first == kIdentification && second == liveness(edu));
    CHECK(::readv(fd, both.data(), 1) == 4);
    second = 0x1234;
    CHECK(::writev(fd, &both[1], 1) == 4 && liveness(edu) == ~0x1234U);
    second = 0x4321;
    CHECK(::pwritev(fd, &both[1], 1, edu.bar_offset() + 4) == 4 && liveness(edu) == ~0x4321U);
    CHECK(::preadv64(fd, both.data(), 2, edu.config_offset()) == 8 && first == 0x11e81234);
    // It ends with what is not moved whole.
    std::array<iovec, 2> const fault{part(&first, 4), part(nullptr, 4)};
    CHECK(::preadv(fd, fault.data(), 2, edu.bar_offset()) == 4);
    CHECK_FAILS(EFAULT, ::preadv(fd, &fault[1], 1, edu.bar_offset()));
    std::array<iovec, 3> const gaps{part(nullptr, 0), part(&second, 4), part(nullptr, 0)};
    CHECK(::preadv(fd, gaps.data(), 3, edu.bar_offset()) == 4 && second == kIdentification);
    CHECK(::readv(fd, gaps.data(), 0) == 0 && ::readv(fd, gaps.data(), 1) == 0);
    // Flags, and an offset that stands for the position (8 by now).
    CHECK(::preadv2(fd, both.data(), 1, -1, 0) == 4);
    CHECK(::preadv2(fd, both.data(), 1, edu.bar_offset(), RWF_HIPRI) == 4);
    CHECK(::pwritev2(fd, both.data(), 1, -1, 0) == 4);
    CHECK_FAILS(EOPNOTSUPP, ::preadv2(fd, both.data(), 1, edu.bar_offset(), RWF_NOWAIT));
    CHECK_FAILS(EOPNOTSUPP, ::pwritev2(fd, both.data(), 1, edu.bar_offset(), RWF_DSYNC));
    CHECK(::preadv2(fd, both.data(), 0, edu.bar_offset(), RWF_NOWAIT) == 0);
    CHECK(::syscall(SYS_preadv2, fd, both.data(), 2L, edu.bar_offset(), 0L, 0L) == 8);
    CHECK(::syscall(SYS_readv, fd, both.data(), 1L) == 4);
    // What is no list of parts; volatile: the compiler would object.
    int const volatile fewer_than_none = -1;
    int const volatile too_many = 1025;
    auto* const volatile unmapped = reinterpret_cast<iovec*>(0x10);
    auto* const volatile wild_list = reinterpret_cast<iovec*>(0xdead0000dead0000);
    std::array<iovec, 1> const negative{part(&first, static_cast<std::size_t>(-1))};
    CHECK_FAILS(EINVAL, ::readv(fd, negative.data(), 1));
    CHECK_FAILS(EINVAL, ::readv(fd, both.data(), fewer_than_none));
    CHECK_FAILS(EINVAL, ::readv(fd, both.data(), too_many));
    CHECK_FAILS(EINVAL, ::preadv(fd, both.data(), 2, -1));
    CHECK_FAILS(EINVAL, ::pwritev(fd, both.data(), 2, -5));
    CHECK_FAILS(EINVAL, ::preadv2(fd, both.data(), 2, -2, 0));
    CHECK_FAILS(EFAULT, ::readv(fd, unmapped, 1));
    CHECK_FAILS(EFAULT, ::readv(fd, wild_list, 1));
    iovec const wild = part(reinterpret_cast<void*>(0xdead0000dead0000), 4);
    std::array<iovec, 2> const later{part(&first, 4), wild};
    CHECK_FAILS(EFAULT, ::preadv(fd, later.data(), 2, edu.bar_offset()));
    CHECK(::close(fd) == 0);
}

// A container and a group have nothing to read.
void nothing_to_read()
{
    Edu edu;
    std::array<char, 8> bytes{};
    iovec const whole = part(bytes.data(), bytes.size());
    for (int const fd : {edu.container, edu.group}) {
        CHECK_FAILS(EINVAL, ::read(fd, bytes.data(), 4));
        CHECK_FAILS(EINVAL, ::read(fd, bytes.data(), 0));
        CHECK_FAILS(EINVAL, ::write(fd, bytes.data(), 4));
        CHECK_FAILS(EINVAL, ::readv(fd, &whole, 1));
        CHECK_FAILS(EINVAL, ::readv(fd, &whole, 0));
        CHECK_FAILS(EINVAL, ::writev(fd, &whole, 1));
        CHECK_FAILS(EINVAL, ::preadv2(fd, &whole, 1, 0, RWF_NOWAIT));
        CHECK_FAILS(EINVAL, ::pwrite(fd, bytes.data(), 4, 0));
    }
}

// What a descriptor was not opened for is another error. (Where there is no namespace, it is open
// for nothing, and nothing says for what the program wanted it.)
void opened_for_one_way()
{
    char byte = 0;
    int const reader = ::open("/dev/vfio/vfio", O_RDONLY);
    int const writer = ::open("/dev/vfio/vfio", O_WRONLY);
    bool const known = (::fcntl(reader, F_GETFL) & O_PATH) == 0;
    CHECK_FAILS(EINVAL, ::read(reader, &byte, 1));
    CHECK_FAILS(known ? EBADF : EINVAL, ::write(reader, &byte, 1));
    CHECK_FAILS(EINVAL, ::write(writer, &byte, 1));
    CHECK_FAILS(known ? EBADF : EINVAL, ::read(writer, &byte, 1));
    CHECK_FAILS(known ? EBADF : EINVAL, ::pread(writer, &byte, 1, 0));
    CHECK(::close(reader) == 0 && ::close(writer) == 0);
}

void copies_inside_the_kernel()
{
    Edu edu;
    int const null = ::open("/dev/null", O_RDWR);
    std::array<int, 2> pipe{};
    CHECK(::pipe(pipe.data()) == 0);
    for (int const fd : {edu.device, edu.container, edu.group}) {
        CHECK_FAILS(EINVAL, ::sendfile(null, fd, nullptr, 4));
        CHECK_FAILS(EINVAL, ::sendfile(null, fd, nullptr, 0));
        CHECK(::sendfile(fd, null, nullptr, 0) == 0);
        CHECK_FAILS(EBADF, ::sendfile(-1, fd, nullptr, 4));
        CHECK_FAILS(EINVAL, ::splice(fd, nullptr, pipe[1], nullptr, 4, 0));
        CHECK_FAILS(EINVAL, ::splice(pipe[0], nullptr, fd, nullptr, 4, SPLICE_F_NONBLOCK));
        CHECK(::splice(fd, nullptr, pipe[1], nullptr, 0, 0) == 0);
        CHECK_FAILS(EINVAL, ::tee(fd, pipe[1], 4, 0));
        CHECK_FAILS(EINVAL, ::copy_file_range(fd, nullptr, null, nullptr, 4, 0));
        CHECK_FAILS(EBADF, ::copy_file_range(fd, nullptr, -1, nullptr, 4, 0));
    }
    CHECK(::close(null) == 0 && ::close(pipe[0]) == 0 && ::close(pipe[1]) == 0);
}

void looks_anonymous(struct stat const& seen)
{
    int const event = ::eventfd(0, 0);
    struct stat anonymous{};
    CHECK(::fstat(event, &anonymous) == 0);
    CHECK(seen.st_mode == 0600 && seen.st_size == 0 && seen.st_nlink == 1);
    CHECK(seen.st_dev == anonymous.st_dev && seen.st_ino == anonymous.st_ino);
    CHECK(::close(event) == 0);
}

// A device has an inode without a name, of no type, as all have that are not files.
void looks()
{
    Edu edu;
    struct stat seen{};
    struct stat64 large{};
    CHECK(::fstat(edu.device, &seen) == 0);
    looks_anonymous(seen);
    CHECK(::fstat64(edu.device, &large) == 0 && large.st_mode == 0600);
    seen = {};
    CHECK(__fxstat(1, edu.device, &seen) == 0);
    looks_anonymous(seen);
    seen = {};
    CHECK(::fstatat(edu.device, "", &seen, AT_EMPTY_PATH) == 0);
    looks_anonymous(seen);
    seen = {};
    CHECK(__fxstatat(1, edu.device, "", &seen, AT_EMPTY_PATH) == 0);
    looks_anonymous(seen);
    seen = {};
    CHECK(::syscall(SYS_fstat, edu.device, &seen) == 0);
    looks_anonymous(seen);
    CHECK(::syscall(SYS_newfstatat, edu.device, "", &large, AT_EMPTY_PATH) == 0);
    CHECK(large.st_mode == 0600);
    struct statx more{};
    CHECK(::statx(edu.device, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &more) == 0);
    CHECK(more.stx_mode == 0600 && more.stx_size == 0);
    more = {};
    CHECK(::syscall(SYS_statx, edu.device, "", AT_EMPTY_PATH, STATX_MODE, &more) == 0);
    CHECK(more.stx_mode == 0600);
    CHECK_FAILS(ENOTDIR, ::fstatat(edu.device, "x", &seen, 0));
    CHECK_FAILS(ENOENT, ::fstatat(edu.device, "", &seen, 0));
    CHECK(::fcntl(edu.device, F_GETFL) == O_RDWR);
    // Others look like themselves.
    CHECK(::fstat(STDIN_FILENO, &seen) == 0);
    CHECK(::fstatat(AT_FDCWD, ".", &seen, 0) == 0 && S_ISDIR(seen.st_mode));
    CHECK_FAILS(EBADF, ::fstat(-1, &seen));
    CHECK_FAILS(EBADF, ::fstat(1 << 30, &seen));
}

}  // namespace

int main()
{
    positions();
    a_child_shares_the_position();
    several_parts();
    nothing_to_read();
    opened_for_one_way();
    copies_inside_the_kernel();
    looks();
    return finish();
}
