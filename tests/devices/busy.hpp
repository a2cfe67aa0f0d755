// Threads that keep a device busy while a test does something to it.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

namespace pinfold::devices {

class Busy {
public:
    // Each thread calls one of `works` again and again, until the end.
    explicit Busy(std::vector<std::function<void()>> works)
    {
        for (auto& work : works) {
            auto& count = *rounds_.emplace_back(std::make_unique<std::atomic<unsigned>>(0));
            threads_.emplace_back([this, &count, work = std::move(work)] {
                while (!stop_) {
                    work();
                    ++count;
                    std::this_thread::yield();
                }
            });
        }
    }
    ~Busy()
    {
        stop_ = true;
        for (auto& thread : threads_) thread.join();
    }
    Busy(Busy const&) = delete;
    Busy& operator=(Busy const&) = delete;

    // Returns when each thread has begun and ended a round of its work since the call.
    void wait_for_a_round() const
    {
        for (auto const& count : rounds_)
            for (unsigned const before = *count; *count - before < 2;) std::this_thread::yield();
    }

    // True for `rounds` calls, or fewer where others have the processors.
    bool goes_on(unsigned rounds)
    {
        return asked_++ < rounds && std::chrono::steady_clock::now() - begun_ < kMost;
    }
    unsigned rounds() const { return asked_ - 1; }  // once it does not go on

private:
    static constexpr auto kMost = std::chrono::seconds{4};

    std::chrono::steady_clock::time_point const begun_ = std::chrono::steady_clock::now();
    unsigned asked_ = 0;
    std::atomic<bool> stop_{false};
    std::vector<std::unique_ptr<std::atomic<unsigned>>> rounds_;
    std::vector<std::thread> threads_;
};

}  // namespace pinfold::devices
