// SIGSEGV and SIGBUS as the program blocks them. For the kernel no thread of it ever blocks them,
// because its next register access would be its end; what its masks say of the two is kept here,
// with those that somebody sent meanwhile. Thread safe, async-signal-safe; each thread has its own.
#pragma once

#include <signal.h>

namespace pinfold::preload::blocked_faults {

// 1: SIGSEGV, 2: SIGBUS.
using Bits = unsigned;

Bits bit(int signal);  // 0 for all other signals
Bits in(sigset_t const& set);
void add(sigset_t& set, Bits bits);
void remove(sigset_t& set);

// What this thread blocks.
Bits now();
// From now on it blocks these and no others. True: what had been kept of the others is delivered.
bool become(Bits blocked);

// A signal that somebody sent comes later: to this thread, or to whoever unblocks it first if the
// process was meant. Lost if there is one of its number already, as with the kernel.
void keep(siginfo_t const& info);
// The kept ones that this thread might get.
Bits kept();
// Takes one of `wanted` out. False: there is none.
bool take(Bits wanted, siginfo_t& info);
// Sends those again that are kept and not blocked. True: there was one.
bool deliver();
// In a child of fork(2), which inherits none.
void forget();

}  // namespace pinfold::preload::blocked_faults
