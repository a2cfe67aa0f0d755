// The way back from a trapped access without the kernel: all that rt_sigreturn(2) restores is in
// memory and in reach of user mode, and the system call is a fifth of what a trap costs.
#pragma once

#include <ucontext.h>

namespace pinfold::preload {

// Goes on where `context` says, with its registers, flags and vector state. Returns where only the
// kernel can do that: another code segment, an alternate stack that is armed again on the way, a
// shadow stack, vector state in no form that XRSTOR takes, flags that IRET is not to load.
// Async-signal-safe. REQUIRES: called by the handler that `context` was given to; the thread blocks
// the same signals as the context; nothing between here and the handler's caller is to be
// destroyed.
void resume(ucontext_t const& context);

}  // namespace pinfold::preload
