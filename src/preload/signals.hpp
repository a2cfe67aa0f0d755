// The client's signals while the engine lives in its process. The engine owns SIGSEGV, SIGBUS and
// SIGFPE (an instruction that it carries out may divide by zero); the client keeps the handlers
// that it installed, sees them in sigaction(2), and gets every fault that is not ours.
//
// A client's handler that would run while its own thread is inside the engine, where it might call
// the engine again and wait for itself, is deferred to the way out: the signal is blocked and
// queued again, and unblocked by the last Inside. Async-signal-safe, except start(), which runs
// once.
#pragma once

#include <signal.h>

#include "base/standstill.hpp"

namespace pinfold::preload {

class Signals {
public:
    // What a fault turned out to be: ours, and the context may go on; the client's as it is; or
    // another fault, which the client is to see instead (a bus error where an access was refused).
    class Verdict {
    public:
        static Verdict carried_out() { return Verdict{Kind::carried_out}; }
        static Verdict foreign() { return Verdict{Kind::foreign}; }
        static Verdict becomes(int signal, int code, void* address)
        {
            Verdict verdict{Kind::becomes};
            verdict.signal_ = signal;
            verdict.code_ = code;
            verdict.address_ = address;
            return verdict;
        }
        bool is_carried_out() const { return kind_ == Kind::carried_out; }
        bool is_foreign() const { return kind_ == Kind::foreign; }
        // REQUIRES: becomes().
        siginfo_t info() const;

    private:
        enum class Kind { carried_out, foreign, becomes };
        explicit Verdict(Kind kind) : kind_{kind} {}
        Kind kind_;
        int signal_ = 0, code_ = 0;
        void* address_ = nullptr;
    };
    using FaultHandler = Verdict (*)(siginfo_t const& info, ucontext_t& context);

    // Takes over the handlers that the process has, and unblocks faults in every thread. `handler`
    // sees the faults that no guarded copy explains.
    static void start(FaultHandler handler);

    // sigaction(2) as the client sees it: 0 or a negative errno.
    static long action(int signal, struct sigaction const* act, struct sigaction* old);

    // pthread_sigmask(3) as the client sees it: 0 or a negative errno.
    static long mask(int how, sigset_t const* set, sigset_t* old);
};

// While one of these lives, this thread is inside the engine: no signal handler of the program runs
// on it, and it is not cancelled.
class Inside {
public:
    Inside();
    ~Inside();
    Inside(Inside const&) = delete;
    Inside& operator=(Inside const&) = delete;

private:
    Busy busy_;
};

}  // namespace pinfold::preload
