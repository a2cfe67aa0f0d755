// Each instruction runs twice, on plain memory and on a page whose every access traps: registers
// and memory must be the same afterwards.
#include "preload/mmio.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>

#include <array>
#include <cstring>

namespace pinfold::preload {
namespace {

constexpr std::size_t kPage = 4096;

// The "device": bytes that accesses go to, and how they came.
struct Device {
    std::array<std::uint8_t, kPage> bytes{};
    std::uint8_t* window = nullptr;
    unsigned reads = 0, writes = 0, last_size = 0;
    bool refused = false;
};
Device device;

void on_trap(int, siginfo_t* info, void* raw)
{
    auto& context = *static_cast<ucontext_t*>(raw);
    auto const offset =
        static_cast<std::size_t>(static_cast<std::uint8_t*>(info->si_addr) - device.window);
    auto const read = [&](std::uint64_t at, unsigned size) -> Result<std::uint64_t> {
        std::uint64_t value = 0;
        std::memcpy(&value, &device.bytes[offset + at], size);
        ++device.reads;
        device.last_size = size;
        return value;
    };
    auto const write = [&](std::uint64_t at, unsigned size, std::uint64_t value) -> Result<> {
        std::memcpy(&device.bytes[offset + at], &value, size);
        ++device.writes;
        device.last_size = size;
        return {};
    };
    auto const rip = reinterpret_cast<std::uint8_t const*>(context.uc_mcontext.gregs[REG_RIP]);
    if (carry_out({rip, 15}, context, {.read = read, .write = write}) == Carried::out) return;
    device.refused = true;
    (void)::mprotect(device.window, kPage, PROT_READ | PROT_WRITE);  // let it run to its end
}

class Mmio : public testing::Test {
protected:
    void SetUp() override
    {
        device = {};
        void* const at = ::mmap(nullptr, kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        ASSERT_NE(at, MAP_FAILED);
        device.window = static_cast<std::uint8_t*>(at);
        for (std::size_t i = 0; i < kPage; ++i)
            device.bytes[i] = static_cast<std::uint8_t>(i * 37 + 0x81);
        plain = device.bytes;
        struct sigaction action{};
        action.sa_sigaction = on_trap;
        action.sa_flags = SA_SIGINFO;
        ASSERT_EQ(::sigaction(SIGSEGV, &action, &before), 0);
    }
    void TearDown() override
    {
        (void)::sigaction(SIGSEGV, &before, nullptr);
        (void)::munmap(device.window, kPage);
    }

    std::array<std::uint8_t, kPage> plain{};
    struct sigaction before{};
};

// Runs `text` with rdi at the memory, rax and rcx preset, xmm1 preset; gives rax, rcx and xmm0 as
// they are afterwards.
struct Outcome {
    std::uint64_t rax, rcx;
    std::array<std::uint64_t, 2> xmm0;
    bool operator==(Outcome const&) const = default;
};
#define RUN(memory, text)                                                         \
    [&] {                                                                         \
        std::uint64_t rax = 0x1122334455667788, rcx = 0xa1b2c3d4e5f60718;         \
        std::array<std::uint64_t, 2> xmm{0x0102030405060708, 0x1112131415161718}; \
        asm volatile("movups (%[xmm]), %%xmm1\n movups (%[xmm]), %%xmm0\n" text   \
                     "\n movups %%xmm0, (%[xmm])"                                 \
                     : "+a"(rax), "+c"(rcx)                                       \
                     : "D"(memory), [xmm] "r"(xmm.data())                         \
                     : "memory", "xmm0", "xmm1");                                 \
        return Outcome{rax, rcx, xmm};                                            \
    }()

#define EXPECT_SAME(text)                                \
    do {                                                 \
        SCOPED_TRACE(text);                              \
        auto const on_plain = RUN(plain.data(), text);   \
        auto const on_device = RUN(device.window, text); \
        EXPECT_EQ(on_device.rax, on_plain.rax);          \
        EXPECT_EQ(on_device.rcx, on_plain.rcx);          \
        EXPECT_EQ(on_device.xmm0, on_plain.xmm0);        \
        EXPECT_EQ(device.bytes, plain);                  \
        EXPECT_FALSE(device.refused);                    \
        EXPECT_GT(device.reads + device.writes, 0U);     \
        device.reads = device.writes = 0;                \
    } while (false)

TEST_F(Mmio, loads_of_each_size_write_the_register_as_the_processor_does)
{
    EXPECT_SAME("movb 0x10(%%rdi), %%al");
    EXPECT_SAME("movb 0x10(%%rdi), %%ah");
    EXPECT_SAME("movb 0x11(%%rdi), %%ch");
    EXPECT_SAME("movw 0x12(%%rdi), %%ax");
    EXPECT_SAME("movl 0x14(%%rdi), %%eax");
    EXPECT_SAME("movq 0x18(%%rdi), %%rax");
}

TEST_F(Mmio, extending_loads_extend_with_zeroes_or_the_sign)
{
    EXPECT_SAME("movzbl 0x10(%%rdi), %%eax");
    EXPECT_SAME("movzbw 0x10(%%rdi), %%ax");
    EXPECT_SAME("movzwl 0x10(%%rdi), %%eax");
    EXPECT_SAME("movsbl 0x10(%%rdi), %%eax");
    EXPECT_SAME("movsbq 0x11(%%rdi), %%rax");
    EXPECT_SAME("movswq 0x12(%%rdi), %%rcx");
    EXPECT_SAME("movslq 0x20(%%rdi), %%rcx");
}

TEST_F(Mmio, stores_of_registers_and_immediates_write_their_own_size_only)
{
    EXPECT_SAME("movb %%al, 0x10(%%rdi)");
    EXPECT_SAME("movb %%ah, 0x11(%%rdi)");
    EXPECT_SAME("movw %%cx, 0x12(%%rdi)");
    EXPECT_SAME("movl %%eax, 0x14(%%rdi)");
    EXPECT_SAME("movq %%rcx, 0x18(%%rdi)");
    EXPECT_SAME("movb $0x7f, 0x20(%%rdi)");
    EXPECT_SAME("movw $0x1234, 0x22(%%rdi)");
    EXPECT_SAME("movl $0x89abcdef, 0x24(%%rdi)");
    EXPECT_SAME("movq $-2, 0x28(%%rdi)");
    EXPECT_SAME("movnti %%rax, 0x30(%%rdi)");
}

TEST_F(Mmio, addresses_with_index_and_scale_are_the_processors_business_and_reach_the_right_bytes)
{
    EXPECT_SAME("xorl %%ecx, %%ecx\n movb $3, %%cl\n movl 0x40(%%rdi,%%rcx,8), %%eax");
    EXPECT_SAME("xorl %%ecx, %%ecx\n movb $5, %%cl\n movl %%eax, -4(%%rdi,%%rcx,4)");
}

TEST_F(Mmio, vector_moves_of_4_8_and_16_bytes_go_as_accesses_of_at_most_8)
{
    EXPECT_SAME("movups 0x40(%%rdi), %%xmm0");
    EXPECT_SAME("movaps 0x50(%%rdi), %%xmm0");
    EXPECT_SAME("movdqu 0x61(%%rdi), %%xmm0");
    EXPECT_SAME("movd 0x70(%%rdi), %%xmm0");
    EXPECT_SAME("movq 0x78(%%rdi), %%xmm0");
    EXPECT_SAME("movups %%xmm1, 0x80(%%rdi)");
    EXPECT_SAME("movntdq %%xmm1, 0x90(%%rdi)");
    EXPECT_SAME("movq %%xmm1, 0xa0(%%rdi)");
    EXPECT_SAME("movd %%xmm1, 0xa8(%%rdi)");
    EXPECT_LE(device.last_size, 8U);
}

TEST_F(Mmio, what_is_not_a_move_is_refused_and_touches_neither_device_nor_context)
{
    (void)RUN(device.window, "lock addl $1, 0x10(%%rdi)");
    EXPECT_TRUE(device.refused);
    EXPECT_EQ(device.reads + device.writes, 0U);
    std::array<std::uint8_t, 8> const lock_add{0xf0, 0x83, 0x47, 0x10, 0x01};
    EXPECT_EQ(describe_instruction(lock_add, 0x1000), "lock add dword ptr [rdi+0x10], 0x01");
}

TEST_F(Mmio, bytes_that_are_no_instruction_are_refused)
{
    ucontext_t context{};
    auto const never = [](auto...) -> Result<std::uint64_t> { return fail(Errno::io); };
    auto const never_write = [](auto...) -> Result<> { return fail(Errno::io); };
    MmioTarget const target{.read = never, .write = never_write};
    EXPECT_EQ(carry_out({}, context, target), Carried::refused);
    std::array<std::uint8_t, 2> const half{0x48, 0x8b};
    EXPECT_EQ(carry_out(half, context, target), Carried::refused);
    EXPECT_EQ(describe_instruction(half, 0), "an instruction that cannot be decoded");
}

}  // namespace
}  // namespace pinfold::preload
