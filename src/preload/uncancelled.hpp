// While one of these lives, pthread_cancel(3) waits. What is no cancellation point on Linux must
// not become one by what the engine calls. Costs no system call.
#pragma once

#include <pthread.h>

namespace pinfold::preload {

class Uncancelled {
public:
    Uncancelled() { (void)::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_); }
    ~Uncancelled() { (void)::pthread_setcancelstate(before_, nullptr); }
    Uncancelled(Uncancelled const&) = delete;
    Uncancelled& operator=(Uncancelled const&) = delete;

private:
    int before_ = PTHREAD_CANCEL_ENABLE;
};

}  // namespace pinfold::preload
