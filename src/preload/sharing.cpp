#include "preload/sharing.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <system_error>
#include <thread>

namespace pinfold::preload {
namespace {

// No signal is delivered to a thread that is made while one of these lives.
class Deaf {
public:
    Deaf()
    {
        sigset_t all;
        (void)::sigfillset(&all);
        (void)::pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    ~Deaf() { (void)::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    Deaf(Deaf const&) = delete;
    Deaf& operator=(Deaf const&) = delete;

private:
    sigset_t before_;
};

// Faults are never blocked: the engine's own copies rely on them.
void hear_faults()
{
    sigset_t faults;
    (void)::sigemptyset(&faults);
    for (int const signal : {SIGSEGV, SIGBUS, SIGFPE}) (void)::sigaddset(&faults, signal);
    (void)::pthread_sigmask(SIG_UNBLOCK, &faults, nullptr);
}

template <class Body>
Result<> start_thread(Body body)
{
    Deaf const deaf;
    try {
        std::thread{std::move(body)}.detach();
        return {};
    } catch (std::system_error const&) {
        return fail(Errno::again);
    }
}

}  // namespace

Sharing::Sharing(Owner& owner, std::filesystem::path directory)
    : owner_{owner}, directory_{std::move(directory)}
{
}

void Sharing::listen()
{
    std::scoped_lock const lock{mutex_};
    if (std::exchange(listening_, true)) return;
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    auto const path = (directory_ / fmt::format("{}", ::getpid())).string();
    if (path.size() >= sizeof address.sun_path) return;
    std::ranges::copy(path, std::begin(address.sun_path));
    (void)::unlink(path.c_str());  // of a process that had our number
    UniqueFd listener{::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)};
    if (!listener ||
        ::bind(listener.get(), reinterpret_cast<sockaddr const*>(&address), sizeof address) != 0 ||
        ::listen(listener.get(), SOMAXCONN) != 0)
        return;
    (void)::chmod(path.c_str(), 0666);  // a part of the run may go on as another user
    int const fd = listener.get();
    if (!start_thread([this, fd] { accept_strangers(fd); })) return;
    descriptors_.push_back(listener.release());
}

void Sharing::accept_strangers(int listener)
{
    for (;;) {
        int const fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
        if (fd < 0 && errno != EINTR && errno != ECONNABORTED) return;
        if (fd >= 0) (void)start(Connection{UniqueFd{fd}}, {});
    }
}

Result<Connection> Sharing::welcome(Owner::Holds holds)
{
    auto ends = TRY(Connection::pair());
    TRY(start(std::move(ends[0]), std::move(holds)));
    return std::move(ends[1]);
}

Result<> Sharing::start(Connection connection, Owner::Holds holds)
{
    for (auto const file : holds) owner_.hold(static_cast<uapi::FileId>(file));
    auto const kept = holds;
    int const fd = connection.descriptor();
    {
        std::scoped_lock const lock{mutex_};
        descriptors_.push_back(fd);
    }
    auto shared = std::make_shared<Connection>(std::move(connection));
    auto const started = start_thread([this, shared, moved = std::move(holds)] {
        hear_faults();
        serve(std::move(*shared), moved);
    });
    if (!started) {
        std::scoped_lock const lock{mutex_};
        std::erase(descriptors_, fd);
        for (auto const file : kept) owner_.let_go(static_cast<uapi::FileId>(file));
    }
    return started;
}

void Sharing::serve(Connection connection, Owner::Holds holds)
{
    int const fd = connection.descriptor();
    Guest guest{owner_, std::move(connection), std::move(holds)};
    guest.serve();
    std::scoped_lock const lock{mutex_};
    std::erase(descriptors_, fd);
    gone_.push_back(guest.leave_behind());
}

bool Sharing::some_have_ended()
{
    std::scoped_lock const lock{mutex_};
    return std::ranges::any_of(descriptors_, [](int fd) {
        pollfd wait{.fd = fd, .events = 0, .revents = 0};
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
    for (int const fd : descriptors_) close(fd);
    descriptors_.clear();
    listening_ = false;
    for (auto& process : gone_) (void)process.release();  // its locks may be held
    gone_.clear();
    mutex_.unlock();
}

}  // namespace pinfold::preload
