#include "preload/offer.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <charconv>

namespace pinfold::preload {

void Offer::inherit(bool yes) const
{
    for (auto const& each : connections_) (void)::fcntl(each.get(), F_SETFD, yes ? 0 : FD_CLOEXEC);
}

void Offer::name(std::span<char> held) const
{
    char* at = held.data();
    char* const end = held.data() + held.size() - 1;
    for (auto const& each : connections_) {
        char* const start = at;
        if (at != held.data() && at < end) *at++ = ',';
        auto const written = std::to_chars(at, end, each.get());
        if (written.ec != std::errc{}) {
            at = start;
            break;
        }
        at = written.ptr;
    }
    *at = '\0';
}

std::vector<int> descriptors_in(std::string_view held)
{
    std::vector<int> found;
    while (!held.empty()) {
        int fd = -1;
        auto const read = std::from_chars(held.data(), held.data() + held.size(), fd);
        if (read.ec != std::errc{}) break;
        found.push_back(fd);
        held.remove_prefix(static_cast<std::size_t>(read.ptr - held.data()));
        if (!held.empty()) held.remove_prefix(1);
    }
    return found;
}

bool any_inheritable(FunctionRef<bool(int fd)> visit)
{
    int const directory = ::open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) return false;
    bool found = false;
    alignas(dirent64) std::array<char, 2048> buffer;
    ssize_t got = 0;
    while (!found && (got = ::getdents64(directory, buffer.data(), buffer.size())) > 0)
        for (ssize_t at = 0; at < got && !found;) {
            auto const* const entry = reinterpret_cast<dirent64 const*>(buffer.data() + at);
            at += entry->d_reclen;
            std::string_view const name{entry->d_name};
            int fd = -1;
            (void)std::from_chars(name.data(), name.data() + name.size(), fd);
            int const flags = fd < 0 ? -1 : ::fcntl(fd, F_GETFD);
            found = flags >= 0 && (flags & FD_CLOEXEC) == 0 && visit(fd);
        }
    ::close(directory);
    return found;
}

}  // namespace pinfold::preload
