#include "pci/eventfd_watch.hpp"

#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>

namespace pinfold::pci {
namespace {

Result<> watch(UniqueFd const& epoll, UniqueFd const& eventfd, std::uint64_t ticket)
{
    epoll_event event{.events = EPOLLIN, .data = {.u64 = ticket}};
    if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, eventfd.get(), &event) != 0)
        return fail(Errno::nomem);
    return {};
}

// Keeps the client's signals on the client's threads while a thread is made.
class SignalsBlocked {
public:
    SignalsBlocked()
    {
        sigset_t all;
        sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    SignalsBlocked(SignalsBlocked const&) = delete;
    SignalsBlocked& operator=(SignalsBlocked const&) = delete;

private:
    sigset_t before_;
};

}  // namespace

EventfdWatch::~EventfdWatch()
{
    if (!thread_.joinable()) return;
    std::uint64_t const one = 1;
    (void)!::write(stop_.get(), &one, sizeof one);
    thread_.join();
}

Result<> EventfdWatch::start()
{
    UniqueFd epoll{::epoll_create1(EPOLL_CLOEXEC)};
    UniqueFd stop{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    if (!epoll || !stop) return fail(Errno::mfile);
    TRY(watch(epoll, stop, 0));
    epoll_ = std::move(epoll);
    stop_ = std::move(stop);
    SignalsBlocked const blocked;
    try {
        thread_ = std::thread{[this] { run(); }};
    } catch (std::system_error const&) {
        return fail(Errno::nomem);
    }
    return {};
}

Result<EventfdWatch::Ticket> EventfdWatch::add(UniqueFd eventfd)
{
    std::lock_guard const lock{mutex_};
    if (!thread_.joinable()) TRY(start());
    Ticket const ticket = ++last_;
    auto const place = eventfds_.emplace(ticket, std::move(eventfd)).first;
    if (auto const watched = watch(epoll_, place->second, ticket); !watched) {
        eventfds_.erase(place);
        return fail(watched.error());
    }
    return ticket;
}

void EventfdWatch::remove(Ticket ticket)
{
    std::lock_guard const lock{mutex_};
    auto const place = eventfds_.find(ticket);
    if (place == eventfds_.end()) return;
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, place->second.get(), nullptr);
    eventfds_.erase(place);
}

void EventfdWatch::run()
{
    for (;;) {
        epoll_event event{};
        int const count = ::epoll_wait(epoll_.get(), &event, 1, -1);
        if (count < 0 && errno != EINTR) return;
        if (count <= 0) continue;
        if (event.data.u64 == 0) return;
        take(event.data.u64);
    }
}

// The client may have read the count itself meanwhile, so nothing here may wait for it.
void EventfdWatch::take(Ticket ticket)
{
    {
        std::lock_guard const lock{mutex_};
        auto const place = eventfds_.find(ticket);
        if (place == eventfds_.end()) return;
        std::uint64_t count = 0;
        iovec const into{&count, sizeof count};
        if (::preadv2(place->second.get(), &into, 1, -1, RWF_NOWAIT) != sizeof count) return;
    }
    fired_(ticket);
}

}  // namespace pinfold::pci
