#include "base/standstill.hpp"

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "base/unique_fd.hpp"
#include "base/worker.hpp"

namespace pinfold {
namespace {

using namespace std::chrono_literals;

template <class Condition>
void wait_until(Condition condition)
{
    for (int i = 0; i < 20000 && !condition(); ++i) std::this_thread::sleep_for(100us);
    ASSERT_TRUE(condition());
}

TEST(Standstill, waits_for_who_is_busy_and_holds_newcomers_up_until_it_ends)
{
    constexpr int kThreads = 4;
    std::atomic<bool> stop{false};
    std::atomic<bool> still{false};
    std::atomic<int> broken{0};
    std::atomic<long> turns{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i)
        threads.emplace_back([&] {
            while (!stop) {
                Busy const busy;
                if (still) ++broken;
                {
                    Busy const nested;
                    for (int spin = 0; spin < 300; ++spin) {
                        asm volatile("");
                    }
                }
                if (still) ++broken;
                ++turns;
            }
        });
    for (int round = 0; round < 200; ++round) {
        auto reached = Standstill::reach(10s);
        ASSERT_TRUE(reached);
        still = true;
        Busy const own;  // whose it is, passes
        long const before = turns;
        std::this_thread::sleep_for(50us);
        EXPECT_EQ(turns, before);
        still = false;
        reached.reset();
        wait_until([&] { return turns > before; });
    }
    stop = true;
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(broken, 0);
}

TEST(Standstill, gives_up_on_a_thread_that_stays_busy_and_leaves_nobody_held_up)
{
    std::atomic<int> phase{0};
    std::thread thread{[&] {
        {
            Busy const busy;
            phase = 1;
            wait_until([&] { return phase == 2; });
        }
        Busy const again;
        phase = 3;
    }};
    wait_until([&] { return phase == 1; });
    EXPECT_FALSE(Standstill::reach(20ms));
    phase = 2;
    wait_until([&] { return phase == 3; });
    thread.join();
    EXPECT_TRUE(Standstill::reach(10s));
}

TEST(Standstill, is_one_threads_at_a_time)
{
    auto const mine = Standstill::reach(10s);
    ASSERT_TRUE(mine);
    std::thread{[] { EXPECT_FALSE(Standstill::reach(10ms)); }}.join();
}

// The worker counts what it is told by one eventfd, and says so by another.
TEST(Worker, begins_again_in_a_child_that_takes_over_what_it_served)
{
    UniqueFd const told{::eventfd(0, 0)};
    UniqueFd const stop{::eventfd(0, 0)};
    std::atomic<std::uint64_t> sum{0};
    Worker worker;
    auto const started = worker.start([&] {
        for (;;) {
            std::uint64_t count = 0;
            if (::read(told.get(), &count, sizeof count) != sizeof count) continue;
            Busy const busy;
            sum += count;
            if (count >= 1000) return;
        }
    });
    ASSERT_TRUE(started);
    auto const tell = [&](std::uint64_t count) {
        ASSERT_EQ(::write(told.get(), &count, sizeof count), ssize_t{sizeof count});
    };
    tell(3);
    wait_until([&] { return sum == 3; });
    // The parent's copy of the worker would take what the child's is told.
    tell(1000);
    wait_until([&] { return sum == 1003; });
    auto still = Standstill::reach(10s);
    ASSERT_TRUE(still);
    pid_t const child = ::fork();
    if (child == 0) {
        still.reset();
        if (!Worker::begin_again()) ::_exit(1);
        tell(5);
        wait_until([&] { return sum == 1008; });
        tell(1000);
        worker.join();
        ::_exit(sum == 2008 ? 0 : 2);
    }
    still.reset();
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    worker.join();
}

}  // namespace
}  // namespace pinfold
