#include "preload/mmio.hpp"

#include <Zydis/Zydis.h>

#include <array>
#include <cstring>
#include <optional>

namespace pinfold::preload {
namespace {

// Where ucontext keeps a general register. REG_* are in the order of mcontext's gregs, not of the
// encoding.
constexpr std::array<int, 16> kGregs{REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                     REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                     REG_R12, REG_R13, REG_R14, REG_R15};

struct Register {
    int greg;
    unsigned shift;  // 8 for ah, ch, dh, bh
    unsigned size;   // bytes
};

std::optional<Register> general_register(ZydisRegister reg)
{
    auto const family = ZydisRegisterGetClass(reg);
    auto const id = static_cast<std::size_t>(ZydisRegisterGetId(reg));
    auto const at = [](std::size_t index, unsigned shift, unsigned size) {
        return Register{kGregs[index], shift, size};
    };
    switch (family) {
        case ZYDIS_REGCLASS_GPR64: return at(id, 0, 8);
        case ZYDIS_REGCLASS_GPR32: return at(id, 0, 4);
        case ZYDIS_REGCLASS_GPR16: return at(id, 0, 2);
        case ZYDIS_REGCLASS_GPR8: break;
        default: return std::nullopt;
    }
    if (reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH)
        return at(static_cast<std::size_t>(reg - ZYDIS_REGISTER_AH), 8, 1);
    auto const whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);
    return at(static_cast<std::size_t>(ZydisRegisterGetId(whole)), 0, 1);
}

std::uint64_t low_bytes(std::uint64_t value, unsigned size)
{
    return size >= 8 ? value : value & ((std::uint64_t{1} << (8 * size)) - 1);
}

std::uint64_t load(ucontext_t const& context, Register reg)
{
    auto const whole = static_cast<std::uint64_t>(context.uc_mcontext.gregs[reg.greg]);
    return low_bytes(whole >> reg.shift, reg.size);
}

// As the processor writes a register: 32 bits clear the upper half, 8 and 16 bits leave the rest
// alone.
void store(ucontext_t& context, Register reg, std::uint64_t value)
{
    auto& whole = context.uc_mcontext.gregs[reg.greg];
    if (reg.size >= 4) {
        whole = static_cast<greg_t>(low_bytes(value, reg.size));
        return;
    }
    std::uint64_t const mask = low_bytes(~std::uint64_t{0}, reg.size) << reg.shift;
    whole = static_cast<greg_t>((static_cast<std::uint64_t>(whole) & ~mask) |
                                ((value << reg.shift) & mask));
}

std::uint64_t sign_extended(std::uint64_t value, unsigned size)
{
    unsigned const unused = 64 - 8 * size;
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(value << unused) >> unused);
}

// The 16 bytes of a vector register in the interrupted context; nullptr: it is not kept there.
void* vector_register(ucontext_t& context, ZydisRegister reg)
{
    if (ZydisRegisterGetClass(reg) != ZYDIS_REGCLASS_XMM || context.uc_mcontext.fpregs == nullptr)
        return nullptr;
    auto const id = static_cast<std::size_t>(ZydisRegisterGetId(reg));
    return id < 16 ? &context.uc_mcontext.fpregs->_xmm[id] : nullptr;
}

class Access {
public:
    Access(ZydisDecodedInstruction const& instruction,
           std::span<ZydisDecodedOperand const> operands, ucontext_t& context,
           MmioTarget const& target)
        : instruction_{instruction}, operands_{operands}, context_{context}, target_{target}
    {
    }

    Carried carry_out()
    {
        switch (instruction_.mnemonic) {
            case ZYDIS_MNEMONIC_MOV:
            case ZYDIS_MNEMONIC_MOVNTI:
                return memory(0) ? store_general() : load_general(Extend::zero);
            case ZYDIS_MNEMONIC_MOVZX: return load_general(Extend::zero);
            case ZYDIS_MNEMONIC_MOVSX:
            case ZYDIS_MNEMONIC_MOVSXD: return load_general(Extend::sign);
            case ZYDIS_MNEMONIC_MOVD:
            case ZYDIS_MNEMONIC_MOVQ:
            case ZYDIS_MNEMONIC_MOVUPS:
            case ZYDIS_MNEMONIC_MOVAPS:
            case ZYDIS_MNEMONIC_MOVUPD:
            case ZYDIS_MNEMONIC_MOVAPD:
            case ZYDIS_MNEMONIC_MOVDQU:
            case ZYDIS_MNEMONIC_MOVDQA:
            case ZYDIS_MNEMONIC_MOVNTDQ:
            case ZYDIS_MNEMONIC_MOVNTPS: return memory(0) ? store_vector() : load_vector();
            default: return Carried::refused;
        }
    }

private:
    enum class Extend { zero, sign };

    bool memory(std::size_t operand) const
    {
        return operands_[operand].type == ZYDIS_OPERAND_TYPE_MEMORY;
    }
    unsigned size(std::size_t operand) const { return operands_[operand].size / 8; }

    Carried load_general(Extend extend)
    {
        if (!memory(1)) return Carried::refused;
        auto const reg = general_register(operands_[0].reg.value);
        if (!reg) return Carried::refused;
        auto const value = target_.read(0, size(1));
        if (!value) return Carried::refused;
        store(context_, *reg, extend == Extend::sign ? sign_extended(*value, size(1)) : *value);
        return done();
    }

    Carried store_general()
    {
        std::uint64_t value = 0;
        if (operands_[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
            value = operands_[1].imm.value.u;
        } else {
            auto const reg = general_register(operands_[1].reg.value);
            if (!reg) return Carried::refused;
            value = load(context_, *reg);
        }
        if (!target_.write(0, size(0), low_bytes(value, size(0)))) return Carried::refused;
        return done();
    }

    // Vector moves reach a device as accesses of at most 8 bytes, lowest address first.
    Carried load_vector()
    {
        void* const reg = vector_register(context_, operands_[0].reg.value);
        if (reg == nullptr || size(1) > 16) return Carried::refused;
        std::array<std::uint64_t, 2> value{};
        for (unsigned at = 0; at < size(1); at += 8) {
            auto const part = target_.read(at, std::min(8U, size(1) - at));
            if (!part) return Carried::refused;
            value[at / 8] = *part;
        }
        std::memcpy(reg, value.data(), sizeof value);
        return done();
    }

    Carried store_vector()
    {
        void const* const reg = vector_register(context_, operands_[1].reg.value);
        if (reg == nullptr || size(0) > 16) return Carried::refused;
        std::array<std::uint64_t, 2> value{};
        std::memcpy(value.data(), reg, sizeof value);
        for (unsigned at = 0; at < size(0); at += 8) {
            unsigned const part = std::min(8U, size(0) - at);
            if (!target_.write(at, part, low_bytes(value[at / 8], part))) return Carried::refused;
        }
        return done();
    }

    Carried done()
    {
        context_.uc_mcontext.gregs[REG_RIP] += instruction_.length;
        return Carried::out;
    }

    ZydisDecodedInstruction const& instruction_;
    std::span<ZydisDecodedOperand const> operands_;
    ucontext_t& context_;
    MmioTarget const& target_;
};

ZydisDecoder const& decoder()
{
    static ZydisDecoder const made = [] {
        ZydisDecoder fresh;
        (void)ZydisDecoderInit(&fresh, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
        return fresh;
    }();
    return made;
}

}  // namespace

Carried carry_out(std::span<std::uint8_t const> code, ucontext_t& context, MmioTarget const& target)
{
    ZydisDecodedInstruction instruction;
    std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;
    if (ZYAN_FAILED(ZydisDecoderDecodeFull(&decoder(), code.data(), code.size(), &instruction,
                                           operands.data())))
        return Carried::refused;
    if (instruction.operand_count < 2) return Carried::refused;
    return Access{instruction, std::span{operands.data(), instruction.operand_count}, context,
                  target}
        .carry_out();
}

std::string describe_instruction(std::span<std::uint8_t const> code, std::uint64_t address)
{
    ZydisDecodedInstruction instruction;
    std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;
    ZydisFormatter formatter;
    std::array<char, 128> text{};
    if (ZYAN_FAILED(ZydisDecoderDecodeFull(&decoder(), code.data(), code.size(), &instruction,
                                           operands.data())) ||
        ZYAN_FAILED(ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL)) ||
        ZYAN_FAILED(ZydisFormatterFormatInstruction(&formatter, &instruction, operands.data(),
                                                    instruction.operand_count_visible, text.data(),
                                                    text.size(), address, nullptr)))
        return "an instruction that cannot be decoded";
    return text.data();
}

}  // namespace pinfold::preload
