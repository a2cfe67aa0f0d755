#include "pci/calls.hpp"

#include <cassert>
#include <utility>

namespace pinfold::pci {

namespace {

// The engine is loaded late: without a model that needs no allocation, the first use on a thread
// could allocate in the middle of a trapped access.
struct Thread {
    unsigned depth = 0;  // of Calls
    Sleeper* woken = nullptr;
};
[[gnu::tls_model("initial-exec")]] constinit thread_local Thread this_thread;

}  // namespace

void Sleeper::wake()
{
    assert(this_thread.depth != 0);
    if (waiting_.exchange(true, std::memory_order_acq_rel)) return;
    next_ = std::exchange(this_thread.woken, this);
}

Call::Call(PatientMutex& mutex) : mutex_{mutex}
{
    mutex_.lock();
    ++this_thread.depth;
}

Call::Call(PatientMutex& mutex, std::adopt_lock_t) : mutex_{mutex} { ++this_thread.depth; }

// Those that are woken may wake others; the list is taken one by one, with no lock held.
Call::~Call()
{
    mutex_.unlock();
    while (this_thread.depth == 1 && this_thread.woken != nullptr) {
        Sleeper& sleeper = *this_thread.woken;
        this_thread.woken = sleeper.next_;
        sleeper.waiting_.store(false, std::memory_order_release);
        sleeper.woken();
    }
    --this_thread.depth;
}

}  // namespace pinfold::pci
