#include "preload/blocked_faults.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>

namespace pinfold::preload::blocked_faults {
namespace {

constexpr std::array<int, 2> kSignals{SIGSEGV, SIGBUS};
constexpr Bits kAll = 3;

// One signal that waits. Whoever finds it busy was interrupted by, or interrupts, its like.
class Slot {
public:
    void put(siginfo_t const& info)
    {
        auto expected = State::empty;
        if (!state_.compare_exchange_strong(expected, State::busy)) return;
        info_ = info;
        state_.store(State::full);
    }
    bool take(siginfo_t& info)
    {
        auto expected = State::full;
        if (!state_.compare_exchange_strong(expected, State::busy)) return false;
        info = info_;
        state_.store(State::empty);
        return true;
    }
    bool full() const { return state_.load() == State::full; }
    void clear() { state_.store(State::empty); }

private:
    enum class State { empty, busy, full };
    std::atomic<State> state_{State::empty};
    siginfo_t info_{};
};

using Slots = std::array<Slot, kSignals.size()>;

[[gnu::tls_model("initial-exec")]] constinit thread_local Bits blocked = 0;
[[gnu::tls_model("initial-exec")]] constinit thread_local Slots of_thread{};
constinit Slots of_process{};

bool names_a_thread(siginfo_t const& info) { return info.si_code == SI_TKILL; }

}  // namespace

Bits bit(int signal) { return signal == SIGSEGV ? 1U : signal == SIGBUS ? 2U : 0U; }

Bits in(sigset_t const& set)
{
    Bits bits = 0;
    for (int const signal : kSignals)
        if (::sigismember(&set, signal) == 1) bits |= bit(signal);
    return bits;
}

void add(sigset_t& set, Bits bits)
{
    for (int const signal : kSignals)
        if ((bits & bit(signal)) != 0) (void)::sigaddset(&set, signal);
}

void remove(sigset_t& set)
{
    for (int const signal : kSignals) (void)::sigdelset(&set, signal);
}

Bits now() { return blocked; }

bool become(Bits wanted)
{
    Bits const freed = blocked & ~wanted;
    blocked = wanted;
    return freed != 0 && deliver();
}

void keep(siginfo_t const& info)
{
    auto& slots = names_a_thread(info) ? of_thread : of_process;
    for (std::size_t i = 0; i < kSignals.size(); ++i)
        if (kSignals[i] == info.si_signo) slots[i].put(info);
}

Bits kept()
{
    Bits bits = 0;
    for (std::size_t i = 0; i < kSignals.size(); ++i)
        if (of_thread[i].full() || of_process[i].full()) bits |= bit(kSignals[i]);
    return bits;
}

bool take(Bits wanted, siginfo_t& info)
{
    for (std::size_t i = 0; i < kSignals.size(); ++i)
        if ((wanted & bit(kSignals[i])) != 0 &&
            (of_thread[i].take(info) || of_process[i].take(info)))
            return true;
    return false;
}

bool deliver()
{
    int const saved = errno;
    bool any = false;
    for (siginfo_t info{}; take(kAll & ~blocked, info); any = true)
        (void)::syscall(SYS_rt_tgsigqueueinfo, ::getpid(), ::gettid(), info.si_signo, &info);
    errno = saved;
    return any;
}

void forget()
{
    for (auto* const slots : {&of_thread, &of_process})
        for (auto& slot : *slots) slot.clear();
}

}  // namespace pinfold::preload::blocked_faults
