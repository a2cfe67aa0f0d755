#include "instruction_stage.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "host/guarded_copy.hpp"
#include "preload/execution.hpp"
#include "preload/mmio.hpp"

// Loads the registers of pinfold_test_stage, jumps to the code and saves them again. Its own vector
// state is kept apart.
asm(R"(
    .pushsection .text
    .globl pinfold_test_run
    .type pinfold_test_run, @function
pinfold_test_run:
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    leaq pinfold_test_stage(%rip), %r15
    movq %rsp, 136(%r15)
    movl $0xe7, %eax
    xorl %edx, %edx
    leaq 8192(%r15), %rdi
    xsave64 (%rdi)
    leaq 192(%r15), %rdi
    xrstor64 (%rdi)
    movq 152(%r15), %rsp
    pushq 128(%r15)
    popfq
    movq 0(%r15), %rax
    movq 8(%r15), %rcx
    movq 16(%r15), %rdx
    movq 24(%r15), %rbx
    movq 40(%r15), %rbp
    movq 48(%r15), %rsi
    movq 56(%r15), %rdi
    movq 64(%r15), %r8
    movq 72(%r15), %r9
    movq 80(%r15), %r10
    movq 88(%r15), %r11
    movq 96(%r15), %r12
    movq 104(%r15), %r13
    movq 112(%r15), %r14
    pushq 144(%r15)
    movq 120(%r15), %r15
    ret
    .globl pinfold_test_return
pinfold_test_return:
    movq %r15, pinfold_test_stage+120(%rip)
    leaq pinfold_test_stage(%rip), %r15
    movq %rsp, 32(%r15)
    movq 136(%r15), %rsp
    movq %rax, 0(%r15)
    movq %rcx, 8(%r15)
    movq %rdx, 16(%r15)
    movq %rbx, 24(%r15)
    movq %rbp, 40(%r15)
    movq %rsi, 48(%r15)
    movq %rdi, 56(%r15)
    movq %r8, 64(%r15)
    movq %r9, 72(%r15)
    movq %r10, 80(%r15)
    movq %r11, 88(%r15)
    movq %r12, 96(%r15)
    movq %r13, 104(%r15)
    movq %r14, 112(%r15)
    pushfq
    popq 128(%r15)
    cld
    movl $0xe7, %eax
    xorl %edx, %edx
    leaq 192(%r15), %rdi
    xsave64 (%rdi)
    leaq 8192(%r15), %rdi
    xrstor64 (%rdi)
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    ret
    .popsection
)");

namespace pinfold::preload::test {
namespace {

struct alignas(64) Shared {
    std::array<std::uint64_t, 16> general;
    std::uint64_t flags;
    std::uint64_t stack;
    std::uint64_t code;
    std::uint64_t test_stack;
    std::array<std::uint64_t, 4> unused;
    std::array<std::uint8_t, 8000> vectors;
    std::array<std::uint8_t, 8192> own_vectors;
};
static_assert(offsetof(Shared, vectors) == 192 && offsetof(Shared, own_vectors) == 8192);

}  // namespace
}  // namespace pinfold::preload::test

extern "C" {
pinfold::preload::test::Shared pinfold_test_stage;
void pinfold_test_run();
extern char const pinfold_test_return[];
}

namespace pinfold::preload::test {
namespace {

constexpr std::uint64_t kBase = 0x300000000000;
constexpr std::size_t kStackBelow = std::size_t{1} << 20;
constexpr std::size_t kStackSize = std::size_t{256} << 10;
constexpr std::size_t kHalfRoom = std::size_t{512} << 20;

std::uint8_t* at(std::uint64_t address) { return reinterpret_cast<std::uint8_t*>(address); }

struct State {
    std::array<std::uint8_t, 2 * kPage> bytes;
    std::vector<BusAccess> accesses;
    std::vector<std::uint8_t> put;
    std::size_t put_at = 0;
    bool on_device = false, refuse = false, read_only = false;
    int signal = 0;
    bool refused = false;
};
State state;

class Device final : public AddressSpace {
public:
    Result<Stretch> stretch(Vaddr vaddr, std::uint64_t size, Touch touch) override
    {
        auto const start = reinterpret_cast<std::uint64_t>(Stage::device());
        std::uint64_t const into = vaddr.raw() - start;
        if (into >= 2 * kPage) return Stretch{std::min(size, kPage - vaddr.raw() % kPage), false};
        if (state.read_only && touch == Touch::write) return fail(Errno::acces);
        return Stretch{std::min(size, 2 * kPage - into), true};
    }
    Result<std::uint64_t> device_read(Vaddr vaddr, unsigned width) override
    {
        if (state.refuse) return fail(Errno::io);
        std::uint64_t value = 0;
        std::memcpy(&value, &state.bytes[note(vaddr, width, false)], width);
        return value;
    }
    Result<> device_write(Vaddr vaddr, unsigned width, std::uint64_t value) override
    {
        if (state.refuse) return fail(Errno::io);
        std::memcpy(&state.bytes[note(vaddr, width, true)], &value, width);
        return {};
    }

private:
    static std::size_t note(Vaddr vaddr, unsigned width, bool write)
    {
        std::size_t const offset = vaddr.raw() - reinterpret_cast<std::uint64_t>(Stage::device());
        state.accesses.push_back({offset, width, write});
        return offset;
    }
};

void give_up(int signal, ucontext_t& context)
{
    state.signal = signal;
    context.uc_mcontext.gregs[REG_RIP] = reinterpret_cast<greg_t>(pinfold_test_return);
}

void on_signal(int signal, siginfo_t* info, void* raw)
{
    auto& context = *static_cast<ucontext_t*>(raw);
    if (host::recover(raw) || recover_execution(*info, context)) return;
    auto const trapped = static_cast<std::uint8_t*>(info->si_addr);
    bool const ours = state.on_device && signal == SIGSEGV && trapped >= Stage::device() &&
                      trapped < Stage::device() + 2 * kPage;
    if (!ours) return give_up(signal, context);
    auto const* const rip = at(static_cast<std::uint64_t>(context.uc_mcontext.gregs[REG_RIP]));
    Device device;
    auto const carried =
        carry_out({rip, 15}, Vaddr{reinterpret_cast<std::uint64_t>(trapped)}, context, device);
    if (carried.how == Carried::How::out) return;
    state.refused = carried.how == Carried::How::refused;
    give_up(state.refused ? SIGSEGV : carried.fault->signal, context);
}

constexpr std::array<int, 5> kSignals{SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
std::array<struct sigaction, kSignals.size()> previous_actions;

void fill(unsigned seed)
{
    std::mt19937_64 random{seed};
    for (std::size_t i = 0; i < kPages * kPage; i += 8) {
        std::uint64_t const word = random();
        std::memcpy(Stage::memory() + i, &word, sizeof word);
    }
    std::ranges::copy(state.put, Stage::device() + state.put_at);
}

void protect(std::uint8_t* page, std::size_t size, int prot)
{
    if (::mprotect(page, size, prot) != 0) std::abort();
}

Outcome run(std::span<std::uint8_t const> code, Registers const& start)
{
    auto* const text = at(kBase) - kPage;
    std::memcpy(text, code.data(), code.size());
    // jmp [rip]; the address
    std::array<std::uint8_t, 6> const jump{0xff, 0x25, 0, 0, 0, 0};
    auto const* const back = pinfold_test_return;
    std::memcpy(text + code.size(), jump.data(), jump.size());
    std::memcpy(text + code.size() + jump.size(), &back, sizeof back);

    auto& shared = pinfold_test_stage;
    shared.general = start.general;
    shared.flags = start.flags;
    shared.code = reinterpret_cast<std::uint64_t>(text);
    shared.test_stack = kBase - kStackBelow;
    std::memcpy(shared.vectors.data(), start.vectors.data(), start.vectors.size());
    state.signal = 0;
    state.refused = false;
    state.accesses.clear();
    pinfold_test_run();

    Outcome outcome;
    outcome.registers.general = shared.general;
    outcome.registers.flags = shared.flags;
    std::memcpy(outcome.registers.vectors.data(), shared.vectors.data(),
                outcome.registers.vectors.size());
    outcome.signal = state.signal;
    outcome.refused = state.refused;
    outcome.accesses = state.accesses;
    return outcome;
}

}  // namespace

Stage::Stage()
{
    void* const room =
        ::mmap(at(kBase - kHalfRoom), 2 * kHalfRoom, PROT_NONE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (room == MAP_FAILED) std::abort();
    protect(at(kBase) - kPage, kPage, PROT_READ | PROT_WRITE | PROT_EXEC);
    protect(at(kBase - kStackBelow - kStackSize), kStackSize + kPage, PROT_READ | PROT_WRITE);
    state = {};
    for (std::size_t i = 0; i < kSignals.size(); ++i) {
        struct sigaction action{};
        action.sa_sigaction = on_signal;
        action.sa_flags = SA_SIGINFO | SA_NODEFER;
        (void)::sigaction(kSignals[i], &action, &previous_actions[i]);
    }
}

Stage::~Stage()
{
    for (std::size_t i = 0; i < kSignals.size(); ++i)
        (void)::sigaction(kSignals[i], &previous_actions[i], nullptr);
    (void)::munmap(at(kBase - kHalfRoom), 2 * kHalfRoom);
}

std::uint8_t* Stage::memory() { return at(kBase); }
std::uint8_t* Stage::device() { return at(kBase + kPage); }
std::uint8_t const* Stage::code() { return at(kBase) - kPage; }

Registers Stage::registers(std::mt19937_64& random)
{
    Registers made{};
    for (auto& value : made.general) value = random();
    made.general[7] = reinterpret_cast<std::uint64_t>(device() + kPage / 2);
    made.general[9] = random() % 64;
    made.general[4] = kBase - kStackBelow;
    made.flags = (random() & 0x8d5) | 2;
    for (std::size_t i = 32; i < made.vectors.size(); i += 8) {
        std::uint64_t const word = random();
        std::memcpy(&made.vectors[i], &word, sizeof word);
    }
    std::uint16_t const control = 0x37f;
    std::uint32_t const mxcsr = 0x1f80;
    std::uint32_t const mxcsr_mask = 0xffff;
    std::memcpy(made.vectors.data(), &control, sizeof control);
    std::memcpy(&made.vectors[24], &mxcsr, sizeof mxcsr);
    std::memcpy(&made.vectors[28], &mxcsr_mask, sizeof mxcsr_mask);
    for (std::size_t reg = 0; reg < 8; ++reg)  // x87 registers have 10 bytes
        std::memset(&made.vectors[32 + 16 * reg + 10], 0, 6);
    std::memset(&made.vectors[416], 0, 160);  // what is not used, and the header
    std::uint32_t enabled = 0;
    std::uint32_t upper = 0;
    asm("xgetbv" : "=a"(enabled), "=d"(upper) : "c"(0));
    made.vectors[512] = static_cast<std::uint8_t>(enabled & 0xe7);
    return made;
}

Outcome Stage::on_memory(std::span<std::uint8_t const> code, Registers const& start, unsigned seed)
{
    protect(memory(), kPages * kPage, PROT_READ | PROT_WRITE);
    fill(seed);
    state.on_device = false;
    auto outcome = run(code, start);
    std::memcpy(outcome.memory.data(), memory(), outcome.memory.size());
    return outcome;
}

Outcome Stage::on_device(std::span<std::uint8_t const> code, Registers const& start, unsigned seed)
{
    protect(memory(), kPages * kPage, PROT_READ | PROT_WRITE);
    fill(seed);
    std::memcpy(state.bytes.data(), device(), state.bytes.size());
    protect(device(), 2 * kPage, PROT_NONE);
    state.on_device = true;
    auto outcome = run(code, start);
    protect(device(), 2 * kPage, PROT_READ | PROT_WRITE);
    std::memcpy(outcome.memory.data(), memory(), outcome.memory.size());
    std::memcpy(outcome.memory.data() + kPage, state.bytes.data(), state.bytes.size());
    return outcome;
}

void Stage::put(std::size_t at, std::vector<std::uint8_t> bytes)
{
    state.put_at = at;
    state.put = std::move(bytes);
}
void Stage::refuse_accesses(bool refuse) { state.refuse = refuse; }
void Stage::read_only(bool only) { state.read_only = only; }

std::string difference(Outcome const& one, Outcome const& other, std::uint64_t flags)
{
    std::string text;
    if (one.signal != other.signal)
        text += fmt::format("signal {} and {}\n", one.signal, other.signal);
    for (std::size_t i = 0; i < one.registers.general.size(); ++i)
        if (one.registers.general[i] != other.registers.general[i])
            text += fmt::format("register {}: {:x} and {:x}\n", i, one.registers.general[i],
                                other.registers.general[i]);
    if (((one.registers.flags ^ other.registers.flags) & flags) != 0)
        text += fmt::format("flags {:x} and {:x}\n", one.registers.flags, other.registers.flags);
    for (std::size_t i = 0; i < one.registers.vectors.size(); ++i) {
        bool const last_instruction = i >= 6 && i < 24;
        bool const unused = i >= 416 && i < 576;
        if (last_instruction || unused) continue;
        if (one.registers.vectors[i] != other.registers.vectors[i])
            text += fmt::format("vector state at {}: {:x} and {:x}\n", i, one.registers.vectors[i],
                                other.registers.vectors[i]);
    }
    for (std::size_t i = 0; i < one.memory.size(); ++i)
        if (one.memory[i] != other.memory[i])
            text +=
                fmt::format("memory at {:x}: {:x} and {:x}\n", i, one.memory[i], other.memory[i]);
    return text;
}

}  // namespace pinfold::preload::test
