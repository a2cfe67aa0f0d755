#include "preload/sharing.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "base/standstill.hpp"
#include "base/worker.hpp"

namespace pinfold::preload {
namespace {

// A process may be followed by a program image of the same number, which is another owner.
std::string name_of_ours()
{
    timespec now{};
    (void)::clock_gettime(CLOCK_MONOTONIC, &now);
    auto const moment = static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
                        static_cast<std::uint64_t>(now.tv_nsec);
    return fmt::format("{}.{:x}", ::getpid(), moment);
}

}  // namespace

Sharing::Sharing(Owner& owner, std::filesystem::path directory)
    : owner_{owner}, directory_{std::move(directory)}
{
}

void Sharing::listen()
{
    std::scoped_lock const lock{mutex_};
    if (listener_ >= 0) return;
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    auto path = (directory_ / name_of_ours()).string();
    if (path.size() >= sizeof address.sun_path) return;
    std::ranges::copy(path, std::begin(address.sun_path));
    UniqueFd listener{::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (!listener ||
        ::bind(listener.get(), reinterpret_cast<sockaddr const*>(&address), sizeof address) != 0 ||
        ::listen(listener.get(), SOMAXCONN) != 0)
        return;
    (void)::chmod(path.c_str(), 0666);  // a part of the run may go on as another user
    listener_ = listener.get();
    if (!listen_apart()) {
        listener_ = -1;
        (void)::unlink(path.c_str());
        return;
    }
    (void)listener.release();
    address_ = std::move(path);
}

Result<> Sharing::listen_apart()
{
    return start_unheeding_thread([this] { accept_strangers(); });
}

void Sharing::accept_strangers()
{
    for (;;) {
        pollfd wait{.fd = listener_, .events = POLLIN, .revents = 0};
        if (::poll(&wait, 1, -1) < 0 && errno != EINTR) return;
        Busy const busy;
        if (Worker::dismissed()) return;
        int const fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
        bool const later = errno == EINTR || errno == ECONNABORTED || errno == EAGAIN;
        if (fd < 0 && !later) return;
        if (fd >= 0) (void)start(Connection{UniqueFd{fd}}, {}, Owner::Terms::held);
    }
}

Result<Connection> Sharing::welcome(Owner::Holds files, Owner::Terms terms)
{
    auto ends = TRY(Connection::pair());
    TRY(start(std::move(ends[0]), std::move(files), terms));
    return std::move(ends[1]);
}

Result<> Sharing::start(Connection connection, Owner::Holds files, Owner::Terms terms)
{
    for (auto const file : files) owner_.hold(static_cast<uapi::FileId>(file));
    auto const kept = files;
    auto made = std::make_unique<Guest>(owner_, std::move(connection), std::move(files), terms);
    Guest& guest = *made;
    {
        std::scoped_lock const lock{mutex_};
        guests_.push_back(std::move(made));
    }
    auto const started = serve_apart(guest);
    if (!started) {
        {
            std::scoped_lock const lock{mutex_};
            std::erase_if(guests_, [&](auto const& each) { return each.get() == &guest; });
        }
        for (auto const file : kept) owner_.let_go(static_cast<uapi::FileId>(file));
    }
    return started;
}

Result<> Sharing::serve_apart(Guest& guest)
{
    return start_unheeding_thread([this, &guest] { serve(guest); });
}

void Sharing::serve(Guest& guest)
{
    if (!guest.serve()) return;
    Busy const busy;
    std::scoped_lock const lock{mutex_};
    gone_.push_back(guest.leave_behind());
    std::erase_if(guests_, [&](auto const& each) { return each.get() == &guest; });
}

bool Sharing::any_has_files()
{
    std::scoped_lock const lock{mutex_};
    return std::ranges::any_of(guests_, [](auto const& guest) { return guest->has_files(); });
}

bool Sharing::any_guest()
{
    std::scoped_lock const lock{mutex_};
    return !guests_.empty();
}

bool Sharing::some_have_ended()
{
    std::scoped_lock const lock{mutex_};
    return std::ranges::any_of(guests_, [](auto const& guest) {
        pollfd wait{.fd = guest->descriptor(), .events = 0, .revents = 0};
        return ::poll(&wait, 1, 0) == 1 && (wait.revents & POLLHUP) != 0;
    });
}

void Sharing::settle()
{
    constexpr int kRounds = 5000;  // half a second: a guest's end waits for the calls under way
    for (int round = 0; round < kRounds && some_have_ended(); ++round) (void)::usleep(100);
}

void Sharing::forget(FunctionRef<void(int fd)> close)
{
    for (auto& guest : guests_) {
        close(guest->descriptor());
        (void)guest.release();  // its locks may be held
    }
    guests_.clear();
    if (listener_ >= 0) close(listener_);
    listener_ = -1;
    address_.clear();
    for (auto& process : gone_) (void)process.release();
    gone_.clear();
    mutex_.unlock();
}

bool Sharing::serve_again()
{
    bool all = listener_ < 0 || listen_apart();
    std::scoped_lock const lock{mutex_};
    for (auto const& guest : guests_) all = serve_apart(*guest) && all;
    return all;
}

void Sharing::withdraw_address() const
{
    if (!address_.empty()) (void)::unlink(address_.c_str());
}

}  // namespace pinfold::preload
