// The launcher's life beside its client: it waits, hands signals on, stops and goes on with it, and
// ends as the client ended.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include "base/function_ref.hpp"

namespace pinfold::cli {

// Blocks all signals while it lives, so that none is lost between fork(2) and the wait, and gives
// back what was before. Has SIGCHLD delivered even where it was inherited as ignored.
class SignalGate {
public:
    SignalGate();
    ~SignalGate();
    SignalGate(SignalGate const&) = delete;
    SignalGate& operator=(SignalGate const&) = delete;

    // In the child: everything as the launcher found it.
    void reopen() const;
    // Somebody wants this process to end; it will when the gate goes.
    bool interrupted() const;

private:
    sigset_t before_{};
    struct sigaction child_before_{};
};

// Waits for the client to end and returns its wait status. Signals that somebody sent to the
// launcher go on to the client; those that the terminal sent, it has already. Where job control
// stops the client, the launcher stops. REQUIRES: a SignalGate.
int wait_for(pid_t client);

// Ends this process as `status` says the client ended: with its exit status, or of the same signal
// (and no core of the launcher's own). REQUIRES: no SignalGate lives.
[[noreturn]] void end_like(int status);

}  // namespace pinfold::cli
