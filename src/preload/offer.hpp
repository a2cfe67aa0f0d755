// Connections for a program that is about to begin: one to each owner of files that it may come to
// have descriptors of. They go with the descriptors over execve(2), and their numbers stand in its
// environment.
//
// What is const allocates nothing, for the child of a vfork(2).
#pragma once

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

    // Whether this process's next program has them. By descriptors, and so for a vfork's child
    // alone.
    void inherit(bool yes) const;
    // The text for PINFOLD_ENV_HELD. What has no room is left out: its files are known later.
    void name(std::span<char> held) const;

private:
    std::vector<UniqueFd> connections_;
};

// The descriptors in such a text.
std::vector<int> descriptors_in(std::string_view held);

// Calls `visit` on each descriptor that the process would hand on to a program, until that is
// satisfied. Allocates nothing.
bool any_inheritable(FunctionRef<bool(int fd)> visit);

}  // namespace pinfold::preload
