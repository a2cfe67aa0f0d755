#include "preload/resume.hpp"

#include <signal.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace pinfold::preload {
namespace {

// What IRET takes from the stack.
struct Return {
    std::uint64_t rip, cs, rflags, rsp, ss;
};

// "Intel SDM", 1: 3.4.3.
constexpr std::uint64_t kTrapFlag = 1U << 8, kNestedTask = 1U << 14, kResumeFlag = 1U << 16;

// The handler's stack lies below `target` and `registers`, so signals that arrive on the way do not
// touch them. Offsets are those of REG_R8 and so on.
[[gnu::naked, noreturn]] void load([[maybe_unused]] greg_t const* registers,
                                   [[maybe_unused]] _libc_fpstate const* vectors,
                                   [[maybe_unused]] Return const* target)
{
    asm(R"(
        movq %rdx, %rsp
        movq %rdi, %r15
        movl $-1, %eax
        movl $-1, %edx
        xrstor64 (%rsi)
        movq 0(%r15), %r8
        movq 8(%r15), %r9
        movq 16(%r15), %r10
        movq 24(%r15), %r11
        movq 32(%r15), %r12
        movq 40(%r15), %r13
        movq 48(%r15), %r14
        movq 64(%r15), %rdi
        movq 72(%r15), %rsi
        movq 80(%r15), %rbp
        movq 88(%r15), %rbx
        movq 96(%r15), %rdx
        movq 104(%r15), %rax
        movq 112(%r15), %rcx
        movq 56(%r15), %r15
        iretq
    )");
}
static_assert(REG_R8 == 0 && REG_R15 == 7 && REG_RDI == 8 && REG_RBX == 11 && REG_RCX == 14);

bool for_xrstor(_libc_fpstate const* state)
{
    if (state == nullptr) return false;
    _fpx_sw_bytes software;  // the kernel's own, in the end of the legacy region
    static_assert(sizeof software == 48);
    std::memcpy(&software, std::bit_cast<std::byte const*>(state) + 512 - sizeof software,
                sizeof software);
    return software.magic1 == FP_XSTATE_MAGIC1;
}

// Where there is none, the instruction does nothing.
bool has_shadow_stack()
{
    std::uint64_t pointer = 0;
    asm volatile("rdsspq %0" : "+r"(pointer));
    return pointer != 0;
}

}  // namespace

void resume(ucontext_t const& context)
{
    constexpr unsigned kAutodisarm = 1U << 31;  // SS_AUTODISARM
    auto const& registers = context.uc_mcontext.gregs;
    auto const flags = static_cast<std::uint64_t>(registers[REG_EFL]);
    std::uint64_t cs = 0, ss = 0;
    asm("movl %%cs, %k0\n\tmovl %%ss, %k1" : "=r"(cs), "=r"(ss));
    bool const same_code = (static_cast<std::uint64_t>(registers[REG_CSGSFS]) & 0xffff) == cs;
    bool const autodisarm = (static_cast<unsigned>(context.uc_stack.ss_flags) & kAutodisarm) != 0;
    if (!same_code || autodisarm || (flags & (kTrapFlag | kNestedTask)) != 0 ||
        !for_xrstor(context.uc_mcontext.fpregs) || has_shadow_stack())
        return;
    // The access is done: a breakpoint on what comes next is to be met.
    Return const target{static_cast<std::uint64_t>(registers[REG_RIP]), cs, flags & ~kResumeFlag,
                        static_cast<std::uint64_t>(registers[REG_RSP]), ss};
    load(registers, context.uc_mcontext.fpregs, &target);
}

}  // namespace pinfold::preload
