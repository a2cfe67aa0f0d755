// Connections for a program that is about to begin: one to each owner of files that it may come to
// have descriptors of. They go with the descriptors over execve(2), and their numbers stand in its
// environment.
//
// What is const allocates nothing, for the child of a vfork(2).
#pragma once

#include <sys/types.h>

#include <span>
#include <string_view>
#include <vector>

#include "base/function_ref.hpp"
#include "preload/wire.hpp"

namespace pinfold::preload {

class Offer {
public:
    void add(Connection connection) { connections_.push_back(connection.take()); }
    bool empty() const { return connections_.empty(); }

    // This process's next program has them, and `held` becomes the text for PINFOLD_ENV_HELD. What
    // has no room there stays behind: its files are known later. By descriptors, and so for a
    // vfork's child alone.
    void hand_on(std::span<char> held) const;
    void keep_back() const;
    // In a child of fork(2) which is not the offer's.
    void abandon() { connections_.clear(); }

private:
    std::vector<UniqueFd> connections_;
};

// What such a text says: descriptors, and the process that left them. Its text may be anybody's.
struct Held {
    pid_t from = -1;
    std::vector<int> descriptors;
};
Held held_in(std::string_view text);

// Calls `visit` on each descriptor that the process would hand on to a program, until that is
// satisfied. Allocates nothing.
bool any_inheritable(FunctionRef<bool(int fd)> visit);

}  // namespace pinfold::preload
