// Waits for eventfds that the client signals: what the kernel's virqfd does for INTx unmasking and
// IOEVENTFD. A thread of its own, which comes with the first eventfd, takes the count of one that
// was signalled and tells `fired` its ticket.
//
// Thread safe. `fired` runs on the watch's thread; it may run once more after remove() has
// returned, so whoever is told looks whether the ticket still means anything.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "base/worker.hpp"

namespace pinfold::pci {

class EventfdWatch {
public:
    using Ticket = std::uint64_t;

    explicit EventfdWatch(std::function<void(Ticket)> fired) : fired_{std::move(fired)} {}
    ~EventfdWatch();
    EventfdWatch(EventfdWatch const&) = delete;
    EventfdWatch& operator=(EventfdWatch const&) = delete;

    // A timer is one of timerfd_create(2) that does not block, and nobody else reads.
    enum class Kind : std::uint8_t { eventfd, timer };
    // ENOMEM, EMFILE: the thread, or what it waits with, cannot be had.
    Result<Ticket> add(UniqueFd descriptor, Kind kind = Kind::eventfd);
    void remove(Ticket ticket);

private:
    struct Watched {
        UniqueFd descriptor;
        Kind kind;
    };

    Result<> start();
    void run();
    void take(Ticket ticket);

    std::function<void(Ticket)> const fired_;
    std::mutex mutex_;
    UniqueFd epoll_;
    UniqueFd stop_;
    std::map<Ticket, Watched> watched_;
    Ticket last_ = 0;  // 0 is stop_
    Worker thread_;
};

}  // namespace pinfold::pci
