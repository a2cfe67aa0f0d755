// The owner's side of sharing: guests come by a socket in the run's state directory, or are born
// with a connection (children of fork(2), programs that are about to begin). Each is served by a
// thread of its own, which takes none of the client's signals; there is no thread before there is a
// guest to expect. Thread safe.
#pragma once

#include <filesystem>
#include <list>
#include <mutex>
#include <string>
#include <unordered_set>
#include <vector>

#include "preload/guest.hpp"

namespace pinfold::preload {

class Sharing {
public:
    // `directory`: where an owner's socket is found, by a name that begins with its process's
    // number.
    Sharing(Owner& owner, std::filesystem::path directory);

    // Strangers may come from now on. Nothing changes where that fails: they will not be served.
    void listen();
    // The socket that they come by; empty: none.
    std::string const& address() const { return address_; }
    // A guest that has `files` on those terms from now on; its end of the connection. EMFILE,
    // ENOMEM, EAGAIN.
    Result<Connection> welcome(Owner::Holds files, Owner::Terms terms);

    // Returns when nothing is held any more by guests that have ended: for them an end is an end,
    // though their threads here notice it a moment later.
    void settle();

    // Around fork(2); in the child, which serves nobody, give up what was the parent's.
    void pause() { mutex_.lock(); }
    void resume() { mutex_.unlock(); }
    // REQUIRES: paused; closes what the kernel has copied.
    void forget(FunctionRef<void(int fd)> close);
    // In a child that has taken the machine over in a Standstill: the guests are its own. False:
    // there is no thread for some of them.
    bool serve_again();
    // Strangers come no more.
    void withdraw_address() const;
    // Some guest has files, or is offered some.
    bool any_has_files();
    bool any_guest();

private:
    Result<> start(Connection connection, Owner::Holds files, Owner::Terms terms);
    Result<> serve_apart(Guest& guest);
    void serve(Guest& guest);
    Result<> listen_apart();
    void accept_strangers();
    bool some_have_ended();

    Owner& owner_;
    std::filesystem::path const directory_;
    std::mutex mutex_;
    std::string address_;  // written once, before the first guest can come by it
    int listener_ = -1;
    std::list<std::unique_ptr<Guest>> guests_;
    std::list<std::unique_ptr<RemoteProcess>> gone_;  // mappings may name them
};

}  // namespace pinfold::preload
