// A call into a function: its lock, and at the end of a thread's outermost one, what the devices
// called meanwhile have woken.
#pragma once

#include <atomic>
#include <mutex>

#include "base/function_ref.hpp"
#include "pci/patient_mutex.hpp"

namespace pinfold::pci {

// Something that devices wake; woken() takes the lock that it needs itself.
class Sleeper {
public:
    virtual void woken() = 0;
    // Thread safe. REQUIRES: inside a Call. Once is enough until woken() has begun.
    void wake();

protected:
    virtual ~Sleeper() = default;

private:
    friend class Call;
    std::atomic<bool> waiting_{false};
    Sleeper* next_ = nullptr;  // of the thread's list; while waiting_
};

class Call {
public:
    explicit Call(PatientMutex& mutex);
    Call(PatientMutex& mutex, std::adopt_lock_t);
    ~Call();
    Call(Call const&) = delete;
    Call& operator=(Call const&) = delete;

private:
    PatientMutex& mutex_;
};

}  // namespace pinfold::pci
