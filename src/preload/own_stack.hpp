// The engine's own stack in each thread of the client. The program's may be too small for a device
// that works on it: an alternate stack of 8 KiB, a thread's of PTHREAD_STACK_MIN.
//
// A thread's is mapped when it is needed first, with a page without access below it, and unmapped
// when the thread ends. Async-signal-safe, except prepare() and the first use in a thread of a
// process that has used 32 pthread keys before the engine came: that one may allocate.
#pragma once

#include <signal.h>

#include <type_traits>

namespace pinfold::preload::own_stack {

// Once, before all others. Without it nothing here changes stacks.
void prepare();

// The thread's alternate stack may be another from now on.
void forget_alternate();

// Calls work(argument) on the engine's stack; on the present one if that is it already, or if there
// is no memory for it. `alternate`: the thread's alternate stack, if that is known.
// REQUIRES: no code of the client's runs until this returns (an Inside lives).
void call(stack_t const* alternate, void (*work)(void*), void* argument);

template <class Work>
auto run(stack_t const* alternate, Work&& work)
{
    using Plain = std::remove_reference_t<Work>;
    using Result = decltype(work());
    if constexpr (std::is_void_v<Result>) {
        call(alternate, [](void* it) { (*static_cast<Plain*>(it))(); }, &work);
    } else {
        struct Task {
            Plain& work;
            Result result;
        } task{work, Result{}};
        call(
            alternate,
            [](void* it) {
                auto& own = *static_cast<Task*>(it);
                own.result = own.work();
            },
            &task);
        return task.result;
    }
}

}  // namespace pinfold::preload::own_stack
