#include "preload/status_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <optional>

#include "base/unique_fd.hpp"

namespace pinfold::preload {
namespace {

// The number behind "\nNAME:" and what is between; `start` and `past` are where it stands.
struct Number {
    std::uint64_t value;
    std::size_t start, past;
};
std::optional<Number> number_of(std::string_view status, std::string_view name)
{
    auto const line = status.find(fmt::format("\n{}:\t", name));
    if (line == std::string_view::npos) return std::nullopt;
    std::size_t const start = line + name.size() + 3;
    auto const digit = status.find_first_not_of(' ', start);
    if (digit == std::string_view::npos) return std::nullopt;
    std::uint64_t value = 0;
    auto const read = std::from_chars(status.data() + digit, status.data() + status.size(), value);
    if (read.ec != std::errc{}) return std::nullopt;
    return Number{value, start, static_cast<std::size_t>(read.ptr - status.data())};
}

std::string read_whole(int fd)
{
    std::string text;
    std::array<char, 4096> buffer;
    for (;;) {
        ssize_t const got =
            ::pread(fd, buffer.data(), buffer.size(), static_cast<off_t>(text.size()));
        if (got <= 0) return text;
        text.append(buffer.data(), static_cast<std::size_t>(got));
    }
}

// A descriptor of memory that holds `text`, to be read only, at its start; -1.
UniqueFd readable_copy(std::string_view text)
{
    UniqueFd const memory{::memfd_create("status", MFD_CLOEXEC)};
    if (!memory ||
        ::pwrite(memory.get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size()))
        return {};
    auto const path = fmt::format("/proc/self/fd/{}", memory.get());
    return UniqueFd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
}

}  // namespace

std::string with_locked(std::string_view status, std::uint64_t bytes)
{
    auto const locked = number_of(status, "VmLck");
    if (!locked) return std::string{status};
    return fmt::format("{}{:8}{}", status.substr(0, locked->start), locked->value + bytes / 1024,
                       status.substr(locked->past));
}

void show_locked(int fd, std::uint64_t bytes)
{
    std::string const status = read_whole(fd);
    auto const process = number_of(status, "Tgid");
    if (!process || process->value != static_cast<std::uint64_t>(::getpid())) return;
    UniqueFd const copy = readable_copy(with_locked(status, bytes));
    int const flags = ::fcntl(fd, F_GETFD);
    if (!copy || flags < 0) return;
    (void)::dup3(copy.get(), fd, (flags & FD_CLOEXEC) != 0 ? O_CLOEXEC : 0);
}

}  // namespace pinfold::preload
