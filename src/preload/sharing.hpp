// The owner's side of sharing: guests come by a socket in the run's state directory, or are born
// with a connection (children of fork(2)). Each is served by a thread of its own, which takes none
// of the client's signals; there is no thread before there is a guest to expect. Thread safe.
#pragma once

#include <filesystem>
#include <list>
#include <mutex>
#include <unordered_set>
#include <vector>

#include "preload/guest.hpp"

namespace pinfold::preload {

class Sharing {
public:
    // `directory`: where an owner's socket is found by its process's number.
    Sharing(Owner& owner, std::filesystem::path directory);

    // Strangers may come from now on. Nothing changes where that fails: they will not be served.
    void listen();
    // A guest that holds `holds` from now on; its end of the connection. EMFILE, ENOMEM, EAGAIN.
    Result<Connection> welcome(Owner::Holds holds);

    // Returns when nothing is held any more by guests that have ended: for them an end is an end,
    // though their threads here notice it a moment later.
    void settle();

    // Around fork(2); in the child, which serves nobody, give up what was the parent's.
    void pause() { mutex_.lock(); }
    void resume() { mutex_.unlock(); }
    // REQUIRES: paused; closes what the kernel has copied.
    void forget(FunctionRef<void(int fd)> close);

private:
    Result<> start(Connection connection, Owner::Holds holds);
    void serve(Connection connection, Owner::Holds holds);
    void accept_strangers(int listener);
    bool some_have_ended();

    Owner& owner_;
    std::filesystem::path const directory_;
    std::mutex mutex_;
    std::vector<int> descriptors_;  // of connections, and the listener
    bool listening_ = false;
    std::list<std::unique_ptr<RemoteProcess>> gone_;  // mappings may name them
};

}  // namespace pinfold::preload
