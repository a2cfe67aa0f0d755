// A thread of the machine's own, which takes none of the program's signals but faults. It stays
// behind when the process forks; a child that goes on with what it served starts it again.
//
// Thread safe, except that one worker is started and ended by one thread at a time.
#pragma once

#include <functional>
#include <thread>

#include "base/result.hpp"

namespace pinfold {

class Worker {
public:
    Worker() = default;
    ~Worker();
    Worker(Worker const&) = delete;
    Worker& operator=(Worker const&) = delete;

    // EAGAIN: there can be no thread. `body` may begin again in a child of fork(2), and is Busy
    // (base/standstill.hpp) whenever it is not at rest.
    Result<> start(std::function<void()> body);
    bool started() const { return thread_ != nullptr; }
    // Returns when the body has; the caller has told it to.
    void join();

    // In a child of fork(2), made in a Standstill that is over: every worker that was at rest
    // begins again. False: there can be no thread for one.
    static bool begin_again();
    // In the parent, during the Standstill: another process serves from now on. A thread that finds
    // itself dismissed, once it is Busy, ends and touches nothing.
    static void dismiss_all();
    static bool dismissed();
    // In any other child: they are the parent's.
    static void forget_all();

private:
    std::function<void()> body_;
    std::thread* thread_ = nullptr;  // left where it is in a child
    Worker* next_ = nullptr;
};

// A thread that nobody joins. EAGAIN.
Result<> start_unheeding_thread(std::function<void()> body);

}  // namespace pinfold
