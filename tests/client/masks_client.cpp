// Masks that block SIGSEGV, set in every way that there is: registers answer all the same, and
// faults of the program's own and signals that are sent are what they are on Linux. Each case is a
// child, because most would otherwise be the end. Prints what failed; exit status 0 where nothing
// did.
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>

#include "vfio_client.hpp"

namespace {

sigjmp_buf way_out;
int volatile count = 0;
std::uint32_t volatile* registers = nullptr;

// The wait status of a child that runs `body` and exits with what it returns.
int child(int (*body)())
{
    (void)std::fflush(stdout);
    pid_t const pid = ::fork();
    if (pid == 0) {
        (void)::alarm(20);
        ::_exit(body());
    }
    int status = -1;
    (void)::waitpid(pid, &status, 0);
    return status;
}

bool exits(int status, int with) { return WIFEXITED(status) && WEXITSTATUS(status) == with; }
bool is_killed(int status) { return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV; }

constexpr int kFine = 42;
constexpr int kWrong = 1;

int fine_if(bool so) { return so ? kFine : kWrong; }

bool registers_answer()
{
    registers[1] = 0x77;
    return registers[1] == ~0x77U;
}

void note_registers(int) { count = registers_answer() ? kFine : kWrong; }

sigset_t all_but(int signal)
{
    sigset_t set;
    ::sigfillset(&set);
    ::sigdelset(&set, signal);
    return set;
}

sigset_t only(int signal)
{
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, signal);
    return set;
}

void block(int signal)
{
    auto const set = only(signal);
    (void)::sigprocmask(SIG_BLOCK, &set, nullptr);
}

void unblock(int signal)
{
    auto const set = only(signal);
    (void)::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

bool is_blocked(int signal)
{
    sigset_t now;
    ::sigemptyset(&now);
    (void)::sigprocmask(SIG_BLOCK, nullptr, &now);
    return ::sigismember(&now, signal) == 1;
}

void fault()
{
    static int volatile* const volatile nothing = reinterpret_cast<int volatile*>(8);
    *nothing = 1;
}

void handle(int signal, void (*handler)(int), int flags = 0)
{
    struct sigaction action{};
    action.sa_handler = handler;
    action.sa_flags = flags;
    (void)::sigaction(signal, &action, nullptr);
}

// ---- registers answer ----

template <class Wait>
int in_a_handler_while_waiting(Wait wait)
{
    handle(SIGALRM, note_registers);
    auto const set = all_but(SIGALRM);
    itimerval const soon{.it_interval = {}, .it_value = {.tv_sec = 0, .tv_usec = 20000}};
    (void)::setitimer(ITIMER_REAL, &soon, nullptr);
    bool const interrupted = wait(set) == -1 && errno == EINTR;
    return fine_if(interrupted && count == kFine && !is_blocked(SIGSEGV) && registers_answer());
}

void waiting_with_a_full_mask()
{
    CHECK(exits(child([] {
                    return in_a_handler_while_waiting(
                        [](sigset_t const& set) { return ::sigsuspend(&set); });
                }),
                kFine));
    CHECK(exits(child([] {
                    return in_a_handler_while_waiting(
                        [](sigset_t const& set) { return ::ppoll(nullptr, 0, nullptr, &set); });
                }),
                kFine));
    CHECK(exits(child([] {
                    return in_a_handler_while_waiting([](sigset_t const& set) {
                        return ::pselect(0, nullptr, nullptr, nullptr, nullptr, &set);
                    });
                }),
                kFine));
    CHECK(exits(child([] {
                    return in_a_handler_while_waiting([](sigset_t const& set) {
                        epoll_event event{};
                        return ::epoll_pwait(::epoll_create1(0), &event, 1, -1, &set);
                    });
                }),
                kFine));
    CHECK(exits(child([] {
                    return in_a_handler_while_waiting([](sigset_t const& set) {
                        epoll_event event{};
                        return ::epoll_pwait2(::epoll_create1(0), &event, 1, nullptr, &set);
                    });
                }),
                kFine));
}

int by_number()
{
    std::uint64_t const all = ~std::uint64_t{0};
    std::uint64_t now = 0;
    if (::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, nullptr, 8) != 0) return kWrong;
    if (!registers_answer() || !is_blocked(SIGSEGV)) return kWrong;
    if (::syscall(SYS_rt_sigprocmask, SIG_SETMASK, nullptr, &now, 8) != 0) return kWrong;
    bool const refused =
        ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, 1L, nullptr, 8) == -1 && errno == EFAULT;
    return fine_if(refused && (now >> (SIGSEGV - 1) & 1U) == 1);
}

int by_a_handlers_context()
{
    struct sigaction action{};
    action.sa_flags = SA_SIGINFO;
    action.sa_sigaction = [](int, siginfo_t*, void* context) {
        auto& mask = static_cast<ucontext_t*>(context)->uc_sigmask;
        ::sigaddset(&mask, SIGSEGV);
        ::sigaddset(&mask, SIGUSR2);
    };
    (void)::sigaction(SIGUSR1, &action, nullptr);
    (void)::raise(SIGUSR1);
    return fine_if(registers_answer() && is_blocked(SIGSEGV) && is_blocked(SIGUSR2));
}

int by_a_context()
{
    static ucontext_t context;
    static int volatile turns = 0;
    (void)::getcontext(&context);
    turns = turns + 1;
    if (turns == 1) {
        ::sigfillset(&context.uc_sigmask);
        (void)::setcontext(&context);
    }
    return fine_if(turns == 2 && registers_answer() && is_blocked(SIGSEGV));
}

void* thread_body(void*)
{
    count = registers_answer() ? kFine : kWrong;
    return nullptr;
}

int by_a_threads_attributes()
{
    pthread_attr_t attributes;
    pthread_t thread;
    auto const all = all_but(SIGALRM);
    (void)::pthread_attr_init(&attributes);
    (void)::pthread_attr_setsigmask_np(&attributes, &all);
    if (::pthread_create(&thread, &attributes, thread_body, nullptr) != 0) return kWrong;
    (void)::pthread_join(thread, nullptr);
    return count;
}

int by_a_timers_thread()
{
    sigevent event{};
    event.sigev_notify = SIGEV_THREAD;
    event.sigev_value.sival_int = kFine;
    event.sigev_notify_function = [](sigval value) {
        count = registers_answer() ? value.sival_int : kWrong;
    };
    timer_t timer;
    itimerspec const soon{.it_interval = {}, .it_value = {.tv_sec = 0, .tv_nsec = 10'000'000}};
    if (::timer_create(CLOCK_MONOTONIC, &event, &timer) != 0) return kWrong;
    (void)::timer_settime(timer, 0, &soon, nullptr);
    for (int i = 0; i < 500 && count == 0; ++i) (void)::usleep(10'000);
    return count;
}

// ---- the program's own faults ----

int a_handler_faults()
{
    static auto* const runs = memory(kPage);
    handle(SIGSEGV, [](int) {
        ++runs[0];
        if (runs[0] > 1) ::_exit(kWrong);
        (void)registers_answer();
        fault();
    });
    fault();
    return kWrong;
}

int a_fault_is_blocked()
{
    handle(SIGSEGV, [](int) { ::_exit(kWrong); });
    block(SIGSEGV);
    fault();
    return kWrong;
}

int a_handler_leaves_without_the_mask()
{
    handle(SIGSEGV, [](int) { ::siglongjmp(way_out, 1); });
    if (sigsetjmp(way_out, 0) == 0) fault();
    if (!is_blocked(SIGSEGV) || !registers_answer()) return kWrong;
    fault();
    return kWrong;
}

int handlers_leave_with_the_mask()
{
    handle(SIGSEGV, [](int) { ::siglongjmp(way_out, 1); });
    static int i = 0;
    for (i = 0; i < 1000; ++i) {
        if (sigsetjmp(way_out, 1) == 0) fault();
        if (is_blocked(SIGSEGV)) return kWrong;
    }
    return kFine;
}

int a_handler_that_does_not_defer()
{
    handle(
        SIGSEGV,
        [](int) {
            count = count + 1;
            if (is_blocked(SIGSEGV)) ::_exit(kWrong);
            if (count < 3) fault();
            ::_exit(kFine);
        },
        SA_NODEFER);
    fault();
    return kWrong;
}

int a_handlers_mask_is_seen()
{
    handle(SIGSEGV, [](int) { ::_exit(fine_if(is_blocked(SIGSEGV) && !is_blocked(SIGBUS))); });
    fault();
    return kWrong;
}

// ---- signals that somebody sent ----

int one_that_is_blocked_waits()
{
    handle(SIGSEGV, [](int) { count = count + 1; });
    block(SIGSEGV);
    (void)::raise(SIGSEGV);
    (void)::kill(::getpid(), SIGSEGV);
    sigset_t pending;
    bool const waits = count == 0 && ::sigpending(&pending) == 0 &&
                       ::sigismember(&pending, SIGSEGV) == 1 && registers_answer();
    unblock(SIGSEGV);
    // One to the thread and one to the process.
    return fine_if(waits && count == 2 && !is_blocked(SIGSEGV) && ::sigpending(&pending) == 0 &&
                   ::sigismember(&pending, SIGSEGV) == 0);
}

int one_that_is_blocked_is_waited_for()
{
    auto const set = only(SIGSEGV);
    block(SIGSEGV);
    int got = 0;
    (void)::kill(::getpid(), SIGSEGV);
    if (::sigwait(&set, &got) != 0 || got != SIGSEGV) return kWrong;
    (void)::sigqueue(::getpid(), SIGSEGV, {.sival_int = 5});
    siginfo_t info{};
    if (::sigwaitinfo(&set, &info) != SIGSEGV || info.si_value.sival_int != 5) return kWrong;
    timespec const none{};
    return fine_if(::sigtimedwait(&set, nullptr, &none) == -1 && errno == EAGAIN &&
                   registers_answer());
}

int a_handler_interrupts_the_wait_for_one()
{
    handle(SIGALRM, note_registers);
    auto const set = only(SIGSEGV);
    block(SIGSEGV);
    itimerval const soon{.it_interval = {}, .it_value = {.tv_sec = 0, .tv_usec = 20000}};
    (void)::setitimer(ITIMER_REAL, &soon, nullptr);
    bool const interrupted = ::sigwaitinfo(&set, nullptr) == -1 && errno == EINTR;
    return fine_if(interrupted && count == kFine && registers_answer());
}

int one_that_comes_in_its_own_handler_waits()
{
    handle(SIGSEGV, [](int) {
        static int volatile depth = 0;
        depth = depth + 1;
        if (depth > 1) ::_exit(kWrong);
        count = count + 1;
        if (count == 1) (void)::raise(SIGSEGV);
        depth = depth - 1;
    });
    (void)::raise(SIGSEGV);
    return fine_if(count == 2);
}

int one_that_ends_a_wait()
{
    handle(SIGSEGV, [](int) { count = count + 1; });
    block(SIGSEGV);
    (void)::raise(SIGSEGV);
    auto const set = all_but(SIGSEGV);
    bool const ended = ::sigsuspend(&set) == -1 && errno == EINTR;
    return fine_if(ended && count == 1 && is_blocked(SIGSEGV));
}

}  // namespace

int main()
{
    rlimit const none{};
    (void)::setrlimit(RLIMIT_CORE, &none);
    Edu const edu;
    registers = edu.registers;
    waiting_with_a_full_mask();
    CHECK(exits(child(by_number), kFine));
    CHECK(exits(child(by_a_handlers_context), kFine));
    CHECK(exits(child(by_a_context), kFine));
    CHECK(exits(child(by_a_threads_attributes), kFine));
    CHECK(exits(child(by_a_timers_thread), kFine));
    CHECK(is_killed(child(a_handler_faults)));
    CHECK(is_killed(child(a_fault_is_blocked)));
    CHECK(is_killed(child(a_handler_leaves_without_the_mask)));
    CHECK(exits(child(handlers_leave_with_the_mask), kFine));
    CHECK(exits(child(a_handler_that_does_not_defer), kFine));
    CHECK(exits(child(a_handlers_mask_is_seen), kFine));
    CHECK(exits(child(one_that_is_blocked_waits), kFine));
    CHECK(exits(child(one_that_is_blocked_is_waited_for), kFine));
    CHECK(exits(child(a_handler_interrupts_the_wait_for_one), kFine));
    CHECK(exits(child(one_that_comes_in_its_own_handler_waits), kFine));
    CHECK(exits(child(one_that_ends_a_wait), kFine));
    return finish();
}
