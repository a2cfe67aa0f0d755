// A process that goes on with what this one holds in its memory: a child by fork(2), and so with a
// copy of all of it, which the program does not come to know of. It is nobody's child for
// waitpid(2) and sends no SIGCHLD, has no terminal, no directory and none of the program's
// descriptors, and hears no signal but faults.
//
// It waits until it is told to begin; when this process, or the program in it, has gone, it begins
// unasked.
#pragma once

#include "base/function_ref.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"

namespace pinfold::preload {

class Successor {
public:
    // In the child: `settle`, at once, closes the program's descriptors; `live` runs once it
    // begins, and when it returns the child ends. EAGAIN, ENOMEM, EMFILE. The handlers of
    // pthread_atfork(3) run. REQUIRES: a Standstill, which they may reach; or `settle` ends the
    // child.
    static Result<Successor> make(FunctionRef<void()> settle, FunctionRef<void()> live);

    void begin();
    // It ends as if it had never been. Returns when it has.
    void dismiss();

private:
    explicit Successor(UniqueFd lifeline) : lifeline_{std::move(lifeline)} {}
    UniqueFd lifeline_;
};

}  // namespace pinfold::preload
