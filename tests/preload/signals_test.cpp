// Signals change the whole process, so each test runs in a child of its own and answers by its exit
// status.
#include "preload/signals.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csetjmp>
#include <functional>

#include "host/guarded_copy.hpp"

// A sanitizer's own handlers would answer the faults that these tests want to see.
extern "C" [[gnu::visibility("default")]] char const* __asan_default_options();
extern "C" char const* __asan_default_options() { return "handle_segv=0:handle_sigbus=0"; }

namespace pinfold::preload {
namespace {

constexpr std::size_t kPage = 4096;

// The child's wait status.
int in_child(std::function<bool()> const& body)
{
    pid_t const child = ::fork();
    if (child == 0) {
        (void)::alarm(120);
        ::_exit(body() ? 0 : 1);
    }
    int status = -1;
    (void)::waitpid(child, &status, 0);
    return status;
}

#define EXPECT_IN_CHILD(...) EXPECT_EQ(in_child([] __VA_ARGS__), 0)

char* window = nullptr;  // the page whose faults are "ours"
int volatile seen = 0;
sigjmp_buf way_out;

char* closed_window = nullptr;  // the page that the bus refuses

bool lies_in(siginfo_t const& info, char const* page)
{
    return page != nullptr && info.si_addr >= page && info.si_addr < page + kPage;
}

Signals::Verdict handle(siginfo_t const& info, ucontext_t&)
{
    using Verdict = Signals::Verdict;
    if (lies_in(info, closed_window)) return Verdict::becomes(SIGBUS, BUS_ADRERR, info.si_addr);
    if (!lies_in(info, window)) return Verdict::foreign();
    return ::mprotect(window, kPage, PROT_READ | PROT_WRITE) == 0 ? Verdict::carried_out()
                                                                  : Verdict::foreign();
}

char* no_access_page()
{
    return static_cast<char*>(
        ::mmap(nullptr, kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

void start()
{
    window = no_access_page();
    closed_window = no_access_page();
    Signals::start(handle);
}

long act(int signal, void (*handler)(int), int flags = 0)
{
    struct sigaction action{};
    action.sa_handler = handler;
    action.sa_flags = flags;
    return Signals::action(signal, &action, nullptr);
}

TEST(Signals, a_fault_of_ours_is_carried_out_and_the_clients_handler_never_sees_it)
{
    EXPECT_IN_CHILD({
        start();
        (void)act(SIGSEGV, [](int) { seen = 1; });
        window[5] = 1;
        return window[5] == 1 && seen == 0;
    });
}

TEST(Signals, a_fault_that_is_not_ours_reaches_the_clients_handler_as_if_it_were_alone)
{
    EXPECT_IN_CHILD({
        start();
        (void)act(SIGSEGV, [](int) { siglongjmp(way_out, 1); });
        if (sigsetjmp(way_out, 1) != 0) return true;
        *no_access_page() = 1;
        return false;
    });
}

TEST(Signals, a_handler_that_was_there_before_the_engine_is_kept)
{
    EXPECT_IN_CHILD({
        struct sigaction action{};
        action.sa_handler = [](int) { siglongjmp(way_out, 1); };
        (void)::sigaction(SIGSEGV, &action, nullptr);
        start();
        struct sigaction shown{};
        if (Signals::action(SIGSEGV, nullptr, &shown) != 0 || shown.sa_handler != action.sa_handler)
            return false;
        if (sigsetjmp(way_out, 1) != 0) return true;
        *no_access_page() = 1;
        return false;
    });
}

TEST(Signals, an_access_that_the_bus_refused_is_the_clients_SIGBUS)
{
    EXPECT_IN_CHILD({
        start();
        struct sigaction action{};
        action.sa_flags = SA_SIGINFO;
        action.sa_sigaction = [](int signal, siginfo_t* info, void*) {
            bool const right = signal == SIGBUS && info->si_signo == SIGBUS &&
                               info->si_code == BUS_ADRERR && info->si_addr == closed_window + 7;
            siglongjmp(way_out, right ? 1 : 2);
        };
        (void)Signals::action(SIGBUS, &action, nullptr);
        int const came = sigsetjmp(way_out, 1);
        if (came != 0) return came == 1;
        closed_window[7] = 1;
        return false;
    });
}

TEST(Signals, without_a_handler_an_access_that_the_bus_refused_kills_with_SIGBUS)
{
    int const status = in_child([] {
        start();
        (void)act(SIGSEGV, [](int) { ::_exit(0); });
        closed_window[7] = 1;
        return true;
    });
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
}

TEST(Signals, without_a_handler_a_strange_fault_kills_with_SIGSEGV)
{
    int const status = in_child([] {
        start();
        *no_access_page() = 1;
        return true;
    });
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

TEST(Signals, a_SIGSEGV_that_somebody_sent_kills_or_is_ignored_as_the_client_chose)
{
    int const status = in_child([] {
        start();
        (void)::raise(SIGSEGV);
        return true;
    });
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    EXPECT_IN_CHILD({
        start();
        (void)act(SIGSEGV, SIG_IGN);
        (void)::raise(SIGSEGV);
        return true;
    });
}

TEST(Signals, a_guarded_copy_recovers_also_inside_the_engine)
{
    EXPECT_IN_CHILD({
        start();
        Inside const inside;
        char byte = 0;
        return host::guarded_copy(&byte, no_access_page(), 1) == 1;
    });
}

TEST(Signals, a_handler_is_deferred_while_its_thread_is_inside_the_engine)
{
    EXPECT_IN_CHILD({
        start();
        (void)act(SIGUSR1, [](int) { seen = seen + 1; });
        bool deferred = false;
        {
            Inside const outer;
            Inside const inner;
            (void)::raise(SIGUSR1);
            deferred = seen == 0;
        }
        sigset_t mask;
        (void)::sigprocmask(SIG_SETMASK, nullptr, &mask);
        return deferred && seen == 1 && sigismember(&mask, SIGUSR1) == 0;
    });
}

TEST(Signals, a_one_shot_handler_runs_once_also_when_deferred)
{
    int const status = in_child([] {
        start();
        (void)act(SIGUSR1, [](int) { seen = seen + 1; }, static_cast<int>(SA_RESETHAND));
        {
            Inside const inside;
            (void)::raise(SIGUSR1);
        }
        if (seen != 1) return false;
        (void)::raise(SIGUSR1);
        return true;
    });
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1);
}

TEST(Signals, a_SIGSEGV_that_somebody_sent_is_deferred_while_its_thread_is_inside_the_engine)
{
    EXPECT_IN_CHILD({
        start();
        (void)act(SIGSEGV, [](int) { seen = seen + 1; });
        bool deferred = false;
        {
            Inside const inside;
            (void)::raise(SIGSEGV);
            deferred = seen == 0;
        }
        return deferred && seen == 1;
    });
}

TEST(Signals, a_blocked_fault_is_blocked_for_the_client_and_not_for_the_kernel)
{
    EXPECT_IN_CHILD({
        start();
        (void)act(SIGSEGV, [](int) { seen = seen + 1; });
        sigset_t all;
        sigset_t old;
        (void)::sigfillset(&all);
        if (Signals::mask(SIG_SETMASK, &all, nullptr) != 0) return false;
        window[5] = 1;
        (void)::raise(SIGSEGV);
        if (seen != 0 || Signals::mask(SIG_UNBLOCK, &all, &old) != 0) return false;
        return seen == 1 && sigismember(&old, SIGSEGV) == 1 && sigismember(&old, SIGBUS) == 1 &&
               Signals::mask(SIG_BLOCK, nullptr, &old) == 0 && sigismember(&old, SIGSEGV) == 0 &&
               Signals::mask(99, &all, nullptr) == -EINVAL;
    });
}

TEST(Signals, a_refused_access_with_SIGBUS_blocked_is_the_end)
{
    int const status = in_child([] {
        start();
        (void)act(SIGBUS, [](int) { ::_exit(0); });
        sigset_t all;
        (void)::sigfillset(&all);
        (void)Signals::mask(SIG_SETMASK, &all, nullptr);
        closed_window[7] = 1;
        return true;
    });
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
}

TEST(Signals, sigaction_answers_as_the_kernel_does)
{
    EXPECT_IN_CHILD({
        start();
        struct sigaction old{};
        if (Signals::action(0, nullptr, &old) != -EINVAL ||
            Signals::action(NSIG, nullptr, &old) != -EINVAL)
            return false;
        if (act(SIGKILL, SIG_IGN) != -EINVAL) return false;
        if (act(SIGUSR2, [](int) {}, SA_RESTART) != 0) return false;
        return Signals::action(SIGUSR2, nullptr, &old) == 0 && old.sa_flags == SA_RESTART &&
               (old.sa_flags & SA_SIGINFO) == 0;
    });
}

}  // namespace
}  // namespace pinfold::preload
