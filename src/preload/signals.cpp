#include "preload/signals.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <vector>

#include "base/unique_fd.hpp"
#include "host/guarded_copy.hpp"
#include "preload/blocked_faults.hpp"
#include "preload/own_stack.hpp"
#include "preload/resume.hpp"

namespace pinfold::preload {
namespace {

// Static thread storage: a handler must not be the first to allocate it.
#define PINFOLD_SIGNAL_SAFE_TLS [[gnu::tls_model("initial-exec")]] constinit thread_local

PINFOLD_SIGNAL_SAFE_TLS int depth = 0;
PINFOLD_SIGNAL_SAFE_TLS int cancel_state = 0;        // of the thread outside the engine
PINFOLD_SIGNAL_SAFE_TLS std::uint64_t deferred = 0;  // bit n: signal n waits for the way out

std::uint64_t bit(int signal) { return std::uint64_t{1} << (signal - 1); }

// What the client believes is installed. Read in handlers, so guarded by a sequence count and not
// by a lock.
class ClientAction {
public:
    struct sigaction load() const
    {
        for (;;) {
            unsigned const before = sequence_.load(std::memory_order_acquire);
            struct sigaction const copy = action_;
            std::atomic_thread_fence(std::memory_order_acquire);
            if (before % 2 == 0 && sequence_.load(std::memory_order_relaxed) == before) return copy;
        }
    }

    // REQUIRES: all signals blocked in this thread, or none whose handler could want this action.
    void store(struct sigaction const& action)
    {
        while (writing_.test_and_set(std::memory_order_acquire)) {
        }
        sequence_.fetch_add(1, std::memory_order_acq_rel);
        action_ = action;
        sequence_.fetch_add(1, std::memory_order_release);
        writing_.clear(std::memory_order_release);
    }

private:
    std::atomic<unsigned> sequence_{0};
    std::atomic_flag writing_;
    struct sigaction action_{};
};

std::array<ClientAction, NSIG> client_actions;
Signals::FaultHandler fault_handler = nullptr;

bool is_fault(int signal) { return signal == SIGSEGV || signal == SIGBUS || signal == SIGFPE; }

bool has_handler(struct sigaction const& action)
{
    return (action.sa_flags & SA_SIGINFO) != 0 ||
           (action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN);
}

void set_default(int signal)
{
    struct sigaction action{};
    action.sa_handler = SIG_DFL;
    (void)::sigaction(signal, &action, nullptr);
}

// For the kernel. What this thread had blocked before.
sigset_t unblock_faults()
{
    sigset_t faults;
    sigset_t before;
    (void)::sigemptyset(&faults);
    blocked_faults::add(faults, ~blocked_faults::Bits{0});
    (void)::pthread_sigmask(SIG_UNBLOCK, &faults, &before);
    return before;
}

// With SIGSEGV and SIGBUS blocked as the kernel would; it does the same with all others.
void call(struct sigaction const& action, int signal, siginfo_t* info, void* context)
{
    auto& mask = static_cast<ucontext_t*>(context)->uc_sigmask;
    bool const blocks_itself = (action.sa_flags & static_cast<int>(SA_NODEFER)) == 0;
    // The kernel's own only where a call that waits for them was interrupted; it is over then.
    bool const really = blocked_faults::in(mask) != 0;
    blocked_faults::remove(mask);
    if (really) unblock_faults();
    blocked_faults::add(mask, blocked_faults::now());
    blocked_faults::become(blocked_faults::now() | blocked_faults::in(action.sa_mask) |
                           (blocks_itself ? blocked_faults::bit(signal) : 0));
    if ((action.sa_flags & SA_SIGINFO) != 0)
        action.sa_sigaction(signal, info, context);
    else
        action.sa_handler(signal);
    // What the handler has left there is what the kernel goes back to.
    auto const blocked = blocked_faults::in(mask);
    blocked_faults::remove(mask);
    blocked_faults::become(blocked);
}

void queue_again(int signal, siginfo_t* info)
{
    (void)::syscall(SYS_rt_tgsigqueueinfo, ::getpid(), ::gettid(), signal, info);
}

// ---- faults ----

// Does what the kernel would have done, had the client's own action been installed.
void pass_on(int signal, siginfo_t* info, void* raw_context)
{
    auto const action = client_actions[static_cast<std::size_t>(signal)].load();
    bool const sent = info->si_code <= 0;  // by kill() or its like: returning does not repeat it
    bool const blocked = (blocked_faults::now() & blocked_faults::bit(signal)) != 0;
    if (sent && (blocked || depth > 0)) {
        blocked_faults::keep(*info);
        deferred |= depth > 0 ? bit(signal) : 0;
        return;
    }
    // A fault waits for nobody: the kernel makes a blocked one the process's end.
    if (blocked || !has_handler(action)) {
        if (sent && action.sa_handler == SIG_IGN) return;
        set_default(signal);
        if (sent) queue_again(signal, info);
        return;
    }
    if ((action.sa_flags & static_cast<int>(SA_RESETHAND)) != 0)
        client_actions[static_cast<std::size_t>(signal)].store({});
    sigset_t mask = static_cast<ucontext_t*>(raw_context)->uc_sigmask;
    (void)sigorset(&mask, &mask, &action.sa_mask);
    if ((action.sa_flags & static_cast<int>(SA_NODEFER)) == 0) (void)::sigaddset(&mask, signal);
    blocked_faults::remove(mask);
    (void)::sigprocmask(SIG_SETMASK, &mask, nullptr);
    call(action, signal, info, raw_context);
}

// For the client it was another fault than the one that trapped.
void pass_on_instead(siginfo_t info, void* raw_context)
{
    int const signal = info.si_signo;
    bool const blocked = (blocked_faults::now() & blocked_faults::bit(signal)) != 0;
    if (!blocked && has_handler(client_actions[static_cast<std::size_t>(signal)].load()))
        return pass_on(signal, &info, raw_context);
    // Going back would trap again, and not end the client.
    set_default(signal);
    (void)::syscall(SYS_tgkill, ::getpid(), ::gettid(), signal);
}

// The stack is the client's until here and after, and the client's to leave.
Signals::Verdict judge(siginfo_t const& info, ucontext_t& context)
{
    Inside const inside;
    auto verdict = Signals::Verdict::foreign();
    own_stack::run(&context.uc_stack, [&] { verdict = fault_handler(info, context); });
    return verdict;
}

void on_fault(int signal, siginfo_t* info, void* raw_context)
{
    int const saved_errno = errno;
    auto& context = *static_cast<ucontext_t*>(raw_context);
    auto verdict = Signals::Verdict::foreign();
    if (info->si_code > 0) {
        if (host::recover(raw_context)) return;
        verdict = judge(*info, context);
    }
    errno = saved_errno;
    if (verdict.is_carried_out()) return resume(context);
    if (verdict.is_foreign())
        pass_on(signal, info, raw_context);
    else
        pass_on_instead(verdict.info(), raw_context);
}

// Nothing is blocked in it: a handler of the client's that arrives while a device works is deferred
// as everywhere in the engine, and there is no mask to restore on the way back.
void install_fault_handler(int signal, struct sigaction const& client)
{
    struct sigaction action{};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_RESTART | (client.sa_flags & SA_ONSTACK);
    (void)::sigemptyset(&action.sa_mask);
    (void)::sigaction(signal, &action, nullptr);
}

// ---- all others ----

void on_signal(int signal, siginfo_t* info, void* raw_context)
{
    if (depth > 0) {
        deferred |= bit(signal);
        (void)::sigaddset(&static_cast<ucontext_t*>(raw_context)->uc_sigmask, signal);
        sigset_t one;
        (void)::sigemptyset(&one);
        (void)::sigaddset(&one, signal);
        (void)::sigprocmask(SIG_BLOCK, &one, nullptr);
        queue_again(signal, info);
        return;
    }
    auto& client = client_actions[static_cast<std::size_t>(signal)];
    auto const action = client.load();
    if (!has_handler(action)) return;  // changed by another thread a moment ago
    if ((action.sa_flags & static_cast<int>(SA_RESETHAND)) != 0) {
        client.store({});
        set_default(signal);
    }
    call(action, signal, info, raw_context);
}

int install(int signal, struct sigaction const& client)
{
    if (is_fault(signal)) {
        install_fault_handler(signal, client);
        return 0;
    }
    struct sigaction action = client;
    if (has_handler(client)) {
        action.sa_sigaction = on_signal;
        // RESETHAND is ours to do: a deferred signal is delivered twice.
        action.sa_flags = (client.sa_flags | SA_SIGINFO) & ~static_cast<int>(SA_RESETHAND);
        blocked_faults::remove(action.sa_mask);
    }
    return ::sigaction(signal, &action, nullptr);
}

// ---- threads that have blocked faults before there was an engine ----

std::atomic<int> unblocked{0};

void unblock_here(int, siginfo_t*, void* raw_context)
{
    auto& mask = static_cast<ucontext_t*>(raw_context)->uc_sigmask;
    blocked_faults::become(blocked_faults::in(mask));
    blocked_faults::remove(mask);
    unblocked.fetch_add(1, std::memory_order_release);
}

// The kernel's struct sigaction, which the C library keeps to itself.
struct KernelAction {
    void (*handler)(int, siginfo_t*, void*);
    unsigned long flags;
    void (*restorer)();
    std::uint64_t mask;
};

[[gnu::naked]] void return_from_signal()
{
    asm("movl $15, %eax\n syscall");  // rt_sigreturn
}

// The signals that a thread blocks; 0: it has gone.
std::uint64_t blocked_by(int thread)
{
    std::array<char, 64> path{};
    std::array<char, 4096> text{};
    (void)std::snprintf(path.data(), path.size(), "/proc/self/task/%d/status", thread);
    UniqueFd const file{::open(path.data(), O_RDONLY | O_CLOEXEC)};
    if (!file || ::read(file.get(), text.data(), text.size() - 1) <= 0) return 0;
    char const* const line = std::strstr(text.data(), "\nSigBlk:\t");
    return line == nullptr ? 0 : std::strtoull(line + 9, nullptr, 16);
}

std::vector<int> threads_that_block_faults()
{
    std::vector<int> threads;
    std::error_code error;
    for (auto const& entry : std::filesystem::directory_iterator{"/proc/self/task", error}) {
        int const thread = std::atoi(entry.path().filename().c_str());
        bool const blocks = (blocked_by(thread) & (bit(SIGSEGV) | bit(SIGBUS))) != 0;
        if (thread != ::gettid() && blocks) threads.push_back(thread);
    }
    return threads;
}

bool ask_to_unblock(int thread, int signal)
{
    siginfo_t info{};
    info.si_signo = signal;
    info.si_code = SI_QUEUE;
    info.si_pid = ::getpid();
    info.si_uid = ::getuid();
    return ::syscall(SYS_rt_tgsigqueueinfo, ::getpid(), thread, signal, &info) == 0;
}

// By the one signal that the C library lets no thread block: its own, for setuid(2) in all threads.
void unblock_everywhere()
{
    constexpr int kSetXid = 33;
    constexpr unsigned long kRestorer = 0x04000000;
    auto const threads = threads_that_block_faults();
    if (threads.empty()) return;
    KernelAction const ours{unblock_here, SA_SIGINFO | SA_RESTART | kRestorer, return_from_signal,
                            0};
    KernelAction theirs{};
    constexpr std::size_t kMaskBytes = 8;
    if (::syscall(SYS_rt_sigaction, kSetXid, &ours, &theirs, kMaskBytes) != 0) return;
    int asked = 0;
    for (int const thread : threads) asked += ask_to_unblock(thread, kSetXid) ? 1 : 0;
    // A thread that does not run soon is stopped; it comes to the C library's handler then, which
    // leaves alone what is queued and not its own.
    for (int i = 0; i < 1000 && unblocked.load(std::memory_order_acquire) < asked; ++i)
        (void)::usleep(100);
    (void)::syscall(SYS_rt_sigaction, kSetXid, &theirs, nullptr, kMaskBytes);
}

}  // namespace

siginfo_t Signals::Verdict::info() const
{
    siginfo_t info{};
    info.si_signo = signal_;
    info.si_code = code_;
    info.si_addr = address_;
    return info;
}

void Signals::start(FaultHandler handler)
{
    fault_handler = handler;
    own_stack::prepare();
    for (int signal = 1; signal < NSIG; ++signal) {
        struct sigaction present{};
        if (::sigaction(signal, nullptr, &present) != 0) continue;
        client_actions[static_cast<std::size_t>(signal)].store(present);
        if (is_fault(signal) || has_handler(present)) (void)install(signal, present);
    }
    auto const before = unblock_faults();
    (void)blocked_faults::become(blocked_faults::in(before));
    (void)::pthread_atfork(nullptr, nullptr, blocked_faults::forget);
    unblock_everywhere();
}

long Signals::action(int signal, struct sigaction const* act, struct sigaction* old)
{
    if (signal < 1 || signal >= NSIG) return -EINVAL;
    sigset_t all;
    sigset_t before;
    (void)::sigfillset(&all);
    blocked_faults::remove(all);
    (void)::pthread_sigmask(SIG_BLOCK, &all, &before);
    auto& client = client_actions[static_cast<std::size_t>(signal)];
    auto const previous = client.load();
    long result = 0;
    if (act != nullptr) {
        struct sigaction const wanted = *act;
        client.store(wanted);
        if (install(signal, wanted) != 0) {
            result = -errno;
            client.store(previous);
        }
    }
    (void)::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (result == 0 && old != nullptr) *old = previous;
    return result;
}

long Signals::mask(int how, sigset_t const* set, sigset_t* old)
{
    auto const before = blocked_faults::now();
    sigset_t others;
    (void)::sigemptyset(&others);
    blocked_faults::Bits named = 0;
    if (set != nullptr) {
        others = *set;
        named = blocked_faults::in(*set);
        blocked_faults::remove(others);
    }
    int const error = ::pthread_sigmask(how, set != nullptr ? &others : nullptr, old);
    if (error != 0) return -error;
    if (old != nullptr) blocked_faults::add(*old, before);
    if (set == nullptr) return 0;
    (void)blocked_faults::become(how == SIG_BLOCK     ? before | named
                                 : how == SIG_UNBLOCK ? before & ~named
                                                      : named);
    return 0;
}

Inside::Inside()
{
    if (++depth == 1) (void)::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
}

Inside::~Inside()
{
    if (depth == 1) (void)::pthread_setcancelstate(cancel_state, nullptr);
    if (--depth > 0 || deferred == 0) return;
    sigset_t waiting;
    (void)::sigemptyset(&waiting);
    for (int signal = 1; signal < NSIG; ++signal)
        if ((deferred & bit(signal)) != 0) (void)::sigaddset(&waiting, signal);
    deferred = 0;
    (void)::pthread_sigmask(SIG_UNBLOCK, &waiting, nullptr);
    if (blocked_faults::in(waiting) != 0) (void)blocked_faults::deliver();
}

}  // namespace pinfold::preload
