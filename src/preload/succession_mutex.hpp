// A mutex whose holder knows that it has it, or waits for it: so does a signal handler on its
// thread.
#pragma once

#include <atomic>
#include <mutex>

namespace pinfold::preload {

class SuccessionMutex {
public:
    void lock()
    {
        mine_ = true;
        std::atomic_signal_fence(std::memory_order_seq_cst);
        mutex_.lock();
    }
    void unlock()
    {
        mutex_.unlock();
        std::atomic_signal_fence(std::memory_order_seq_cst);
        mine_ = false;
    }
    static bool mine() { return mine_; }

private:
    [[gnu::tls_model("initial-exec")]] static inline constinit thread_local bool mine_ = false;
    std::mutex mutex_;
};

}  // namespace pinfold::preload
