// The way back from a fault: whatever the handler does, the program finds itself as it was, one
// instruction on.
#include "preload/resume.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <functional>

namespace pinfold::preload {
namespace {

constexpr std::size_t kPage = 4096;

// What a program has in its registers around the access: rax, rbx, rdx, rsi, rdi, rbp, r8 to r15,
// flags, two words of the red zone, and rsp, which is not loaded.
struct State {
    std::array<std::uint64_t, 18> words;
};

extern "C" {
[[gnu::visibility("hidden")]] State pinfold_resume_test_in, pinfold_resume_test_out;
[[gnu::visibility("hidden")]] void* pinfold_resume_test_at;
}

// Loads pinfold_resume_test_in, stores to `at`, and leaves what it then has in
// pinfold_resume_test_out.
[[gnu::naked]] void access_with_state()
{
    asm(R"(
        pushq %rbx
        pushq %rbp
        pushq %r12
        pushq %r13
        pushq %r14
        pushq %r15
        leaq pinfold_resume_test_in(%rip), %rcx
        pushq 112(%rcx)
        popfq
        movq 120(%rcx), %rax
        movq %rax, -8(%rsp)
        movq 128(%rcx), %rax
        movq %rax, -128(%rsp)
        movq %rsp, pinfold_resume_test_in+136(%rip)
        movq 0(%rcx), %rax
        movq 8(%rcx), %rbx
        movq 16(%rcx), %rdx
        movq 24(%rcx), %rsi
        movq 32(%rcx), %rdi
        movq 40(%rcx), %rbp
        movq 48(%rcx), %r8
        movq 56(%rcx), %r9
        movq 64(%rcx), %r10
        movq 72(%rcx), %r11
        movq 80(%rcx), %r12
        movq 88(%rcx), %r13
        movq 96(%rcx), %r14
        movq 104(%rcx), %r15
        movq pinfold_resume_test_at(%rip), %rcx
        movl %eax, (%rcx)
        leaq pinfold_resume_test_out(%rip), %rcx
        movq %rax, 0(%rcx)
        movq %rbx, 8(%rcx)
        movq %rdx, 16(%rcx)
        movq %rsi, 24(%rcx)
        movq %rdi, 32(%rcx)
        movq %rbp, 40(%rcx)
        movq %r8, 48(%rcx)
        movq %r9, 56(%rcx)
        movq %r10, 64(%rcx)
        movq %r11, 72(%rcx)
        movq %r12, 80(%rcx)
        movq %r13, 88(%rcx)
        movq %r14, 96(%rcx)
        movq %r15, 104(%rcx)
        movq %rsp, 136(%rcx)
        movq -8(%rsp), %rax
        movq %rax, 120(%rcx)
        movq -128(%rsp), %rax
        movq %rax, 128(%rcx)
        pushfq
        popq 112(%rcx)
        cld
        popq %r15
        popq %r14
        popq %r13
        popq %r12
        popq %rbp
        popq %rbx
        ret
    )");
}

int volatile resumed = 0, returned = 0;
std::function<void(ucontext_t&)> before_resume;

// The faulting instruction is `movl %eax, (reg)`, two bytes long.
void step_over(int, siginfo_t*, void* raw_context)
{
    auto& context = *static_cast<ucontext_t*>(raw_context);
    context.uc_mcontext.gregs[REG_RIP] += 2;
    if (before_resume) before_resume(context);
    resumed = resumed + 1;
    resume(context);
    returned = returned + 1;
}

class ResumeTest : public testing::Test {
protected:
    ResumeTest()
    {
        pinfold_resume_test_at = page_;
        install(0);
        resumed = 0;
        returned = 0;
    }
    ~ResumeTest() override
    {
        (void)::sigaction(SIGSEGV, &previous_, nullptr);
        (void)::munmap(page_, kPage);
        before_resume = nullptr;
    }
    void install(int flags)
    {
        struct sigaction action{};
        action.sa_sigaction = step_over;
        action.sa_flags = SA_SIGINFO | SA_NODEFER | flags;
        (void)::sigaction(SIGSEGV, &action, installed_ ? nullptr : &previous_);
        installed_ = true;
    }
    // Flags that a program may have: carry, zero, sign, overflow, direction.
    void expect_same_state(std::uint64_t flags)
    {
        constexpr std::uint64_t kCompared = 0xcd5;
        for (std::size_t i = 0; i < 17; ++i)
            pinfold_resume_test_in.words[i] = 0x0123'4567'89ab'cdef * (i + 1);
        pinfold_resume_test_in.words[14] = flags | 0x202;
        pinfold_resume_test_out = {};
        access_with_state();
        pinfold_resume_test_in.words[14] &= kCompared;
        pinfold_resume_test_out.words[14] &= kCompared;
        EXPECT_EQ(pinfold_resume_test_in.words, pinfold_resume_test_out.words);
    }

    void* page_ = ::mmap(nullptr, kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct sigaction previous_{};
    bool installed_ = false;
};

TEST_F(ResumeTest, every_register_every_flag_and_the_red_zone_are_as_they_were)
{
    before_resume = [](ucontext_t&) {
        std::array<char volatile, 4096> work{};
        for (std::size_t i = 0; i < work.size(); ++i) work[i] = static_cast<char>(i);
    };
    for (std::uint64_t const flags : {0x000U, 0x001U, 0x040U, 0x080U, 0x800U, 0x400U, 0xcc1U})
        expect_same_state(flags);
    EXPECT_EQ(resumed, 7);
    EXPECT_EQ(returned, 0) << "the kernel was not needed";
}

TEST_F(ResumeTest, vector_and_rounding_state_is_as_it_was)
{
    if (__builtin_cpu_supports("avx") == 0) GTEST_SKIP() << "no AVX";
    before_resume = [](ucontext_t&) {
        std::uint32_t const plain = 0x1f80;
        std::uint16_t const extended = 0x37f;
        asm volatile("vpxor %%xmm7, %%xmm7, %%xmm7\n\tldmxcsr %0\n\tfldcw %1" ::"m"(plain),
                     "m"(extended)
                     : "xmm7");
    };
    std::array<std::uint64_t, 4> const sent{1, 2, 3, 4};
    std::array<std::uint64_t, 4> received{};
    std::uint32_t const rounds_down = 0x3f80;
    std::uint32_t mxcsr = 0;
    std::uint16_t const single = 0x07f;
    std::uint16_t control = 0;
    asm volatile(
        "vmovdqu %[sent], %%ymm7\n\tldmxcsr %[down]\n\tfldcw %[single]\n\t"
        "movl %%eax, (%[page])\n\t"
        "vmovdqu %%ymm7, %[received]\n\tstmxcsr %[mxcsr]\n\tfnstcw %[control]\n\tvzeroupper"
        : [received] "=m"(received), [mxcsr] "=m"(mxcsr), [control] "=m"(control)
        : [sent] "m"(sent), [down] "m"(rounds_down), [single] "m"(single), [page] "r"(page_)
        : "xmm7", "memory");
    std::uint32_t const plain = 0x1f80;
    std::uint16_t const extended = 0x37f;
    asm volatile("ldmxcsr %0\n\tfldcw %1" ::"m"(plain), "m"(extended));
    EXPECT_EQ(received, sent);
    EXPECT_EQ(mxcsr & 0x6000, rounds_down & 0x6000);
    EXPECT_EQ(control, single);
    EXPECT_EQ(returned, 0);
}

TEST_F(ResumeTest, what_only_the_kernel_can_restore_is_left_to_it)
{
    std::array<void (*)(ucontext_t&), 5> const reasons{
        [](ucontext_t& it) { it.uc_mcontext.gregs[REG_EFL] |= 0x100; },
        [](ucontext_t& it) { it.uc_mcontext.gregs[REG_EFL] |= 0x4000; },
        [](ucontext_t& it) { it.uc_mcontext.gregs[REG_CSGSFS] ^= 0x10; },
        [](ucontext_t& it) { it.uc_stack.ss_flags |= static_cast<int>(1U << 31); },
        [](ucontext_t& it) { it.uc_mcontext.fpregs = nullptr; },
    };
    static void (*reason)(ucontext_t&);
    static int tried;
    tried = 0;
    before_resume = [](ucontext_t& context) {
        ucontext_t other = context;
        reason(other);
        resume(other);
        ++tried;
    };
    for (auto* const one : reasons) {
        reason = one;
        expect_same_state(0);
    }
    EXPECT_EQ(tried, 5);
}

TEST_F(ResumeTest, from_an_alternate_stack_the_way_leads_back_to_the_programs_own)
{
    std::array<char, 1 << 16> stack;
    for (unsigned const disarm : {0U, 1U << 31}) {
        stack_t const alternate{
            .ss_sp = stack.data(), .ss_flags = static_cast<int>(disarm), .ss_size = stack.size()};
        if (::sigaltstack(&alternate, nullptr) != 0) continue;
        install(SA_ONSTACK);
        for (int i = 0; i < 3; ++i) expect_same_state(0);
        stack_t now{};
        ASSERT_EQ(::sigaltstack(nullptr, &now), 0);
        EXPECT_EQ(now.ss_sp, stack.data()) << "still armed";
        EXPECT_EQ(now.ss_flags & SS_ONSTACK, 0);
        EXPECT_EQ(returned, disarm != 0 ? 3 : 0);
    }
    stack_t const none{.ss_sp = nullptr, .ss_flags = SS_DISABLE, .ss_size = 0};
    (void)::sigaltstack(&none, nullptr);
}

int volatile alarms = 0;

TEST_F(ResumeTest, signals_on_the_way_do_no_harm)
{
    struct sigaction action{}, previous{};
    action.sa_handler = [](int) { alarms = alarms + 1; };
    ASSERT_EQ(::sigaction(SIGALRM, &action, &previous), 0);
    itimerval const often{{0, 50}, {0, 50}};
    ASSERT_EQ(::setitimer(ITIMER_REAL, &often, nullptr), 0);
    for (int i = 0; i < 1'000'000 && alarms < 500 && !HasFailure(); ++i) expect_same_state(0x001);
    itimerval const never{};
    ASSERT_EQ(::setitimer(ITIMER_REAL, &never, nullptr), 0);
    (void)::sigaction(SIGALRM, &previous, nullptr);
    EXPECT_GE(alarms, 500);
    EXPECT_EQ(returned, 0);
}

}  // namespace
}  // namespace pinfold::preload
