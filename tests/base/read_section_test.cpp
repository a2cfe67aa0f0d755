#include "base/read_section.hpp"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdarg>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

namespace {

std::atomic<bool> no_memory_for_keys{false};
std::atomic<bool> no_membarrier{false};
std::atomic<unsigned> membarriers{0};

}  // namespace

// The C library's, unless a test wants it to have no memory.
extern "C" int pthread_setspecific(pthread_key_t key, void const* value) noexcept
{
    using Function = int (*)(pthread_key_t, void const*);
    static auto const real = reinterpret_cast<Function>(::dlsym(RTLD_NEXT, "pthread_setspecific"));
    return no_memory_for_keys ? ENOMEM : real(key, value);
}

// Reads as many arguments as a system call may have, also where the caller passes fewer.
extern "C" [[gnu::no_sanitize("address")]] long syscall(long number, ...) noexcept
{
    using Function = long (*)(long, ...);
    static auto const real = reinterpret_cast<Function>(::dlsym(RTLD_NEXT, "syscall"));
    va_list list;
    va_start(list, number);
    long arguments[6];
    for (long& argument : arguments) argument = va_arg(list, long);
    va_end(list);
    if (number == SYS_membarrier) {
        ++membarriers;
        if (no_membarrier) {
            errno = EPERM;
            return -1;
        }
    }
    return real(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4],
                arguments[5]);
}

namespace pinfold {
namespace {

using namespace std::chrono_literals;

// A thread that is inside a section until it is told to leave.
template <class Section = ReadSection>
class Inside {
public:
    Inside()
    {
        while (!inside_) std::this_thread::yield();
    }
    ~Inside()
    {
        leave();
        thread_.join();
    }
    void leave() { leave_ = true; }

private:
    std::atomic<bool> inside_{false};
    std::atomic<bool> leave_{false};
    std::thread thread_{[this] {
        Section const section;
        inside_ = true;
        while (!leave_) std::this_thread::yield();
    }};
};

// Whether a wait that begins now is still waiting when `let_go` is called, and ends after it.
template <class LetGo>
bool waits_until(LetGo let_go)
{
    std::atomic<bool> done{false};
    std::thread waiter{[&] {
        wait_for_readers();
        done = true;
    }};
    std::this_thread::sleep_for(30ms);
    bool const waited = !done;
    let_go();
    waiter.join();
    return waited;
}

TEST(ReadSection, is_waited_for_until_it_closes)
{
    Inside reader;
    EXPECT_TRUE(waits_until([&] { reader.leave(); }));
}

TEST(ReadSection, is_not_waited_for_once_closed)
{
    wait_for_readers();
    {
        ReadSection const section;
    }
    wait_for_readers();
    EXPECT_FALSE(waits_until([] {}));
    std::thread{[] { ReadSection const section; }}.join();
    EXPECT_FALSE(waits_until([] {}));
}

TEST(ReadSection, of_several_the_last_to_close_ends_the_wait)
{
    auto one = std::make_unique<Inside<>>();
    Inside other;
    EXPECT_TRUE(waits_until([&] {
        one.reset();
        std::this_thread::sleep_for(10ms);
        other.leave();
    }));
}

struct Nested {
    ReadSection outer;
    Nested()
    {
        ReadSection const inner;
        ReadSection const innermost;
    }
};

TEST(ReadSection, lasts_as_long_as_the_outermost_one)
{
    Inside<Nested> reader;
    EXPECT_TRUE(waits_until([&] { reader.leave(); }));
}

// The reader is hardly ever outside, but never inside for long.
TEST(ReadSection, opened_after_the_call_is_not_waited_for)
{
    std::atomic<bool> stop{false};
    std::thread reader{[&] {
        auto section = std::make_unique<ReadSection>();
        while (!stop) {
            section.reset();
            section = std::make_unique<ReadSection>();
        }
    }};
    for (int i = 0; i < 1'000; ++i) wait_for_readers();
    stop = true;
    reader.join();
}

std::atomic<unsigned> handled{0};

TEST(ReadSection, can_be_opened_in_a_signal_handler)
{
    struct sigaction action{};
    action.sa_handler = [](int) {
        ReadSection const section;
        ReadSection const inner;
        ++handled;
    };
    struct sigaction before{};
    ASSERT_EQ(::sigaction(SIGUSR1, &action, &before), 0);
    std::atomic<bool> stop{false};
    std::thread reader{[&] {
        while (!stop) ReadSection const section;
    }};
    auto const deadline = std::chrono::steady_clock::now() + 2s;
    while (handled < 2'000 && std::chrono::steady_clock::now() < deadline) {
        unsigned const seen = handled;
        ::pthread_kill(reader.native_handle(), SIGUSR1);
        while (handled == seen) std::this_thread::yield();
    }
    stop = true;
    reader.join();
    EXPECT_FALSE(waits_until([] {}));  // the count of sections is even
    (void)::sigaction(SIGUSR1, &before, nullptr);
    EXPECT_GT(handled, 0);
}

TEST(ReadSection, of_a_thread_whose_end_cannot_be_heard_of_counts_too)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "a sanitizer's own threads need their keys";
#endif
    no_memory_for_keys = true;
    auto reader = std::make_unique<Inside<>>();
    auto nested = std::make_unique<Inside<Nested>>();
    no_memory_for_keys = false;
    EXPECT_TRUE(waits_until([&] {
        reader.reset();
        nested.reset();
    }));
    EXPECT_FALSE(waits_until([] {}));
}

TEST(ReadSection, of_another_thread_is_no_part_of_a_child)
{
    static bool const once = (survive_fork(), true);
    ASSERT_TRUE(once);
    Inside reader;
    pid_t const child = ::fork();
    if (child == 0) {
        ::alarm(120);
        wait_for_readers();
        std::thread{[] { ReadSection const section; }}.join();
        wait_for_readers();
        ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    EXPECT_TRUE(waits_until([&] { reader.leave(); }));
}

TEST(PollingReader, is_waited_for_until_it_is_quiescent)
{
    std::atomic<int> step{0};
    std::thread device{[&] {
        PollingReader polling;
        step = 1;
        while (step != 2) {
            ReadSection const section;
            std::this_thread::yield();
        }
        polling.quiescent();
        while (step != 3) std::this_thread::yield();
    }};
    while (step != 1) std::this_thread::yield();
    EXPECT_TRUE(waits_until([&] { step = 2; }));
    EXPECT_TRUE(waits_until([&] { step = 3; }));  // it has begun another turn
    device.join();
    EXPECT_FALSE(waits_until([] {}));
}

TEST(PollingReader, is_not_waited_for_while_it_is_away)
{
    std::atomic<int> step{0};
    std::thread device{[&] {
        PollingReader const polling;
        {
            PollingReader::Away const away;
            step = 1;
            while (step != 2) std::this_thread::yield();
        }
        step = 3;
        while (step != 4) std::this_thread::yield();
    }};
    while (step != 1) std::this_thread::yield();
    EXPECT_FALSE(waits_until([] {}));
    step = 2;
    while (step != 3) std::this_thread::yield();
    EXPECT_TRUE(waits_until([&] { step = 4; }));
    device.join();
}

TEST(PollingReader, two_that_wait_do_not_wait_for_each_other)
{
    auto const device = [] {
        PollingReader polling;
        for (int i = 0; i < 10'000; ++i) {
            wait_for_readers();
            polling.quiescent();
        }
    };
    std::thread one{device};
    std::thread other{device};
    one.join();
    other.join();
}

bool readers_fence() { return (readers::epoch & readers::kFenced) != 0; }

TEST(ReadSection, costs_the_one_who_waits_a_fence_of_all_threads_unless_none_or_only_pollers_read)
{
    if (readers_fence()) GTEST_SKIP() << "readers bring their own fences here";
    unsigned const before = membarriers;
    wait_for_readers();
    EXPECT_EQ(membarriers, before);

    std::atomic<int> step{0};
    std::thread device{[&] {
        PollingReader polling;
        for (step = 1; step != 2;) polling.quiescent();
    }};
    while (step != 1) std::this_thread::yield();
    wait_for_readers();
    EXPECT_EQ(membarriers, before);
    step = 2;
    device.join();

    std::thread reader{[&] {
        {
            ReadSection const section;
        }
        for (step = 3; step != 4;) std::this_thread::yield();
    }};
    while (step != 3) std::this_thread::yield();
    wait_for_readers();
    EXPECT_EQ(membarriers, before + 1);
    step = 4;
    reader.join();
    wait_for_readers();
    EXPECT_EQ(membarriers, before + 1);
}

// It has been preempted, or not been fast enough, in some of the rounds.
TEST(ReadSection, of_a_busy_reader_tells_enough_without_a_fence)
{
    if (readers_fence()) GTEST_SKIP() << "readers bring their own fences here";
    std::atomic<bool> stop{false};
    std::atomic<bool> busy{false};
    std::thread reader{[&] {
        while (!stop) {
            ReadSection const section;
            busy = true;
        }
    }};
    while (!busy) std::this_thread::yield();
    bool without = false;
    auto const deadline = std::chrono::steady_clock::now() + 20s;
    while (!without && std::chrono::steady_clock::now() < deadline) {
        unsigned const before = membarriers;
        wait_for_readers();
        without = membarriers == before;
    }
    stop = true;
    reader.join();
    EXPECT_TRUE(without);
}

// What everybody reads: good until it has been replaced and the readers have been waited for.
struct Thing {
    std::atomic<bool> good{true};
};

class Turnover {
public:
    void read()
    {
        ReadSection const section;
        Thing const* const thing = current_.load(std::memory_order_acquire);
        for (int i = 0; i < 20; ++i)
            if (!thing->good.load(std::memory_order_relaxed)) ++wrong;
        ++reads;
    }
    // Of many things in turns, so that what was replaced stays bad for long.
    void replace()
    {
        Thing& next = things_[++count_ % things_.size()];
        next.good = true;
        Thing* const old = current_.exchange(&next);
        wait_for_readers();
        old->good = false;
    }
    std::atomic<bool> stop{false};
    std::atomic<unsigned> wrong{0};
    std::atomic<unsigned> reads{0};

private:
    std::array<Thing, 16> things_;
    std::atomic<Thing*> current_{things_.data()};
    std::size_t count_ = 0;
};

TEST(ReadSection, nothing_is_taken_away_under_a_reader)
{
    Turnover turnover;
    std::thread reader{[&] {
        while (!turnover.stop) turnover.read();
    }};
    std::thread polling_reader{[&] {
        PollingReader polling;
        while (!turnover.stop) {
            turnover.read();
            turnover.read();
            polling.quiescent();
        }
    }};
    std::thread comers_and_goers{[&] {
        while (!turnover.stop) std::thread{[&] { turnover.read(); }}.join();
    }};
    auto const deadline = std::chrono::steady_clock::now() + 2s;
    while (turnover.reads < 500'000 && std::chrono::steady_clock::now() < deadline)
        turnover.replace();
    turnover.stop = true;
    reader.join();
    polling_reader.join();
    comers_and_goers.join();
    EXPECT_EQ(turnover.wrong, 0);
    EXPECT_GT(turnover.reads, 0);
}

// Waits that come together share one, and each must be as good as one of its own.
TEST(ReadSection, several_may_wait_at_once)
{
    Turnover turnovers[2];
    std::vector<std::thread> threads;
    for (auto& turnover : turnovers) {
        threads.emplace_back([&] {
            while (!turnover.stop) turnover.read();
        });
        threads.emplace_back([&] {
            auto const deadline = std::chrono::steady_clock::now() + 1s;
            while (turnover.reads < 50'000 && std::chrono::steady_clock::now() < deadline)
                turnover.replace();
            turnover.stop = true;
        });
    }
    for (auto& thread : threads) thread.join();
    for (auto& turnover : turnovers) EXPECT_EQ(turnover.wrong, 0);
}

// The last of this file: from here on all readers of the process fence.
TEST(ReadSectionWithoutMembarrier, goes_on_with_fences)
{
    no_membarrier = true;
    {
        Inside reader;
        EXPECT_TRUE(waits_until([&] { reader.leave(); }));
    }
    EXPECT_TRUE(readers_fence());
    Inside reader;
    EXPECT_TRUE(waits_until([&] { reader.leave(); }));
}

}  // namespace
}  // namespace pinfold
