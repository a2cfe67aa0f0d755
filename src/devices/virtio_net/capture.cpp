#include "devices/virtio_net/capture.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <ctime>
#include <system_error>

namespace pinfold::devices::virtio_net {

namespace {

// pcap-savefile(5).
struct FileHeader {
    std::uint32_t magic = 0xa1b23c4d;  // nanoseconds, this machine's byte order
    std::uint16_t major = 2, minor = 4;
    std::uint32_t zone = 0, accuracy = 0;
    std::uint32_t longest = 262144;
    std::uint32_t link = 1;  // Ethernet
    bool operator==(FileHeader const&) const = default;
};
static_assert(sizeof(FileHeader) == 24);

struct RecordHeader {
    std::uint32_t seconds, nanoseconds, captured, length;
};

std::unexpected<std::string> refuse(std::string const& path, std::string_view why)
{
    return std::unexpected{fmt::format("pcap {}: {}", path, why)};
}

std::string error_text(int error) { return std::generic_category().message(error); }

// Empty, or begun by a port.
pci::Checked<void> check_contents(int fd, std::string const& path)
{
    struct stat found{};
    if (::fstat(fd, &found) != 0) return refuse(path, error_text(errno));
    if (!S_ISREG(found.st_mode)) return refuse(path, "is no regular file");
    if (found.st_size == 0) return {};
    FileHeader header{.magic = 0};
    if (::pread(fd, &header, sizeof header, 0) == sizeof header && header == FileHeader{})
        return {};
    return refuse(path, "is there, and is no capture that could be continued; remove it first");
}

// A write beyond the limit would end the client (SIGXFSZ).
bool fits(int fd, std::size_t bytes)
{
    rlimit limit{};
    if (::getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return true;
    struct stat now{};
    return ::fstat(fd, &now) == 0 && static_cast<rlim_t>(now.st_size) + bytes <= limit.rlim_cur;
}

}  // namespace

pci::Checked<void> Capture::check(std::string const& path)
{
    UniqueFd const file{::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)};
    if (!file && errno == ENOENT) return {};
    if (!file) return refuse(path, error_text(errno));
    return check_contents(file.get(), path);
}

pci::Checked<Capture> Capture::open(std::string const& path)
{
    constexpr int kFlags = O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    Capture capture;
    capture.file_ = UniqueFd{::open(path.c_str(), kFlags, 0644)};
    if (!capture.file_) return refuse(path, error_text(errno));
    int const fd = capture.file_.get();
    if (auto const usable = check_contents(fd, path); !usable)
        return std::unexpected{usable.error()};
    struct stat found{};
    if (::fstat(fd, &found) == 0 && found.st_size != 0) return capture;
    FileHeader const header;
    if (!fits(fd, sizeof header) || ::write(fd, &header, sizeof header) != sizeof header)
        return refuse(path, error_text(errno));
    return capture;
}

void Capture::record(std::span<std::byte const> frame)
{
    if (!file_) return;
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    auto const size = static_cast<std::uint32_t>(frame.size());
    RecordHeader header{.seconds = static_cast<std::uint32_t>(now.tv_sec),
                        .nanoseconds = static_cast<std::uint32_t>(now.tv_nsec),
                        .captured = size,
                        .length = size};
    std::array<iovec, 2> const parts{
        {{&header, sizeof header}, {const_cast<std::byte*>(frame.data()), frame.size()}}};
    auto const whole = static_cast<ssize_t>(sizeof header + frame.size());
    if (fits(file_.get(), sizeof header + frame.size()) &&
        ::writev(file_.get(), parts.data(), static_cast<int>(parts.size())) == whole)
        return;
    incomplete_ = true;
    file_ = UniqueFd{};
}

}  // namespace pinfold::devices::virtio_net
