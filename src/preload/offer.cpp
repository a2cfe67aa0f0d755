#include "preload/offer.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <utility>

namespace pinfold::preload {

void Offer::hand_on(std::span<char> held) const
{
    char* at = held.data();
    char* const end = held.data() + held.size() - 1;
    char before = ':';
    auto const add = [&](int number) {
        auto const written = at < end ? std::to_chars(at + 1, end, number)
                                      : std::to_chars_result{end, std::errc::value_too_large};
        if (written.ec != std::errc{}) return false;
        *at = std::exchange(before, ',');
        at = written.ptr;
        return true;
    };
    at = std::to_chars(at, end, ::getpid()).ptr;
    for (auto const& each : connections_) {
        if (!add(each.get())) break;
        (void)::fcntl(each.get(), F_SETFD, 0);
    }
    if (before == ':') at = held.data();  // none
    *at = '\0';
}

void Offer::keep_back() const
{
    for (auto const& each : connections_) (void)::fcntl(each.get(), F_SETFD, FD_CLOEXEC);
}

Held held_in(std::string_view text)
{
    Held held;
    auto const take = [&](int& number) {
        auto const read = std::from_chars(text.data(), text.data() + text.size(), number);
        if (read.ec != std::errc{}) return false;
        text.remove_prefix(static_cast<std::size_t>(read.ptr - text.data()));
        return true;
    };
    if (!take(held.from)) return {};
    for (char before = ':'; text.starts_with(before); before = ',') {
        text.remove_prefix(1);
        int fd = -1;
        if (!take(fd)) break;
        held.descriptors.push_back(fd);
    }
    return held;
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
