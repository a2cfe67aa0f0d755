#include "preload/execution.hpp"

#include <linux/membarrier.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <bit>
#include <cstring>
#include <optional>

// The way to a copy and back. What it needs stands in pinfold_execution, because the copy may use
// every register: the registers in their encoding's order, flags, our own stack pointer, the copy's
// address, the vector state to be loaded and saved (or none) and which components of it.
asm(R"(
    .pushsection .text
    .p2align 4
    .globl pinfold_execute_copy
    .hidden pinfold_execute_copy
    .type pinfold_execute_copy, @function
pinfold_execute_copy:
    .cfi_startproc
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    subq $8, %rsp
    stmxcsr (%rsp)
    fnstcw 4(%rsp)
    movq %rsp, pinfold_execution+136(%rip)
    movq pinfold_execution+152(%rip), %rdi
    testq %rdi, %rdi
    jz 1f
    movl pinfold_execution+160(%rip), %eax
    xorl %edx, %edx
    xrstor64 (%rdi)
1:  movq pinfold_execution+32(%rip), %rcx
    testq %rcx, %rcx
    cmovzq %rsp, %rcx
    movq %rcx, pinfold_execution+32(%rip)
    pushq pinfold_execution+128(%rip)
    popfq
    movq pinfold_execution+0(%rip), %rax
    movq pinfold_execution+8(%rip), %rcx
    movq pinfold_execution+16(%rip), %rdx
    movq pinfold_execution+24(%rip), %rbx
    movq pinfold_execution+32(%rip), %rsp
    movq pinfold_execution+40(%rip), %rbp
    movq pinfold_execution+48(%rip), %rsi
    movq pinfold_execution+56(%rip), %rdi
    movq pinfold_execution+64(%rip), %r8
    movq pinfold_execution+72(%rip), %r9
    movq pinfold_execution+80(%rip), %r10
    movq pinfold_execution+88(%rip), %r11
    movq pinfold_execution+96(%rip), %r12
    movq pinfold_execution+104(%rip), %r13
    movq pinfold_execution+112(%rip), %r14
    movq pinfold_execution+120(%rip), %r15
    jmpq *pinfold_execution+144(%rip)

    .globl pinfold_execution_done
    .hidden pinfold_execution_done
pinfold_execution_done:
    movq %rsp, pinfold_execution+32(%rip)
    movq pinfold_execution+136(%rip), %rsp
    movq %rax, pinfold_execution+0(%rip)
    movq %rcx, pinfold_execution+8(%rip)
    movq %rdx, pinfold_execution+16(%rip)
    movq %rbx, pinfold_execution+24(%rip)
    movq %rbp, pinfold_execution+40(%rip)
    movq %rsi, pinfold_execution+48(%rip)
    movq %rdi, pinfold_execution+56(%rip)
    movq %r8, pinfold_execution+64(%rip)
    movq %r9, pinfold_execution+72(%rip)
    movq %r10, pinfold_execution+80(%rip)
    movq %r11, pinfold_execution+88(%rip)
    movq %r12, pinfold_execution+96(%rip)
    movq %r13, pinfold_execution+104(%rip)
    movq %r14, pinfold_execution+112(%rip)
    movq %r15, pinfold_execution+120(%rip)
    pushfq
    popq pinfold_execution+128(%rip)
    cld
    movq pinfold_execution+152(%rip), %rdi
    testq %rdi, %rdi
    jz 2f
    movl pinfold_execution+160(%rip), %eax
    xorl %edx, %edx
    xsave64 (%rdi)
    fninit
2:  xorl %eax, %eax
3:  ldmxcsr (%rsp)
    fldcw 4(%rsp)
    addq $8, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    ret

    .globl pinfold_execution_failed
    .hidden pinfold_execution_failed
pinfold_execution_failed:
    movq pinfold_execution+136(%rip), %rsp
    cld
    fninit
    movl $1, %eax
    jmp 3b
    .cfi_endproc
    .size pinfold_execute_copy, . - pinfold_execute_copy
    .popsection
)");

namespace pinfold::preload {

struct ExecutionState {
    std::array<std::uint64_t, 16> registers;
    std::uint64_t flags;
    std::uint64_t own_stack;
    std::uint64_t copy;
    void* vectors;
    std::uint32_t components;
};
static_assert(offsetof(ExecutionState, flags) == 128 &&
              offsetof(ExecutionState, own_stack) == 136 && offsetof(ExecutionState, copy) == 144 &&
              offsetof(ExecutionState, vectors) == 152 &&
              offsetof(ExecutionState, components) == 160);

}  // namespace pinfold::preload

extern "C" {
// 0: the copy ran to its end. 1: it faulted, and registers in the state are not to be used.
[[gnu::visibility("hidden")]] int pinfold_execute_copy();
[[gnu::visibility("hidden")]] extern char const pinfold_execution_done[];
[[gnu::visibility("hidden")]] extern char const pinfold_execution_failed[];
[[gnu::visibility("hidden")]] pinfold::preload::ExecutionState pinfold_execution;
}

namespace pinfold::preload {
namespace {

constexpr std::array<int, 16> kGregs{REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                     REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                     REG_R12, REG_R13, REG_R14, REG_R15};
constexpr std::size_t kStackPointer = 4;  // in kGregs

// CF, PF, AF, ZF, SF, OF: what instructions leave behind. Traps and directions are not a copy's.
constexpr std::uint64_t kStatusFlags = 0x8d5;

// Memory of ours that copies are run in: the operand, and behind it one slot for each copy, by its
// bytes.
struct Workshop {
    static constexpr std::size_t kOperandRoom = 1024;
    static constexpr std::size_t kSlot = 64;
    static constexpr std::size_t kSlots = 1008;
    struct Slot {
        std::array<std::uint8_t, kSlot - 1> code;
        std::uint8_t length;  // of the copy in it; 0: empty
    };
    alignas(64) std::array<std::byte, kOperandRoom> operand;
    std::array<Slot, kSlots> slots;
};
static_assert(sizeof(Workshop) % 4096 == 0);

Workshop* workshop = nullptr;

// How many hold the bus, or that one holds it alone or wants to. A lock of our own because a shared
// one of the library's costs more than all the rest of a register access but the trap.
class BusLock {
public:
    void share()
    {
        while ((state_.fetch_add(1, std::memory_order_acquire) & kAlone) != 0) {
            unshare();
            state_.wait(kAlone, std::memory_order_relaxed);
        }
    }
    void unshare()
    {
        if (state_.fetch_sub(1, std::memory_order_release) == kAlone + 1) state_.notify_all();
    }
    void take()
    {
        while ((state_.fetch_or(kAlone, std::memory_order_acquire) & kAlone) != 0)
            state_.wait(kAlone, std::memory_order_relaxed);
        for (;;) {
            std::uint32_t const now = state_.load(std::memory_order_acquire);
            if (now == kAlone) return;
            state_.wait(now, std::memory_order_relaxed);
        }
    }
    void give_back()
    {
        state_.fetch_and(~kAlone, std::memory_order_release);
        state_.notify_all();
    }
    void reset() { state_.store(0, std::memory_order_relaxed); }

private:
    static constexpr std::uint32_t kAlone = std::uint32_t{1} << 31;
    std::atomic<std::uint32_t> state_{0};
};
BusLock bus;
siginfo_t copy_fault;

Workshop* open_workshop()
{
    if (workshop != nullptr) return workshop;
    void* const at = ::mmap(nullptr, sizeof(Workshop), PROT_READ | PROT_WRITE | PROT_EXEC,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at != MAP_FAILED) workshop = static_cast<Workshop*>(at);
    return workshop;
}

// Other processors may have fetched what stood in a slot before.
void forget_fetched_code()
{
    (void)::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0);
    (void)::syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0);
}

// The copy, then a jump back: to an address that stands behind the jump.
void write_slot(Workshop::Slot& slot, Plan const& plan)
{
    bool const used = slot.length != 0;
    auto code = plan.code;
    auto const next = reinterpret_cast<std::int64_t>(slot.code.data()) + plan.code_length;
    auto const displacement =
        static_cast<std::int32_t>(reinterpret_cast<std::int64_t>(workshop->operand.data()) - next);
    std::memcpy(&code[plan.displacement_at], &displacement, sizeof displacement);
    constexpr std::array<std::uint8_t, 6> kJump{0xff, 0x25, 0, 0, 0, 0};  // jmp [rip]
    auto const back = reinterpret_cast<std::uintptr_t>(pinfold_execution_done);
    std::memcpy(slot.code.data(), code.data(), plan.code_length);
    std::memcpy(&slot.code[plan.code_length], kJump.data(), kJump.size());
    std::memcpy(&slot.code[plan.code_length + kJump.size()], &back, sizeof back);
    slot.length = plan.code_length;
    if (used) forget_fetched_code();
}

bool holds(Workshop::Slot const& slot, Plan const& plan)
{
    std::size_t const behind = plan.displacement_at + 4U;
    return slot.length == plan.code_length &&
           std::memcmp(slot.code.data(), plan.code.data(), plan.displacement_at) == 0 &&
           std::memcmp(&slot.code[behind], &plan.code[behind], plan.code_length - behind) == 0;
}

Workshop::Slot& slot_for(Plan const& plan)
{
    std::uint64_t hash = plan.code_length;
    for (std::uint8_t const byte : plan.code) hash = (hash ^ byte) * 0x100000001b3;
    auto& slot = workshop->slots[(hash >> 20) % Workshop::kSlots];
    if (!holds(slot, plan)) write_slot(slot, plan);
    return slot;
}

// No signal comes while one of these lives, if it is wanted: its frame would lie on the client's
// stack, where our own is.
class Quiet {
public:
    explicit Quiet(bool wanted) : wanted_{wanted}
    {
        sigset_t all;
        (void)::sigfillset(&all);
        if (wanted_) (void)::pthread_sigmask(SIG_BLOCK, &all, &before_);
    }
    ~Quiet()
    {
        if (wanted_) (void)::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    }
    Quiet(Quiet const&) = delete;
    Quiet& operator=(Quiet const&) = delete;

private:
    bool const wanted_;
    sigset_t before_{};
};

// Runs it, and takes over what it did to the registers.
std::optional<Fault> run(Plan const& plan, ucontext_t& context)
{
    auto& state = pinfold_execution;
    auto& gregs = context.uc_mcontext.gregs;
    for (std::size_t i = 0; i < kGregs.size(); ++i)
        state.registers[i] = static_cast<std::uint64_t>(gregs[kGregs[i]]);
    if (!plan.uses_stack_pointer) state.registers[kStackPointer] = 0;  // ours
    auto const flags = static_cast<std::uint64_t>(gregs[REG_EFL]);
    constexpr std::uint64_t kAlwaysSet = 2;
    state.flags = (flags & kStatusFlags) | kAlwaysSet;
    state.copy = reinterpret_cast<std::uint64_t>(slot_for(plan).code.data());
    VectorState const vectors{context};
    state.vectors = plan.uses_vectors ? vectors.area() : nullptr;
    state.components = vectors.components();
    Quiet const quiet{plan.uses_stack_pointer};
    if (pinfold_execute_copy() != 0)
        return Fault{copy_fault.si_signo, copy_fault.si_code,
                     Vaddr{static_cast<std::uint64_t>(gregs[REG_RIP])}};
    for (std::size_t i = 0; i < kGregs.size(); ++i)
        if (i != kStackPointer || plan.uses_stack_pointer)
            gregs[kGregs[i]] = static_cast<greg_t>(state.registers[i]);
    gregs[REG_EFL] = static_cast<greg_t>((flags & ~kStatusFlags) | (state.flags & kStatusFlags));
    gregs[REG_RIP] += plan.length;
    return std::nullopt;
}

// The stretches of the operand that the instruction accesses.
struct Stretches {
    struct Part {
        std::uint16_t at, size;
    };
    std::array<Part, 64> parts;
    std::size_t count = 0;

    void add(unsigned at, unsigned size)
    {
        if (count > 0 && parts[count - 1].at + parts[count - 1].size == at)
            parts[count - 1].size = static_cast<std::uint16_t>(parts[count - 1].size + size);
        else
            parts[count++] = {static_cast<std::uint16_t>(at), static_cast<std::uint16_t>(size)};
    }
};

Stretches stretches_of(Plan const& plan, ucontext_t& context)
{
    Stretches stretches;
    VectorState const vectors{context};
    if (plan.mask == Plan::Mask::none) {
        stretches.add(0, plan.size);
        return stretches;
    }
    std::uint64_t const bits =
        plan.mask == Plan::Mask::vector ? 0 : vectors.opmask(plan.mask_register);
    unsigned const elements = plan.element == 0 ? 0U : plan.size / plan.element;
    std::uint64_t const valid =
        elements >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << elements) - 1;
    if (plan.whole) {
        if (bits != 0) stretches.add(0, plan.size);
        return stretches;
    }
    if (plan.mask == Plan::Mask::packed) {
        auto const count = static_cast<unsigned>(std::popcount(bits & valid));
        if (count != 0) stretches.add(0, count * plan.element);
        return stretches;
    }
    for (unsigned i = 0; i < elements; ++i) {
        bool const there =
            plan.mask == Plan::Mask::vector
                ? vectors.highest_bit(plan.mask_register, i * plan.element, plan.element)
                : (bits >> i & 1) != 0;
        if (there) stretches.add(i * plan.element, plan.element);
    }
    return stretches;
}

}  // namespace

Execution execute(Plan const& plan, Vaddr operand, ucontext_t& context, AddressSpace& space)
{
    using Touch = AddressSpace::Touch;
    if (open_workshop() == nullptr) return {.impossible = true};
    if (plan.uses_vectors && VectorState{context}.area() == nullptr) return {.impossible = true};
    auto const stretches = stretches_of(plan, context);
    std::span const parts{stretches.parts.data(), stretches.count};
    std::span const memory{workshop->operand};
    for (auto const& part : parts) {
        Vaddr const at = operand + part.at;
        if (plan.writes)
            if (auto fault = space.check(at, part.size, Touch::write)) return {fault};
        if (plan.reads)
            if (auto fault = space.load(at, memory.subspan(part.at, part.size))) return {fault};
    }
    gregset_t before;
    std::memcpy(&before, &context.uc_mcontext.gregs, sizeof before);
    if (auto fault = run(plan, context)) return {fault};
    if (!plan.writes) return {};
    for (auto const& part : parts) {
        auto const fault = space.store(operand + part.at, memory.subspan(part.at, part.size));
        if (!fault) continue;
        std::memcpy(&context.uc_mcontext.gregs, &before, sizeof before);
        return {fault};
    }
    return {};
}

bool recover_execution(siginfo_t const& info, ucontext_t& context)
{
    auto& rip = context.uc_mcontext.gregs[REG_RIP];
    auto const first = reinterpret_cast<greg_t>(workshop);
    if (workshop == nullptr || rip < first || rip >= first + static_cast<greg_t>(sizeof(Workshop)))
        return false;
    copy_fault = info;
    rip = reinterpret_cast<greg_t>(pinfold_execution_failed);
    return true;
}

BusHold::BusHold(Kind kind) : kind_{kind}
{
    if (kind_ == Kind::alone)
        bus.take();
    else
        bus.share();
}

BusHold::~BusHold()
{
    if (kind_ == Kind::alone)
        bus.give_back();
    else
        bus.unshare();
}

void forget_executions() { bus.reset(); }

}  // namespace pinfold::preload
