#include "pci/eventfd_watch.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/standstill.hpp"

namespace pinfold::pci {
namespace {

Result<> watch(UniqueFd const& epoll, UniqueFd const& eventfd, std::uint64_t ticket)
{
    epoll_event event{.events = EPOLLIN, .data = {.u64 = ticket}};
    if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, eventfd.get(), &event) != 0)
        return fail(Errno::nomem);
    return {};
}

}  // namespace

EventfdWatch::~EventfdWatch()
{
    if (!thread_.started()) return;
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
    if (!thread_.start([this] { run(); })) return fail(Errno::nomem);
    return {};
}

Result<EventfdWatch::Ticket> EventfdWatch::add(UniqueFd descriptor, Kind kind)
{
    std::lock_guard const lock{mutex_};
    if (!thread_.started()) TRY(start());
    Ticket const ticket = ++last_;
    auto const place = watched_.emplace(ticket, Watched{std::move(descriptor), kind}).first;
    if (auto const done = watch(epoll_, place->second.descriptor, ticket); !done) {
        watched_.erase(place);
        return fail(done.error());
    }
    return ticket;
}

void EventfdWatch::remove(Ticket ticket)
{
    std::lock_guard const lock{mutex_};
    auto const place = watched_.find(ticket);
    if (place == watched_.end()) return;
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, place->second.descriptor.get(), nullptr);
    watched_.erase(place);
}

void EventfdWatch::run()
{
    for (;;) {
        epoll_event event{};
        int const count = ::epoll_wait(epoll_.get(), &event, 1, -1);
        if (count < 0 && errno != EINTR) return;
        if (count <= 0) continue;
        if (event.data.u64 == 0) return;
        Busy const busy;
        if (Worker::dismissed()) return;
        take(event.data.u64);
    }
}

// The client may have read the count itself meanwhile, so nothing here may wait for it.
void EventfdWatch::take(Ticket ticket)
{
    {
        std::lock_guard const lock{mutex_};
        auto const place = watched_.find(ticket);
        if (place == watched_.end()) return;
        std::uint64_t count = 0;
        iovec const into{&count, sizeof count};
        auto const& [descriptor, kind] = place->second;
        // Not every kernel takes RWF_NOWAIT for a timer, which does not wait anyway.
        auto const taken = kind == Kind::timer
                               ? ::read(descriptor.get(), &count, sizeof count)
                               : ::preadv2(descriptor.get(), &into, 1, -1, RWF_NOWAIT);
        if (taken != sizeof count) return;
    }
    fired_(ticket);
}

}  // namespace pinfold::pci
