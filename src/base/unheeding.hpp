// While one of these lives, its thread hears no signal but faults, which are never blocked: copies
// of memory that may not be there rely on them. Threads and processes that it makes begin so.
#pragma once

#include <signal.h>

#include <initializer_list>

namespace pinfold {

class Unheeding {
public:
    Unheeding()
    {
        sigset_t most;
        (void)::sigfillset(&most);
        for (int const fault : {SIGSEGV, SIGBUS, SIGFPE}) (void)::sigdelset(&most, fault);
        (void)::pthread_sigmask(SIG_SETMASK, &most, &before_);
    }
    ~Unheeding() { (void)::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    Unheeding(Unheeding const&) = delete;
    Unheeding& operator=(Unheeding const&) = delete;

private:
    sigset_t before_;
};

}  // namespace pinfold
