// Random instructions with a memory operand, of the whole instruction set that this processor has:
// what they do on a device must be what they do on memory, and where they fault they must fault
// alike.
#include <Zydis/Zydis.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "instruction_stage.hpp"
#include "preload/instruction.hpp"

namespace pinfold::preload::test {
namespace {

class Generator {
public:
    explicit Generator(std::mt19937_64& random) : random_{random} {}

    // Bytes that may be one instruction.
    std::vector<std::uint8_t> next()
    {
        code_.clear();
        switch (pick(4)) {
            case 0: legacy(0); break;
            case 1: legacy(1 + pick(3)); break;
            case 2: vex(); break;
            default: evex(); break;
        }
        operand();
        for (int i = 0; i < 4; ++i) byte(random_());
        return code_;
    }

private:
    std::uint64_t pick(std::uint64_t choices) { return random_() % choices; }
    void byte(std::uint64_t value) { code_.push_back(static_cast<std::uint8_t>(value)); }

    void legacy(std::uint64_t map)
    {
        constexpr std::array<std::uint8_t, 3> kMandatory{0x66, 0xf2, 0xf3};
        if (pick(2) == 0) byte(kMandatory[pick(3)]);
        if (pick(8) == 0) byte(0xf0);
        if (pick(2) == 0) byte(0x40 | (pick(2) << 3) | (pick(2) << 2));  // REX.W, REX.R
        if (map >= 1) byte(0x0f);
        if (map == 2) byte(0x38);
        if (map == 3) byte(0x3a);
        byte(random_());
    }
    void vex()
    {
        byte(0xc4);
        byte(0x60 | (pick(2) << 7) | (1 + pick(3)));
        byte(random_());
        byte(random_());
    }
    void evex()
    {
        constexpr std::array<std::uint8_t, 5> kMaps{1, 2, 3, 5, 6};
        byte(0x62);
        byte(0x60 | (pick(2) << 7) | (pick(2) << 4) | kMaps[pick(5)]);
        byte(random_() | 0x04);
        byte(random_() | 0x08);
        byte(random_());
    }
    // [rdi + disp8], [rdi + r9 * scale + disp8] or [rip + disp32]; with REX.X for r9 only where
    // the prefixes above left it out, the index is rcx, which may lead anywhere.
    void operand()
    {
        std::uint64_t const reg = pick(8) << 3;
        if (pick(8) == 0) {
            byte(reg | 5);
            std::int32_t const away = 0x1000 + 0x1000 + static_cast<std::int32_t>(pick(4096)) - 64;
            for (int shift = 0; shift < 32; shift += 8)
                byte(static_cast<std::uint32_t>(away) >> shift);
        } else {
            byte(0x40 | reg | 7);
            byte(random_());
        }
    }

    std::mt19937_64& random_;
    std::vector<std::uint8_t> code_;
};

struct Instruction {
    std::string name;
    unsigned length = 0;
    std::uint64_t flags = 0;   // those that it does not leave undefined
    bool counts_bits = false;  // from its operand on, by a register
};

// nullopt: it is none, has no memory operand, or would take the stage apart (segment registers,
// branches, memory at an address of its own or of the thread).
std::optional<Instruction> admissible(std::span<std::uint8_t const> code)
{
    ZydisDecoder decoder;
    ZydisDecodedInstruction instruction;
    std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;
    (void)ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    if (ZYAN_FAILED(ZydisDecoderDecodeFull(&decoder, code.data(), code.size(), &instruction,
                                           operands.data())))
        return std::nullopt;
    // An address of 32 bits is none of the stage's, and may be one of a sanitizer's.
    if (instruction.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE || instruction.address_width != 64 ||
        (instruction.attributes & ZYDIS_ATTRIB_HAS_SEGMENT_FS) != 0 ||
        instruction.mnemonic == ZYDIS_MNEMONIC_MOVDIR64B)
        return std::nullopt;
    auto const plan = make_plan(code);
    if (plan.form == Plan::Form::unknown) return std::nullopt;
    std::uint64_t const undefined =
        instruction.cpu_flags == nullptr ? 0 : instruction.cpu_flags->undefined;
    return Instruction{ZydisMnemonicGetString(instruction.mnemonic), instruction.length, ~undefined,
                       plan.form == Plan::Form::bit};
}

TEST(MmioRandom, an_instruction_on_a_device_does_what_it_does_on_memory)
{
    unsigned const seed = std::random_device{}();
    SCOPED_TRACE(fmt::format("seed {}", seed));
    std::mt19937_64 random{seed};
    Generator generator{random};
    Stage stage;
    std::map<std::string, unsigned> ran;
    unsigned trapped = 0;
    for (unsigned round = 0; round < 60000 && !testing::Test::HasFailure(); ++round) {
        auto const bytes = generator.next();
        auto const instruction = admissible(bytes);
        if (!instruction) continue;
        std::span const code{bytes.data(), instruction->length};
        auto start = Stage::registers(random);
        // Near an edge of the device, now and then.
        if (random() % 4 == 0)
            start.general[7] = reinterpret_cast<std::uint64_t>(Stage::device()) +
                               random() % 3 * kPage - 128 + random() % 160;
        if (random() % 2 == 0) start.general[7] &= ~std::uint64_t{63};
        // Not so far that it meets the stage's own code and stack.
        for (std::size_t reg = 0; instruction->counts_bits && reg < 16; ++reg)
            if (reg != 4 && reg != 7) start.general[reg] %= 4096;
        auto const on_memory = stage.on_memory(code, start, round);
        auto const on_device = stage.on_device(code, start, round);
        EXPECT_EQ(difference(on_memory, on_device, instruction->flags), "")
            << fmt::format("{:02x}: ", fmt::join(code, " ")) << describe_instruction(code, 0)
            << (on_device.refused ? " was refused" : "")
            << fmt::format("\nrdi {:x}, signal {}, {} accesses", start.general[7], on_memory.signal,
                           on_device.accesses.size());
        trapped += !on_device.accesses.empty();
        if (on_memory.signal == 0) ++ran[instruction->name];
    }
    EXPECT_GT(trapped, 500U);
    EXPECT_GT(ran.size(), 200U);
    RecordProperty("instructions", static_cast<int>(ran.size()));
    fmt::print("{} different instructions, {} trapped\n", ran.size(), trapped);
}

// ---- moves under a mask, each of them ----

using Bytes = std::vector<std::uint8_t>;

// [rdi + 1 * disp8], with register 2 of the vectors and, for VEX, the mask in register 3.
Bytes vex_move(unsigned opcode, unsigned wide, unsigned length)
{
    return {0xc4,
            0xe2,
            static_cast<std::uint8_t>(wide << 7 | (15U - 3) << 3 | length << 2 | 1),
            static_cast<std::uint8_t>(opcode),
            0x57,
            1};
}

// The same with k1.
Bytes evex_move(unsigned map, unsigned prefix, unsigned opcode, unsigned wide, unsigned length)
{
    return {0x62,
            static_cast<std::uint8_t>(0xf0 | map),
            static_cast<std::uint8_t>(wide << 7 | 0x7c | prefix),
            static_cast<std::uint8_t>(length << 5 | 0x09),
            static_cast<std::uint8_t>(opcode),
            0x57,
            1};
}

// Also what is not an instruction: the test asks.
std::vector<Bytes> masked_moves()
{
    std::vector<Bytes> moves;
    for (unsigned const wide : {0U, 1U}) {
        for (unsigned const length : {0U, 1U})
            for (unsigned const opcode : {0x2cU, 0x2dU, 0x2eU, 0x2fU, 0x8cU, 0x8eU})
                moves.push_back(vex_move(opcode, wide, length));
        for (unsigned const length : {0U, 1U, 2U}) {
            for (unsigned const opcode : {0x62U, 0x63U, 0x88U, 0x89U, 0x8aU, 0x8bU})
                moves.push_back(evex_move(2, 1, opcode, wide, length));
            for (unsigned opcode = 0x10; opcode < 0x40; ++opcode)  // vpmovqb and its like
                moves.push_back(evex_move(2, 2, opcode, wide, length));
            for (unsigned prefix = 0; prefix < 4; ++prefix)
                for (unsigned const opcode : {0x10U, 0x11U, 0x28U, 0x29U, 0x6fU, 0x7fU})
                    moves.push_back(evex_move(1, prefix, opcode, wide, length));
        }
    }
    return moves;
}

TEST(MmioMasked, a_move_under_a_mask_does_on_a_device_what_it_does_on_memory)
{
    if (__builtin_cpu_supports("avx512vbmi2") == 0) GTEST_SKIP() << "no AVX-512 VBMI2 here";
    unsigned const seed = std::random_device{}();
    SCOPED_TRACE(fmt::format("seed {}", seed));
    std::mt19937_64 random{seed};
    Stage stage;
    std::map<std::string, unsigned> ran;
    for (auto const& bytes : masked_moves()) {
        auto const instruction = admissible(bytes);
        if (!instruction || instruction->length != bytes.size()) continue;
        for (unsigned round = 0; round < 8; ++round) {
            auto start = Stage::registers(random);
            start.general[7] &= ~std::uint64_t{63};
            // Across the beginning of the device, now and then.
            if (round % 2 == 0) start.general[7] -= kPage / 2 + 4 * (random() % 24);
            auto const on_memory = stage.on_memory(bytes, start, round);
            auto const on_device = stage.on_device(bytes, start, round);
            EXPECT_EQ(difference(on_memory, on_device), "")
                << describe_instruction(bytes, 0) << (on_device.refused ? " was refused" : "");
            if (on_memory.signal == 0 && !on_device.accesses.empty()) ++ran[instruction->name];
        }
    }
    for (auto const* const name :
         {"vmaskmovps",  "vmaskmovpd",  "vpmaskmovd", "vpmaskmovq", "vpcompressb", "vpcompressw",
          "vpcompressd", "vpcompressq", "vpexpandb",  "vpexpandw",  "vpexpandd",   "vpexpandq",
          "vcompressps", "vcompresspd", "vexpandps",  "vexpandpd",  "vmovdqu8",    "vmovdqu16",
          "vmovdqu32",   "vmovdqu64",   "vmovups",    "vmovupd",    "vmovss",      "vmovsd",
          "vpmovqb",     "vpmovswb"})
        EXPECT_GT(ran[name], 0U) << name;
}

}  // namespace
}  // namespace pinfold::preload::test
