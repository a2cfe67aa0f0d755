// Copies that survive memory which is not there. A device's DMA may meet a page that the process
// has unmapped in a way that nobody could see coming; the copy then stops and says how far it got,
// instead of killing the client.
//
// The copy faults inside known instructions. Whoever owns the process's SIGSEGV and SIGBUS
// handlers asks recover() first. A program without handlers of its own calls install_recovery().
// Thread safe and async-signal-safe.
#pragma once

#include <cstddef>

namespace pinfold::host {

// Copies `size` bytes, upwards and each once, a word of 2, 4 or 8 bytes in one access; returns how
// many were NOT copied: 0 on success.
std::size_t guarded_copy(void* to, void const* from, std::size_t size);

// In a fault handler: true if the fault was a guarded copy's, and `ucontext` (a ucontext_t*) now
// resumes it at its end; false: not ours.
bool recover(void* ucontext);

// Installs handlers for SIGSEGV and SIGBUS that call recover() and pass anything else on to the
// handlers that were there before. For embedding programs and tests. Idempotent.
void install_recovery();

}  // namespace pinfold::host
