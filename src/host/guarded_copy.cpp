#include "host/guarded_copy.hpp"

#include <signal.h>
#include <ucontext.h>

#include <cstdint>
#include <mutex>

// Upwards, each byte once; 16 bytes at a time, and what is left in the fewest pieces, so that a
// word of 2, 4 or 8 bytes is one access. A fault in a piece goes on byte by byte with `rep movsb`,
// which keeps its progress in its registers: after a second fault, rcx is what was not copied. It
// is also the quickest for long copies, but slow to start.
asm(R"(
    .pushsection .text
    .p2align 4
    .globl pinfold_guarded_copy
    .hidden pinfold_guarded_copy
    .type pinfold_guarded_copy, @function
pinfold_guarded_copy:
    .cfi_startproc
    cmpq $512, %rdx
    jae pinfold_guarded_copy_bytes
    cmpq $16, %rdx
    jb 1f
0:
    movups (%rsi), %xmm0
    movups %xmm0, (%rdi)
    addq $16, %rsi
    addq $16, %rdi
    subq $16, %rdx
    cmpq $16, %rdx
    jae 0b
1:
    testb $8, %dl
    je 2f
    movq (%rsi), %rax
    movq %rax, (%rdi)
    addq $8, %rsi
    addq $8, %rdi
    subq $8, %rdx
2:
    testb $4, %dl
    je 3f
    movl (%rsi), %eax
    movl %eax, (%rdi)
    addq $4, %rsi
    addq $4, %rdi
    subq $4, %rdx
3:
    testb $2, %dl
    je 4f
    movzwl (%rsi), %eax
    movw %ax, (%rdi)
    addq $2, %rsi
    addq $2, %rdi
    subq $2, %rdx
4:
    testb $1, %dl
    je pinfold_guarded_copy_done
    movzbl (%rsi), %eax
    movb %al, (%rdi)
pinfold_guarded_copy_done:
    xorl %eax, %eax
    ret
    .globl pinfold_guarded_copy_bytes
    .hidden pinfold_guarded_copy_bytes
pinfold_guarded_copy_bytes:
    movq %rdx, %rcx
    .globl pinfold_guarded_copy_repeats
    .hidden pinfold_guarded_copy_repeats
pinfold_guarded_copy_repeats:
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
[[gnu::visibility("hidden")]] extern char const pinfold_guarded_copy_bytes[];
[[gnu::visibility("hidden")]] extern char const pinfold_guarded_copy_repeats[];
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
    auto const at = [](auto symbol) { return reinterpret_cast<greg_t>(symbol); };
    if (rip >= at(pinfold_guarded_copy) && rip < at(pinfold_guarded_copy_bytes))
        rip = at(pinfold_guarded_copy_bytes);
    else if (rip == at(pinfold_guarded_copy_repeats))
        rip = at(pinfold_guarded_copy_resumes);
    else
        return false;
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
