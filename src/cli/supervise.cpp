#include "cli/supervise.hpp"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

namespace pinfold::cli {

namespace {

// The terminal's signals come from the kernel and go to the whole foreground group, so the client
// has them too; so does SIGCONT, which a shell sends to the group. Anything else is for us to pass.
void hand_on(siginfo_t const& info, pid_t client)
{
    if (info.si_code == SI_KERNEL) return;
    if (info.si_code == SI_QUEUE)
        (void)::sigqueue(client, info.si_signo, info.si_value);
    else
        (void)::kill(client, info.si_signo);
}

// True once the client has ended.
bool look_after(pid_t client, int& status)
{
    for (;;) {
        pid_t const changed = ::waitpid(client, &status, WNOHANG | WUNTRACED);
        if (changed < 0) return errno == ECHILD;
        if (changed == 0) return false;
        if (!WIFSTOPPED(status)) return true;
        // The shell sees us stop, and continues the whole job later. What stops the client alone,
        // a plain SIGSTOP, is between the two: whoever sent it will continue the client alone.
        int const by = WSTOPSIG(status);
        if (by != SIGTSTP && by != SIGTTIN && by != SIGTTOU) continue;
        (void)::raise(SIGSTOP);
        (void)::kill(client, SIGCONT);
    }
}

}  // namespace

SignalGate::SignalGate()
{
    struct sigaction delivered{};
    delivered.sa_handler = SIG_DFL;
    (void)::sigaction(SIGCHLD, &delivered, &child_before_);
    sigset_t all;
    ::sigfillset(&all);
    (void)::sigprocmask(SIG_SETMASK, &all, &before_);
}

void SignalGate::reopen() const
{
    (void)::sigaction(SIGCHLD, &child_before_, nullptr);
    (void)::sigprocmask(SIG_SETMASK, &before_, nullptr);
}

bool SignalGate::interrupted() const
{
    sigset_t pending;
    if (::sigpending(&pending) != 0) return false;
    for (int const signal : {SIGHUP, SIGINT, SIGQUIT, SIGTERM})
        if (::sigismember(&pending, signal) == 1 && ::sigismember(&before_, signal) == 0)
            return true;
    return false;
}

SignalGate::~SignalGate() { reopen(); }

int wait_for(pid_t client)
{
    sigset_t all;
    ::sigfillset(&all);
    int status = 0;
    while (!look_after(client, status)) {
        siginfo_t info{};
        if (::sigwaitinfo(&all, &info) > 0 && info.si_signo != SIGCHLD) hand_on(info, client);
    }
    return status;
}

void end_like(int status)
{
    if (WIFEXITED(status)) ::_exit(WEXITSTATUS(status));
    int const signal = WTERMSIG(status);
    rlimit const no_core{0, 0};
    (void)::setrlimit(RLIMIT_CORE, &no_core);
    struct sigaction fatal{};
    fatal.sa_handler = SIG_DFL;
    (void)::sigaction(signal, &fatal, nullptr);
    sigset_t one;
    ::sigemptyset(&one);
    ::sigaddset(&one, signal);
    (void)::raise(signal);
    (void)::sigprocmask(SIG_UNBLOCK, &one, nullptr);
    ::_exit(128 + signal);  // as a shell would say it
}

}  // namespace pinfold::cli
