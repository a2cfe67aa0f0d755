// The admin command set, 5. Not thread safe.
#pragma once

#include <optional>

#include "devices/nvme/state.hpp"

namespace pinfold::devices::nvme {

class AdminCommands {
public:
    explicit AdminCommands(State& state) : state_{state} {}

    // nullopt: the command is parked and completes some other time.
    std::optional<Reply> execute(Command const& command);

private:
    Reply create_completion_queue(Command const& command);
    Reply create_submission_queue(Command const& command);
    Reply identify(Command const& command);
    Reply identify_command_set(Command const& command);
    Reply identify_one(Command const& command, DataPage (*make)(Namespace const&));
    Reply get_log_page(Command const& command);
    Reply set_features(Command const& command);
    Reply keep_alive();
    Reply abort(Command const& command);
    Reply configure_doorbells(Command const& command);
    Reply format(Command const& command);
    Status format_one(Namespace& ns, unsigned format);

    State& state_;
};

}  // namespace pinfold::devices::nvme
