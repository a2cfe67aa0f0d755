#include "devices/nvme/disk_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <limits>

namespace pinfold::devices::nvme {
namespace {

constexpr auto kBusy = "is busy: another program or a file system uses it";

std::unexpected<std::string> refuse(std::string const& path, std::string_view why)
{
    return std::unexpected{fmt::format("disk {}: {}", path, why)};
}

std::string error_text(int error) { return std::generic_category().message(error); }

std::string_view kind_of(mode_t mode)
{
    switch (mode & S_IFMT) {
        case S_IFDIR: return "a directory";
        case S_IFCHR: return "a character device";
        case S_IFIFO: return "a pipe";
        case S_IFSOCK: return "a socket";
        default: return "a special file";
    }
}

// Above the numbers that a client counts on getting, below its limit. The original if there is no
// room.
UniqueFd out_of_the_way(UniqueFd fd)
{
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return fd;
    auto const floor = static_cast<int>(std::min<rlim_t>(limit.rlim_cur, 4096) / 4 * 3);
    UniqueFd high{::fcntl(fd.get(), F_DUPFD_CLOEXEC, floor)};
    return high ? std::move(high) : std::move(fd);
}

// A write beyond it would kill the client (SIGXFSZ), however long the file is already.
off_t file_size_limit()
{
    constexpr auto kNone = std::numeric_limits<off_t>::max();
    rlimit limit{};
    if (::getrlimit(RLIMIT_FSIZE, &limit) != 0) return kNone;
    return limit.rlim_cur > static_cast<rlim_t>(kNone) ? kNone : static_cast<off_t>(limit.rlim_cur);
}

// A byte of the file that stands for something and nothing stored there, as QEMU's tools use them:
// 100 + n says "I do n", 200 + n says "nobody else may", and both are held as read locks.
enum Promise : off_t {
    kReads = 100,
    kWrites = 101,
    kResizes = 103,
    kNoOtherReader = 200,
    kNoOtherWriter = 201,
    kNoOtherResizer = 203,
};

struct flock bytes(short type, off_t start, off_t size)
{
    struct flock lock{};
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    lock.l_start = start;
    lock.l_len = size;
    return lock;
}

bool held_by_others(int fd, Promise promise)
{
    auto lock = bytes(F_WRLCK, promise, 1);
    return ::fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

bool lock_bytes(int fd, short type, off_t start, off_t size)
{
    auto lock = bytes(type, start, size);
    // A file system without locks cannot tell who else is there.
    return ::fcntl(fd, F_OFD_SETLK, &lock) == 0 || (errno != EAGAIN && errno != EACCES);
}

bool lock_for_reading(int fd)
{
    for (auto const promise : {kReads, kNoOtherWriter, kNoOtherResizer}) {
        if (!lock_bytes(fd, F_RDLCK, promise, 1)) return false;
    }
    return !held_by_others(fd, kWrites) && !held_by_others(fd, kResizes) &&
           !held_by_others(fd, kNoOtherReader);
}

}  // namespace

pci::Checked<DiskFile> open_disk_file(std::string const& path, DiskAccess access, Claim claim)
{
    struct stat status{};
    if (::stat(path.c_str(), &status) != 0) return refuse(path, error_text(errno));
    if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode)) {
        return refuse(path, fmt::format("is {}; a disk is a regular file or a block device",
                                        kind_of(status.st_mode)));
    }
    int mode = access == DiskAccess::read_only ? O_RDONLY : O_RDWR;
    if (claim == Claim::sole_writer && S_ISBLK(status.st_mode)) mode |= O_EXCL;
    UniqueFd fd{::open(path.c_str(), mode | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)};
    if (!fd && errno == EBUSY) return refuse(path, kBusy);
    if (!fd) {
        auto const hint = access == DiskAccess::read_write &&
                                  (errno == EACCES || errno == EROFS || errno == EPERM)
                              ? " (readonly=yes needs no right to write)"
                              : "";
        return refuse(path, error_text(errno) + hint);
    }
    auto const size = ::lseek(fd.get(), 0, SEEK_END);
    if (access == DiskAccess::read_write && S_ISREG(status.st_mode) && size > file_size_limit()) {
        return refuse(
            path, "is larger than the file size limit; raise it (ulimit -f) or say readonly=yes");
    }
    if (size < 0) return refuse(path, error_text(errno));
    if (size == 0) {
        return refuse(path, "is empty; give it a size first, such as truncate -s 1G FILE");
    }
    return DiskFile{out_of_the_way(std::move(fd)), static_cast<std::uint64_t>(size)};
}

pci::Checked<UniqueFd> lock_disk(std::string const& path, DiskAccess access)
{
    auto const claim = access == DiskAccess::read_only ? Claim::none : Claim::sole_writer;
    auto file = open_disk_file(path, access, claim);
    if (!file) return std::unexpected{std::move(file.error())};
    auto const fd = file->fd.get();
    auto const locked =
        access == DiskAccess::read_only ? lock_for_reading(fd) : lock_bytes(fd, F_WRLCK, 0, 0);
    if (!locked) return refuse(path, kBusy);
    return std::move(file->fd);
}

}  // namespace pinfold::devices::nvme
