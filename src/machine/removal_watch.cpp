#include "machine/removal_watch.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "base/standstill.hpp"

namespace pinfold::machine {

RemovalWatch::~RemovalWatch()
{
    if (!thread_.started()) return;
    std::uint64_t const one = 1;
    (void)!::write(stop_.get(), &one, sizeof one);
    thread_.join();
}

Result<> RemovalWatch::add(std::filesystem::path const& file, std::string name)
{
    if (!inotify_) inotify_ = UniqueFd{::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)};
    if (!inotify_) return fail(static_cast<Errno>(errno));
    // By its directory: the file itself may be one that can only be written.
    std::error_code unused;
    if (!std::filesystem::exists(file, unused)) return fail(Errno::noent);
    int const watch =
        ::inotify_add_watch(inotify_.get(), file.parent_path().c_str(), IN_MODIFY | IN_ONLYDIR);
    if (watch < 0) return fail(static_cast<Errno>(errno));
    names_[{watch, file.filename().string()}] = std::move(name);
    return {};
}

Result<> RemovalWatch::start()
{
    if (names_.empty()) return {};
    stop_ = UniqueFd{::eventfd(0, EFD_CLOEXEC)};
    if (!stop_) return fail(static_cast<Errno>(errno));
    return thread_.start([this] { run(); });
}

void RemovalWatch::run()
{
    std::array<pollfd, 2> waited{{{.fd = inotify_.get(), .events = POLLIN, .revents = 0},
                                  {.fd = stop_.get(), .events = POLLIN, .revents = 0}}};
    for (;;) {
        if (::poll(waited.data(), waited.size(), -1) < 0 && errno != EINTR) return;
        if (waited[1].revents != 0) return;
        Busy const busy;
        if (Worker::dismissed()) return;
        alignas(inotify_event) std::array<char, 4096> buffer;
        ssize_t const got = ::read(inotify_.get(), buffer.data(), buffer.size());
        for (std::size_t at = 0; got > 0 && at < static_cast<std::size_t>(got);) {
            inotify_event event{};
            std::memcpy(&event, buffer.data() + at, sizeof event);
            // The kernel pads the name with NULs.
            std::string const file{event.len != 0 ? buffer.data() + at + sizeof event : ""};
            at += sizeof event + event.len;
            auto const name = names_.find({event.wd, file});
            if (name != names_.end()) removed_(name->second);
        }
    }
}

}  // namespace pinfold::machine
