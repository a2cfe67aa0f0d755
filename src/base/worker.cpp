#include "base/worker.hpp"

#include <atomic>
#include <mutex>
#include <new>
#include <system_error>
#include <utility>

#include "base/unheeding.hpp"

namespace pinfold {
namespace {

constinit std::mutex list;
constinit Worker* first = nullptr;
constinit std::atomic<bool> all_dismissed{false};

}  // namespace

Result<> start_unheeding_thread(std::function<void()> body)
{
    Unheeding const unheeding;
    try {
        std::thread{std::move(body)}.detach();
        return {};
    } catch (std::system_error const&) {
        return fail(Errno::again);
    }
}

Worker::~Worker() { join(); }

Result<> Worker::start(std::function<void()> body)
{
    body_ = std::move(body);
    {
        Unheeding const unheeding;
        try {
            thread_ = new std::thread{body_};
        } catch (std::system_error const&) {
            return fail(Errno::again);
        }
    }
    std::scoped_lock const lock{list};
    next_ = first;
    first = this;
    return {};
}

void Worker::join()
{
    if (thread_ == nullptr) return;
    {
        std::scoped_lock const lock{list};
        Worker** link = &first;
        while (*link != this) link = &(*link)->next_;
        *link = next_;
    }
    thread_->join();
    delete std::exchange(thread_, nullptr);
}

bool Worker::begin_again()
{
    bool all = true;
    std::scoped_lock const lock{list};
    Unheeding const unheeding;
    for (Worker* it = first; it != nullptr; it = it->next_) {
        try {
            it->thread_ = new std::thread{it->body_};
        } catch (std::system_error const&) {
            all = false;
        }
    }
    return all;
}

void Worker::dismiss_all() { all_dismissed.store(true, std::memory_order_release); }

bool Worker::dismissed() { return all_dismissed.load(std::memory_order_acquire); }

// A thread of the parent may have had the lock.
void Worker::forget_all()
{
    new (&list) std::mutex;
    first = nullptr;
    all_dismissed = false;
}

}  // namespace pinfold
