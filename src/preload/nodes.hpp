// Telling what a descriptor is: by the mount or the file behind it, as the launcher wrote them
// down, never by its name. Thread safe: nothing changes after construction.
#pragma once

#include <optional>

#include "machine/run_state.hpp"

namespace pinfold::preload {

struct Node {
    enum class Kind { container, group, device } kind;
    unsigned group = 0;
    machine::Bdf bdf{};  // device
};

class Nodes {
public:
    explicit Nodes(machine::RunState const& run) : run_{run} {}

    // nullopt: none of ours.
    std::optional<Node> identify(int fd) const;

private:
    machine::RunState const& run_;
};

// Whether two descriptors of this process share one open file description.
bool same_description(int one, int other);

}  // namespace pinfold::preload
