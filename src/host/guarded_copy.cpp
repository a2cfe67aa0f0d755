#include "host/guarded_copy.hpp"

#include <signal.h>
#include <ucontext.h>

#include <cstdint>
#include <mutex>

// The one instruction that may fault. `rep movsb` keeps its progress in its registers, so after a
// fault the resumption at the next instruction finds in rcx what was not copied.
asm(R"(
    .pushsection .text
    .p2align 4
    .globl pinfold_guarded_copy
    .hidden pinfold_guarded_copy
    .type pinfold_guarded_copy, @function
pinfold_guarded_copy:
    .cfi_startproc
    movq %rdx, %rcx
    .globl pinfold_guarded_copy_faults
    .hidden pinfold_guarded_copy_faults
pinfold_guarded_copy_faults:
    rep movsb
    .globl pinfold_guarded_copy_resumes
    .hidden pinfold_guarded_copy_resumes
pinfold_guarded_copy_resumes:
    movq %rcx, %rax
    ret
    .cfi_endproc
    .size pinfold_guarded_copy, . - pinfold_guarded_copy
    .popsection
)");

extern "C" {
[[gnu::visibility("hidden")]] std::size_t pinfold_guarded_copy(void* to, void const* from,
                                                               std::size_t size);
[[gnu::visibility("hidden")]] extern char const pinfold_guarded_copy_faults[];
[[gnu::visibility("hidden")]] extern char const pinfold_guarded_copy_resumes[];
}

namespace pinfold::host {
namespace {

struct sigaction previous_segv;
struct sigaction previous_bus;

// Ends the process as it would have ended without us. A fault comes again by itself once the
// handler returns; a signal that somebody sent does not.
void die_of(int signal, siginfo_t const& info)
{
    struct sigaction action = {};
    action.sa_handler = SIG_DFL;
    ::sigaction(signal, &action, nullptr);
    if (info.si_code <= 0) ::raise(signal);
}

void on_fault(int signal, siginfo_t* info, void* ucontext)
{
    if (recover(ucontext)) return;
    struct sigaction const& previous = signal == SIGSEGV ? previous_segv : previous_bus;
    if ((previous.sa_flags & SA_SIGINFO) != 0) {
        previous.sa_sigaction(signal, info, ucontext);
    } else if (previous.sa_handler == SIG_DFL) {
        die_of(signal, *info);
    } else if (previous.sa_handler == SIG_IGN) {
        if (info->si_code > 0) die_of(signal, *info);  // the kernel lets nobody ignore a fault
    } else {
        previous.sa_handler(signal);
    }
}

void install(int signal, struct sigaction& previous)
{
    ::sigaction(signal, nullptr, &previous);
    struct sigaction action = previous;  // its mask and its choice of stack stay
    action.sa_sigaction = on_fault;
    action.sa_flags =
        (previous.sa_flags & ~static_cast<int>(SA_RESETHAND)) | SA_SIGINFO | SA_ONSTACK;
    ::sigaction(signal, &action, nullptr);
}

}  // namespace

std::size_t guarded_copy(void* to, void const* from, std::size_t size)
{
    return pinfold_guarded_copy(to, from, size);
}

bool recover(void* ucontext)
{
    auto& rip = static_cast<ucontext_t*>(ucontext)->uc_mcontext.gregs[REG_RIP];
    if (rip != reinterpret_cast<greg_t>(pinfold_guarded_copy_faults)) return false;
    rip = reinterpret_cast<greg_t>(pinfold_guarded_copy_resumes);
    return true;
}

void install_recovery()
{
    static std::once_flag once;
    std::call_once(once, [] {
        install(SIGSEGV, previous_segv);
        install(SIGBUS, previous_bus);
    });
}

}  // namespace pinfold::host
