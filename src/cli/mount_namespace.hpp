// The private mount namespace that carries the client's files. Entered by the process that is about
// to become the client; nobody else sees any of it.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "machine/run_state.hpp"

namespace pinfold::cli {

// Why the namespace could not be entered; a run can go on without it, by paths. `what` is a phrase
// such as "unshare".
struct NamespaceRefused {
    std::string what;
    Errno error;
};

using NamespaceOutcome = std::expected<void, NamespaceRefused>;

// Unshares the mount namespace (and, without CAP_SYS_ADMIN, the user namespace, in which the user
// keeps their own number), and mounts an empty tmpfs on <state>/root for the tree to be written to.
// What the user namespace granted ends with the next execve(2).
//
// On an error the process may be half way in: it is good for nothing but to say so and exit. That
// holds for put_tree_in_place() too.
NamespaceOutcome enter_mount_namespace(std::filesystem::path const& state);

// Mounts each of `directories` of <state>/root over the one of that name, and a character
// device over each node; fills in how nodes are recognised.
NamespaceOutcome put_tree_in_place(std::filesystem::path const& state,
                                   std::span<std::filesystem::path const> directories,
                                   std::vector<machine::RunState::Node>& nodes);

}  // namespace pinfold::cli
