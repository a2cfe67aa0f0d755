// Runs code one instruction at a time, so that a test can have something else happen at each point
// in it: what other threads may do, in every order and without luck. By the processor's trap flag;
// not for ThreadSanitizer, which holds signals back.
#pragma once

#include <signal.h>
#include <ucontext.h>
#include <x86intrin.h>

#include <cstddef>

#include "base/function_ref.hpp"

namespace pinfold::test {

enum class Stepping { on, off };

namespace single_step_detail {

using Between = FunctionRef<Stepping(std::size_t)>;

inline constexpr unsigned long long kTrapFlag = 0x100;
inline Between const* between = nullptr;
inline std::size_t steps = 0;

inline void on_trap(int, siginfo_t*, void* context)
{
    if ((*between)(steps++) == Stepping::on) return;
    auto& flags = static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_EFL];
    flags &= ~static_cast<greg_t>(kTrapFlag);
}

}  // namespace single_step_detail

// `between` is told how many instructions have been run, runs at full speed, and says whether the
// rest of `body` does too. Returns how often it was asked. The instructions of the way into `body`
// and out of it count. One thread at a time.
inline std::size_t single_step(FunctionRef<void()> body, single_step_detail::Between between)
{
    namespace detail = single_step_detail;
    struct sigaction action{};
    action.sa_sigaction = detail::on_trap;
    action.sa_flags = SA_SIGINFO;
    struct sigaction before{};
    ::sigaction(SIGTRAP, &action, &before);
    detail::between = &between;
    detail::steps = 0;
    __writeeflags(__readeflags() | detail::kTrapFlag);
    body();
    __writeeflags(__readeflags() & ~detail::kTrapFlag);
    ::sigaction(SIGTRAP, &before, nullptr);
    return detail::steps;
}

}  // namespace pinfold::test
