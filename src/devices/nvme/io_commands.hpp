// The NVM command set, 6. Not thread safe.
#pragma once

#include <vector>

#include "devices/nvme/state.hpp"

namespace pinfold::devices::nvme {

class IoCommands {
public:
    explicit IoCommands(State& state) : state_{state} {}

    Reply execute(Command const& command);

private:
    Status flush(Command const& command);
    Status read(Command const& command, Namespace& ns);
    Status write(Command const& command, Namespace& ns);
    Status compare(Command const& command, Namespace& ns);
    Status write_zeroes(Command const& command, Namespace& ns);
    Status manage_dataset(Command const& command, Namespace& ns);
    Status flush_one(Namespace& ns);
    Durability durability_of(bool force_unit_access) const;
    static void count_write(Namespace& ns, std::uint64_t bytes, Durability durability);

    State& state_;
    std::vector<std::byte> ours_, theirs_;  // Compare's two sides, kept for their capacity
};

}  // namespace pinfold::devices::nvme
