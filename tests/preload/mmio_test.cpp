// Each instruction runs twice, on plain memory and on pages whose every access traps: registers,
// flags and memory must be the same afterwards, and the device must have seen what a bus carries.
#include "preload/mmio.hpp"

#include <gtest/gtest.h>
#include <signal.h>

#include <array>
#include <cstring>
#include <initializer_list>
#include <string_view>
#include <vector>

#include "instruction_stage.hpp"
#include "preload/instruction.hpp"

namespace pinfold::preload::test {
namespace {

using Code = std::span<std::uint8_t const>;
using Accesses = std::vector<BusAccess>;

// The bytes of one instruction, as the assembler makes them.
#define CODE(text)                                                              \
    [] {                                                                        \
        std::uint8_t const* first = nullptr;                                    \
        std::uint8_t const* past = nullptr;                                     \
        asm("jmp 2f\n1: " text "\n2: leaq 1b(%%rip), %0\n leaq 2b(%%rip), %1\n" \
            : "=r"(first), "=r"(past));                                         \
        return Code{first, past};                                               \
    }()

BusAccess read(std::size_t offset, unsigned width) { return {offset, width, false}; }
BusAccess write(std::size_t offset, unsigned width) { return {offset, width, true}; }

constexpr std::uint64_t kCarry = 0x1;  // where the other flags are undefined
constexpr std::uint64_t kZero = 0x40;
constexpr std::uint64_t kOverflow = 0x800;
constexpr std::size_t kMiddle = kPage / 2;  // where rdi is

std::vector<std::uint8_t> saved_by_fxsave()
{
    alignas(16) std::array<std::uint8_t, 512> image{};
    asm volatile("fxsave64 (%0)" : : "r"(image.data()) : "memory");
    std::mt19937_64 random{7};
    for (std::size_t at = 160; at < 416; ++at) image[at] = static_cast<std::uint8_t>(random());
    return {image.begin(), image.end()};
}

class Mmio : public testing::Test {
protected:
    // Runs it both ways, several times, and gives the device's view.
    Accesses same(Code code, std::uint64_t flags = ~std::uint64_t{0})
    {
        Accesses accesses;
        for (unsigned seed = 1; seed <= 5; ++seed) {
            auto const start = prepared();
            auto const on_memory = stage.on_memory(code, start, seed);
            auto const on_device = stage.on_device(code, start, seed);
            EXPECT_EQ(difference(on_memory, on_device, flags), "");
            EXPECT_EQ(on_memory.signal, 0);
            EXPECT_FALSE(on_device.refused);
            EXPECT_FALSE(on_device.accesses.empty());
            accesses = on_device.accesses;
        }
        return accesses;
    }
    Registers prepared()
    {
        auto start = Stage::registers(random);
        if (prepare != nullptr) prepare(start);
        return start;
    }

    Stage stage;
    std::mt19937_64 random{2026};
    void (*prepare)(Registers&) = nullptr;
};

#define EXPECT_SAME(text)       \
    do {                        \
        SCOPED_TRACE(text);     \
        (void)same(CODE(text)); \
    } while (false)
#define EXPECT_ACCESSES(text, ...)                               \
    do {                                                         \
        SCOPED_TRACE(text);                                      \
        EXPECT_TRUE((same(CODE(text)) == Accesses __VA_ARGS__)); \
    } while (false)

TEST_F(Mmio, loads_of_each_size_write_the_register_as_the_processor_does)
{
    EXPECT_ACCESSES("movb 0x10(%%rdi), %%al", {read(kMiddle + 0x10, 1)});
    EXPECT_ACCESSES("movb 0x10(%%rdi), %%ah", {read(kMiddle + 0x10, 1)});
    EXPECT_ACCESSES("movb 0x11(%%rdi), %%ch", {read(kMiddle + 0x11, 1)});
    EXPECT_ACCESSES("movw 0x12(%%rdi), %%ax", {read(kMiddle + 0x12, 2)});
    EXPECT_ACCESSES("movl 0x14(%%rdi), %%eax", {read(kMiddle + 0x14, 4)});
    EXPECT_ACCESSES("movq 0x18(%%rdi), %%r15", {read(kMiddle + 0x18, 8)});
    EXPECT_SAME("movb 0x10(%%rdi), %%sil");
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

TEST_F(Mmio, stores_of_registers_and_immediates_write_their_own_size_only_and_read_nothing)
{
    EXPECT_ACCESSES("movb %%al, 0x10(%%rdi)", {write(kMiddle + 0x10, 1)});
    EXPECT_ACCESSES("movb %%ah, 0x11(%%rdi)", {write(kMiddle + 0x11, 1)});
    EXPECT_ACCESSES("movw %%cx, 0x12(%%rdi)", {write(kMiddle + 0x12, 2)});
    EXPECT_ACCESSES("movl %%eax, 0x14(%%rdi)", {write(kMiddle + 0x14, 4)});
    EXPECT_ACCESSES("movq %%rcx, 0x18(%%rdi)", {write(kMiddle + 0x18, 8)});
    EXPECT_ACCESSES("movb $0x7f, 0x20(%%rdi)", {write(kMiddle + 0x20, 1)});
    EXPECT_ACCESSES("movw $0x1234, 0x22(%%rdi)", {write(kMiddle + 0x22, 2)});
    EXPECT_ACCESSES("movl $0x89abcdef, 0x24(%%rdi)", {write(kMiddle + 0x24, 4)});
    EXPECT_ACCESSES("movq $-2, 0x28(%%rdi)", {write(kMiddle + 0x28, 8)});
    EXPECT_ACCESSES("movnti %%rax, 0x30(%%rdi)", {write(kMiddle + 0x30, 8)});
    EXPECT_ACCESSES("setc 0x30(%%rdi)", {write(kMiddle + 0x30, 1)});
}

TEST_F(Mmio, addresses_are_made_of_whatever_the_processor_makes_them_of)
{
    constexpr std::size_t kIndex = 5;
    prepare = [](Registers& registers) { registers.general[9] = kIndex; };
    EXPECT_ACCESSES("movl 0x40(%%rdi,%%r9,8), %%eax", {read(kMiddle + 0x40 + 8 * kIndex, 4)});
    EXPECT_SAME("orl $1, -4(%%rdi,%%r9,4)");
    prepare = [](Registers& registers) {
        registers.general[9] = reinterpret_cast<std::uint64_t>(Stage::device());
    };
    EXPECT_ACCESSES("movl (,%%r9,1), %%eax", {read(0, 4)});
    // Relative to the instruction: two pages further on are the device's.
    std::array<std::uint8_t, 6> const relative{0x8b, 0x05, 0xfa, 0x1f, 0, 0};
    EXPECT_TRUE((same(relative) == Accesses{read(0, 4)}));
    std::array<std::uint8_t, 7> const relative_or{0x83, 0x0d, 0xf9, 0x1f, 0, 0, 1};
    EXPECT_TRUE((same(relative_or) == Accesses{read(0, 4), write(0, 4)}));
}

TEST_F(Mmio, segments_have_their_bases)
{
    std::uint64_t base = 0;
    asm("movq %%fs:0, %0" : "=r"(base));
    static std::uint64_t away;
    away = reinterpret_cast<std::uint64_t>(Stage::device()) - base;
    prepare = [](Registers& registers) { registers.general[9] = away; };
    EXPECT_ACCESSES("movl %%fs:8(%%r9), %%eax", {read(8, 4)});
    EXPECT_ACCESSES("andl $~1, %%fs:8(%%r9)", {read(8, 4), write(8, 4)});
}

TEST_F(Mmio, addresses_of_32_bits_wrap)
{
    // Nothing of the stage is below 4 GiB: what is not reached faults alike.
    auto const code = CODE("orl $1, (%%edi)");
    auto const start = prepared();
    EXPECT_EQ(stage.on_memory(code, start, 1).signal, SIGSEGV);
    EXPECT_EQ(stage.on_device(code, start, 1).signal, SIGSEGV);
}

TEST_F(Mmio, read_modify_writes_read_once_and_write_once)
{
    Accesses const both{read(kMiddle + 0x10, 4), write(kMiddle + 0x10, 4)};
    EXPECT_EQ(same(CODE("orl $1, 0x10(%%rdi)")), both);
    EXPECT_EQ(same(CODE("andl $-2, 0x10(%%rdi)")), both);
    EXPECT_EQ(same(CODE("addl %%eax, 0x10(%%rdi)")), both);
    EXPECT_EQ(same(CODE("adcl %%eax, 0x10(%%rdi)")), both);
    EXPECT_EQ(same(CODE("lock incl 0x10(%%rdi)")), both);
    EXPECT_EQ(same(CODE("lock xaddl %%eax, 0x10(%%rdi)")), both);
    EXPECT_EQ(same(CODE("xchgl %%eax, 0x10(%%rdi)")), both);
    EXPECT_EQ(same(CODE("lock cmpxchgl %%ecx, 0x10(%%rdi)")), both);
    EXPECT_EQ(same(CODE("notl 0x10(%%rdi)")), both);
    EXPECT_EQ(same(CODE("shll %%cl, 0x10(%%rdi)")), both);
    EXPECT_EQ(same(CODE("shldl $3, %%eax, 0x10(%%rdi)")), both);
    EXPECT_EQ(same(CODE("btsl $3, 0x10(%%rdi)")), both);
    EXPECT_SAME("lock cmpxchg8b 0x10(%%rdi)");
    EXPECT_SAME("lock cmpxchg16b 0x10(%%rdi)");
    EXPECT_SAME("xchgb %%ah, 0x10(%%rdi)");
    EXPECT_SAME("addq %%rdi, 0x10(%%rdi)");
    // Compared and equal: the exchange happens.
    prepare = [](Registers& registers) { registers.general[0] = 0; };
    EXPECT_SAME("andl $0, 0x10(%%rdi)");
}

TEST_F(Mmio, what_only_reads_writes_nothing)
{
    Accesses const once{read(kMiddle + 0x1c, 4)};
    EXPECT_EQ(same(CODE("testl $1, 0x1c(%%rdi)")), once);
    EXPECT_EQ(same(CODE("cmpl %%eax, 0x1c(%%rdi)")), once);
    EXPECT_EQ(same(CODE("addl 0x1c(%%rdi), %%eax")), once);
    EXPECT_EQ(same(CODE("cmovcl 0x1c(%%rdi), %%eax")), once);
    EXPECT_EQ(same(CODE("imull $7, 0x1c(%%rdi), %%eax"), kCarry | kOverflow), once);
    EXPECT_EQ(same(CODE("mull 0x1c(%%rdi)"), kCarry | kOverflow), once);
    EXPECT_EQ(same(CODE("bsfl 0x1c(%%rdi), %%eax"), kZero), once);
    EXPECT_EQ(same(CODE("movbel 0x1c(%%rdi), %%eax")), once);
    EXPECT_EQ(same(CODE("addl 0x1c(%%rdi), %%edi")), once);
    EXPECT_EQ(same(CODE("addl 0x1c(%%rdi), %%esp")), once);
    EXPECT_EQ(same(CODE("btl $3, 0x1c(%%rdi)")), once);
}

TEST_F(Mmio, a_register_that_counts_bits_reaches_beyond_the_operand)
{
    prepare = [](Registers& registers) { registers.general[0] = 100; };
    EXPECT_ACCESSES("btsl %%eax, 0x10(%%rdi)",
                    {read(kMiddle + 0x10 + 12, 4), write(kMiddle + 0x10 + 12, 4)});
    EXPECT_ACCESSES("btw %%ax, 0x10(%%rdi)", {read(kMiddle + 0x10 + 12, 2)});
    EXPECT_SAME("btrq %%rax, 0x10(%%rdi)");
    prepare = [](Registers& registers) { registers.general[0] = static_cast<std::uint64_t>(-1); };
    EXPECT_ACCESSES("lock btcl %%eax, 0x10(%%rdi)",
                    {read(kMiddle + 0x10 - 4, 4), write(kMiddle + 0x10 - 4, 4)});
}

TEST_F(Mmio, larger_operands_go_as_aligned_accesses_of_at_most_8_bytes_lowest_first)
{
    EXPECT_ACCESSES("movups 0x40(%%rdi), %%xmm0",
                    {read(kMiddle + 0x40, 8), read(kMiddle + 0x48, 8)});
    EXPECT_ACCESSES("movaps %%xmm1, 0x40(%%rdi)",
                    {write(kMiddle + 0x40, 8), write(kMiddle + 0x48, 8)});
    EXPECT_ACCESSES("movdqu 0x62(%%rdi), %%xmm0",
                    {read(kMiddle + 0x62, 2), read(kMiddle + 0x64, 4), read(kMiddle + 0x68, 8),
                     read(kMiddle + 0x70, 2)});
    EXPECT_ACCESSES("movl 0x41(%%rdi), %%eax", {read(kMiddle + 0x41, 4)});
    EXPECT_ACCESSES("movd 0x70(%%rdi), %%xmm0", {read(kMiddle + 0x70, 4)});
    EXPECT_ACCESSES("movq %%xmm1, 0xa0(%%rdi)", {write(kMiddle + 0xa0, 8)});
    EXPECT_SAME("fldt 0x40(%%rdi)");
    EXPECT_SAME("fildl 0x40(%%rdi)");
    EXPECT_SAME("fnstcw 0x40(%%rdi)");
    EXPECT_SAME("stmxcsr 0x40(%%rdi)");
    EXPECT_SAME("fxsave 0x40(%%rdi)");
    EXPECT_SAME("paddd 0x40(%%rdi), %%xmm2");
    EXPECT_SAME("movq 0x40(%%rdi), %%mm3");
    EXPECT_SAME("pextrw $3, %%xmm2, 0x40(%%rdi)");
}

TEST_F(Mmio, bytes_are_stored_where_a_mask_says)
{
    EXPECT_SAME("maskmovdqu %%xmm3, %%xmm2");
    prepare = [](Registers& registers) {
        for (std::size_t at = 0; at < 16; ++at)
            registers.vectors[160 + 16 * 3 + at] = at == 1 || (at >= 4 && at < 10) ? 0x80 : 0x7f;
    };
    EXPECT_ACCESSES("maskmovdqu %%xmm3, %%xmm2",
                    {write(kMiddle + 1, 1), write(kMiddle + 4, 4), write(kMiddle + 8, 2)});
    if (__builtin_cpu_supports("avx") != 0) {
        std::array<std::uint8_t, 4> const avx{0xc5, 0xf9, 0xf7, 0xd3};
        EXPECT_EQ(same(avx).size(), 3U);
    }
    // From plain memory into the device, and where it may not be written.
    prepare = [](Registers& registers) {
        registers.general[7] = reinterpret_cast<std::uint64_t>(Stage::device()) - 7;
        std::memset(&registers.vectors[160 + 16 * 3], 0xff, 16);
    };
    EXPECT_ACCESSES("maskmovdqu %%xmm3, %%xmm2", {write(0, 8), write(8, 1)});
    stage.read_only(true);
    auto const outcome = stage.on_device(CODE("maskmovdqu %%xmm3, %%xmm2"), prepared(), 1);
    EXPECT_EQ(outcome.signal, SIGSEGV);
    EXPECT_TRUE(outcome.accesses.empty());
}

// What is restored must be a state that there can be; only the program's own part of it counts.
TEST_F(Mmio, the_state_of_FXSAVE_is_saved_and_restored)
{
    prepare = [](Registers& registers) {
        registers.general[7] = reinterpret_cast<std::uint64_t>(Stage::device()) + 64;
    };
    EXPECT_SAME("fxsave (%%rdi)");
    EXPECT_SAME("fxsave64 (%%rdi)");
    stage.put(64, saved_by_fxsave());
    EXPECT_EQ(same(CODE("fxrstor (%%rdi)")).size(), 512U / 8);
    EXPECT_EQ(same(CODE("fxrstor64 (%%rdi)")).size(), 512U / 8);
}

// vmovdqu 0x40(%rdi), %ymm2 and its like: an assembler for an older processor does not know them.
TEST_F(Mmio, AVX_loads_clear_what_the_processor_clears_and_masks_choose_the_elements)
{
    if (__builtin_cpu_supports("avx2") == 0) GTEST_SKIP() << "no AVX2 here";
    std::array<std::uint8_t, 5> const load{0xc5, 0xfe, 0x6f, 0x57, 0x40};
    EXPECT_EQ(same(load).size(), 4U);
    std::array<std::uint8_t, 5> const load_half{0xc5, 0xfa, 0x6f, 0x57, 0x40};
    EXPECT_EQ(same(load_half).size(), 2U);
    std::array<std::uint8_t, 5> const store{0xc5, 0xfe, 0x7f, 0x57, 0x40};
    EXPECT_EQ(same(store).size(), 4U);
    // vmaskmovps %ymm2, %ymm3, 0x40(%rdi) with the second and the fifth element.
    prepare = [](Registers& registers) {
        for (std::size_t element = 0; element < 8; ++element) {
            std::size_t const upper = element < 4 ? 160 + 16 * 3 : 576 + 16 * 3 - 16;
            registers.vectors[upper + 4 * element + 3] = element == 1 || element == 4 ? 0x80 : 0;
        }
    };
    std::array<std::uint8_t, 6> const masked{0xc4, 0xe2, 0x65, 0x2e, 0x57, 0x40};
    EXPECT_EQ(same(masked), (Accesses{write(kMiddle + 0x44, 4), write(kMiddle + 0x50, 4)}));
}

TEST_F(Mmio, AVX_512_masks_choose_the_elements)
{
    if (__builtin_cpu_supports("avx512f") == 0) GTEST_SKIP() << "no AVX-512 here";
    // vmovdqu64 0x40(%rdi), %zmm16 and back
    std::array<std::uint8_t, 7> const load{0x62, 0xe1, 0xfe, 0x48, 0x6f, 0x47, 0x01};
    EXPECT_EQ(same(load).size(), 8U);
    std::array<std::uint8_t, 7> const store{0x62, 0xe1, 0xfe, 0x48, 0x7f, 0x47, 0x01};
    EXPECT_EQ(same(store).size(), 8U);
    prepare = [](Registers& registers) {  // k1: elements 1 and 3
        unsigned size = 0;
        unsigned offset = 0;
        asm("cpuid" : "=a"(size), "=b"(offset) : "a"(0xd), "c"(5) : "edx");
        registers.vectors[offset + 8] = 0x0a;
        for (std::size_t i = 1; i < 8; ++i) registers.vectors[offset + 8 + i] = 0;
    };
    // vmovdqu64 %zmm16, 0x40(%rdi){%k1}; vmovdqu64 0x40(%rdi), %zmm16{%k1}
    std::array<std::uint8_t, 7> const masked_store{0x62, 0xe1, 0xfe, 0x49, 0x7f, 0x47, 0x01};
    EXPECT_EQ(same(masked_store), (Accesses{write(kMiddle + 0x48, 8), write(kMiddle + 0x58, 8)}));
    std::array<std::uint8_t, 7> const masked_load{0x62, 0xe1, 0xfe, 0x49, 0x6f, 0x47, 0x01};
    EXPECT_EQ(same(masked_load), (Accesses{read(kMiddle + 0x48, 8), read(kMiddle + 0x58, 8)}));
    // vextracti32x4 $1, %zmm16, 0x40(%rdi){%k1}: of four elements, two.
    std::array<std::uint8_t, 8> const lane{0x62, 0xe3, 0x7d, 0x49, 0x39, 0x47, 0x04, 0x01};
    EXPECT_EQ(same(lane), (Accesses{write(kMiddle + 0x44, 4), write(kMiddle + 0x4c, 4)}));
    // vpcompressq %zmm16, 0x40(%rdi){%k1}: two elements, packed.
    std::array<std::uint8_t, 7> const packed{0x62, 0xe2, 0xfd, 0x49, 0x8b, 0x47, 0x08};
    EXPECT_EQ(same(packed), (Accesses{write(kMiddle + 0x40, 8), write(kMiddle + 0x48, 8)}));
}

TEST_F(Mmio, the_stack_takes_part)
{
    EXPECT_ACCESSES("pushq 0x10(%%rdi)", {read(kMiddle + 0x10, 8)});
    EXPECT_ACCESSES("pushw 0x10(%%rdi)", {read(kMiddle + 0x10, 2)});
    EXPECT_ACCESSES("popq 0x10(%%rdi)", {write(kMiddle + 0x10, 8)});
}

TEST_F(Mmio, operands_that_lie_in_pages_of_both_kinds_reach_both)
{
    // From plain memory into the device, and from the device into plain memory.
    prepare = [](Registers& registers) {
        registers.general[7] = reinterpret_cast<std::uint64_t>(Stage::device()) - 3;
    };
    EXPECT_ACCESSES("movq (%%rdi), %%rax", {read(0, 4), read(4, 1)});
    EXPECT_ACCESSES("movq %%rax, (%%rdi)", {write(0, 4), write(4, 1)});
    EXPECT_ACCESSES("orq %%rax, (%%rdi)", {read(0, 4), read(4, 1), write(0, 4), write(4, 1)});
    EXPECT_SAME("movdqu (%%rdi), %%xmm3");
    prepare = [](Registers& registers) {
        registers.general[7] = reinterpret_cast<std::uint64_t>(Stage::device()) + 2 * kPage - 3;
    };
    EXPECT_ACCESSES("movq (%%rdi), %%rax", {read(2 * kPage - 3, 1), read(2 * kPage - 2, 2)});
    EXPECT_SAME("movdqu %%xmm3, (%%rdi)");
    // From one page of the device into the next: still one access.
    prepare = [](Registers& registers) {
        registers.general[7] = reinterpret_cast<std::uint64_t>(Stage::device()) + kPage - 4;
    };
    EXPECT_ACCESSES("movq (%%rdi), %%rax", {read(kPage - 4, 8)});
}

TEST_F(Mmio, strings_move_element_by_element_and_leave_the_registers_where_they_came_to)
{
    prepare = [](Registers& registers) {
        registers.general[1] = 5;
        registers.general[6] = registers.general[7] + 64;
        registers.general[0] = 0x1111111111111111;
    };
    EXPECT_EQ(same(CODE("rep movsl")).size(), 10U);
    EXPECT_EQ(same(CODE("rep stosw")).size(), 5U);
    EXPECT_EQ(same(CODE("rep lodsb")).size(), 5U);
    EXPECT_EQ(same(CODE("movsq")).size(), 2U);
    EXPECT_EQ(same(CODE("stosb")).size(), 1U);
    EXPECT_SAME("repe cmpsb");
    EXPECT_SAME("repne cmpsb");
    EXPECT_SAME("repe scasb");
    EXPECT_SAME("repne scasl");
    EXPECT_SAME("scasq");
    EXPECT_SAME("cmpsw");
    // Into the device from plain memory, across its end, and down.
    prepare = [](Registers& registers) {
        registers.general[1] = 64;
        registers.general[6] = reinterpret_cast<std::uint64_t>(Stage::memory());
        registers.general[7] = reinterpret_cast<std::uint64_t>(Stage::device()) + 2 * kPage - 32;
    };
    EXPECT_EQ(same(CODE("rep movsb")).size(), 32U);
    EXPECT_EQ(same(CODE("rep stosb")).size(), 32U);
    prepare = [](Registers& registers) {
        registers.general[1] = 64;
        registers.general[6] = reinterpret_cast<std::uint64_t>(Stage::memory()) + 512;
        registers.general[7] = reinterpret_cast<std::uint64_t>(Stage::device()) + 32;
        registers.flags |= 0x400;
    };
    EXPECT_SAME("rep movsb");
    // More than are done at once.
    prepare = [](Registers& registers) {
        registers.general[1] = 2 * kPage;
        registers.general[6] = reinterpret_cast<std::uint64_t>(Stage::memory());
        registers.general[7] = reinterpret_cast<std::uint64_t>(Stage::device());
        registers.general[0] = 0;
    };
    EXPECT_EQ(same(CODE("rep stosb")).size(), 2 * kPage);
}

TEST_F(Mmio, a_string_that_leaves_memory_faults_with_the_registers_of_that_element)
{
    auto start = prepared();
    start.general[1] = 100;
    start.general[6] = reinterpret_cast<std::uint64_t>(Stage::memory() + kPages * kPage) - 16;
    start.general[7] = reinterpret_cast<std::uint64_t>(Stage::device());
    auto const code = CODE("rep movsl");
    auto const on_memory = stage.on_memory(code, start, 1);
    auto const on_device = stage.on_device(code, start, 1);
    EXPECT_EQ(on_memory.signal, SIGSEGV);
    EXPECT_EQ(on_device.registers.general[1], 96U);
    EXPECT_EQ(difference(on_memory, on_device), "");
}

TEST_F(Mmio, an_instruction_that_faults_by_itself_faults_after_its_read_and_changes_nothing)
{
    auto const code = CODE("divl 0x10(%%rdi)");
    auto start = prepared();
    start.general[2] = 0xffffffff;
    auto const on_memory = stage.on_memory(code, start, 1);
    auto const on_device = stage.on_device(code, start, 1);
    EXPECT_EQ(on_memory.signal, SIGFPE);
    EXPECT_EQ(difference(on_memory, on_device), "");
    EXPECT_EQ(on_device.accesses, (Accesses{read(kMiddle + 0x10, 4)}));
    // The stage still works.
    EXPECT_SAME("addl 0x10(%%rdi), %%eax");
}

TEST_F(Mmio, what_the_bus_refuses_is_a_bus_error_and_changes_nothing)
{
    stage.refuse_accesses(true);
    for (auto const code : {CODE("movl 0x10(%%rdi), %%eax"), CODE("movl %%eax, 0x10(%%rdi)"),
                            CODE("lock orl $1, 0x10(%%rdi)"), CODE("movups %%xmm0, 0x10(%%rdi)"),
                            CODE("rep stosb")}) {
        auto start = prepared();
        auto const outcome = stage.on_device(code, start, 1);
        EXPECT_EQ(outcome.signal, SIGBUS);
        EXPECT_EQ(outcome.registers.general, start.general);
        EXPECT_TRUE(outcome.accesses.empty());
    }
}

TEST_F(Mmio, what_the_mapping_forbids_reaches_no_device)
{
    stage.read_only(true);
    for (auto const code :
         {CODE("movl %%eax, 0x10(%%rdi)"), CODE("orl $1, 0x10(%%rdi)"), CODE("btsl %%ecx, (%%rdi)"),
          CODE("movups %%xmm0, 0x10(%%rdi)"), CODE("popq 0x10(%%rdi)"), CODE("rep stosb")}) {
        auto start = prepared();
        start.general[1] = 5;
        auto const outcome = stage.on_device(code, start, 1);
        EXPECT_EQ(outcome.signal, SIGSEGV);
        EXPECT_TRUE(outcome.accesses.empty());
    }
    EXPECT_SAME("movl 0x10(%%rdi), %%eax");
}

TEST_F(Mmio, what_cannot_be_carried_out_is_refused_and_touches_neither_device_nor_context)
{
    for (auto const code : {CODE("xsave 0x40(%%rdi)"), CODE("ljmp *0x10(%%rdi)")}) {
        auto start = prepared();
        auto const outcome = stage.on_device(code, start, 1);
        EXPECT_TRUE(outcome.refused);
        EXPECT_TRUE(outcome.accesses.empty());
        EXPECT_EQ(outcome.registers.general, start.general);
    }
    std::array<std::uint8_t, 5> const lock_add{0xf0, 0x83, 0x47, 0x10, 0x01};
    EXPECT_EQ(describe_instruction(lock_add, 0x1000), "lock add dword ptr [rdi+0x10], 0x01");
}

TEST_F(Mmio, bytes_that_are_no_instruction_are_refused)
{
    EXPECT_EQ(make_plan({}).form, Plan::Form::unknown);
    std::array<std::uint8_t, 2> const half{0x48, 0x8b};
    EXPECT_EQ(make_plan(half).form, Plan::Form::unknown);
    EXPECT_EQ(describe_instruction(half, 0), "an instruction that cannot be decoded");
}

TEST_F(Mmio, code_that_changes_in_place_is_decoded_anew)
{
    // Both are run at the same address, in turns.
    for (int round = 0; round < 3; ++round) {
        EXPECT_ACCESSES("movl 0x10(%%rdi), %%eax", {read(kMiddle + 0x10, 4)});
        EXPECT_ACCESSES("movl 0x20(%%rdi), %%eax", {read(kMiddle + 0x20, 4)});
    }
}

}  // namespace
}  // namespace pinfold::preload::test
