#include "preload/instruction.hpp"

#include <Zydis/Zydis.h>

#include <algorithm>
#include <atomic>
#include <cstring>

namespace pinfold::preload {
namespace {

using Form = Plan::Form;

struct Decoded {
    ZydisDecodedInstruction instruction;
    std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;

    std::span<ZydisDecodedOperand const> all() const
    {
        return {operands.data(), instruction.operand_count};
    }
    bool has(ZydisInstructionAttributes attributes) const
    {
        return (instruction.attributes & attributes) != 0;
    }
    // The operand that is encoded in ModRM or as a number; nullptr: none is memory.
    ZydisDecodedOperand const* memory() const
    {
        auto const visible = all().first(instruction.operand_count_visible);
        auto const found =
            std::ranges::find(visible, ZYDIS_OPERAND_TYPE_MEMORY, &ZydisDecodedOperand::type);
        return found == visible.end() ? nullptr : &*found;
    }
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

bool decode(std::span<std::uint8_t const> code, Decoded& decoded)
{
    return ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder(), code.data(), code.size(),
                                               &decoded.instruction, decoded.operands.data()));
}

// ---- moves: the fast way ----

bool plan_move(Decoded const& decoded, Plan& plan)
{
    switch (decoded.instruction.mnemonic) {
        case ZYDIS_MNEMONIC_MOV:
        case ZYDIS_MNEMONIC_MOVNTI:
        case ZYDIS_MNEMONIC_MOVDIRI:
        case ZYDIS_MNEMONIC_MOVZX: break;
        case ZYDIS_MNEMONIC_MOVSX:
        case ZYDIS_MNEMONIC_MOVSXD: plan.extend = Plan::Extend::sign; break;
        default: return false;
    }
    bool const stores = decoded.operands[0].type == ZYDIS_OPERAND_TYPE_MEMORY;
    auto const& other = decoded.operands[stores ? 1 : 0];
    if (other.type == ZYDIS_OPERAND_TYPE_REGISTER) {
        auto const reg = general_register(other.reg.value);
        if (!reg) return false;  // a segment register
        plan.reg = *reg;
        plan.has_reg = true;
    } else {
        plan.immediate = other.imm.value.u;
    }
    plan.form = stores ? Form::store : Form::load;
    return true;
}

// ---- what has a stack, a string or bits beyond its operand ----

std::optional<Plan::String> string_of(ZydisMnemonic mnemonic)
{
    using String = Plan::String;
    switch (mnemonic) {
        case ZYDIS_MNEMONIC_MOVSB:
        case ZYDIS_MNEMONIC_MOVSW:
        case ZYDIS_MNEMONIC_MOVSD:
        case ZYDIS_MNEMONIC_MOVSQ: return String::move;
        case ZYDIS_MNEMONIC_STOSB:
        case ZYDIS_MNEMONIC_STOSW:
        case ZYDIS_MNEMONIC_STOSD:
        case ZYDIS_MNEMONIC_STOSQ: return String::store;
        case ZYDIS_MNEMONIC_LODSB:
        case ZYDIS_MNEMONIC_LODSW:
        case ZYDIS_MNEMONIC_LODSD:
        case ZYDIS_MNEMONIC_LODSQ: return String::load;
        case ZYDIS_MNEMONIC_CMPSB:
        case ZYDIS_MNEMONIC_CMPSW:
        case ZYDIS_MNEMONIC_CMPSD:
        case ZYDIS_MNEMONIC_CMPSQ: return String::compare;
        case ZYDIS_MNEMONIC_SCASB:
        case ZYDIS_MNEMONIC_SCASW:
        case ZYDIS_MNEMONIC_SCASD:
        case ZYDIS_MNEMONIC_SCASQ: return String::scan;
        default: return std::nullopt;
    }
}

// movsd and cmpsd are SSE instructions as well; those have a ModRM byte.
bool plan_string(Decoded const& decoded, Plan& plan)
{
    using Repeat = Plan::Repeat;
    auto const string = string_of(decoded.instruction.mnemonic);
    if (!string || decoded.instruction.meta.category != ZYDIS_CATEGORY_STRINGOP) return false;
    plan.form = Form::string;
    plan.string = *string;
    plan.size = static_cast<std::uint16_t>(decoded.instruction.operand_width / 8);
    bool const compares = *string == Plan::String::compare || *string == Plan::String::scan;
    if (decoded.has(ZYDIS_ATTRIB_HAS_REPNE))
        plan.repeat = compares ? Repeat::while_different : Repeat::always;
    else if (decoded.has(ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE))
        plan.repeat = compares ? Repeat::while_equal : Repeat::always;
    plan.address.narrow = decoded.instruction.address_width == 32;
    if (decoded.has(ZYDIS_ATTRIB_HAS_SEGMENT_FS)) plan.address.segment = Address::Segment::fs;
    if (decoded.has(ZYDIS_ATTRIB_HAS_SEGMENT_GS)) plan.address.segment = Address::Segment::gs;
    return true;
}

bool plan_stack(Decoded const& decoded, Plan& plan)
{
    bool const near = decoded.instruction.meta.branch_type == ZYDIS_BRANCH_TYPE_NEAR;
    switch (decoded.instruction.mnemonic) {
        case ZYDIS_MNEMONIC_PUSH: plan.form = Form::push; return true;
        case ZYDIS_MNEMONIC_POP:
            plan.form = Form::pop;
            // Its address is made with the stack pointer as it is after the pop.
            if (plan.address.base == REG_RSP) plan.address.displacement += plan.size;
            return true;
        case ZYDIS_MNEMONIC_CALL: plan.form = near ? Form::call : Form::unknown; return true;
        case ZYDIS_MNEMONIC_JMP: plan.form = near ? Form::jump : Form::unknown; return true;
        default: return false;
    }
}

bool plan_bit(Decoded const& decoded, Plan& plan)
{
    using Operation = Plan::Operation;
    if (decoded.operands[1].type != ZYDIS_OPERAND_TYPE_REGISTER) return false;
    switch (decoded.instruction.mnemonic) {
        case ZYDIS_MNEMONIC_BT: plan.operation = Operation::test; break;
        case ZYDIS_MNEMONIC_BTS: plan.operation = Operation::set; break;
        case ZYDIS_MNEMONIC_BTR: plan.operation = Operation::reset; break;
        case ZYDIS_MNEMONIC_BTC: plan.operation = Operation::complement; break;
        default: return false;
    }
    plan.reg = *general_register(decoded.operands[1].reg.value);
    plan.form = Form::bit;
    return true;
}

bool plan_copy_64_bytes(Decoded const& decoded, Plan& plan)
{
    if (decoded.instruction.mnemonic != ZYDIS_MNEMONIC_MOVDIR64B) return false;
    auto const source = Address::of(decoded.instruction, decoded.operands[1]);
    auto const to = general_register(decoded.operands[0].mem.base);
    if (!source || !to) return true;
    plan.address = *source;
    plan.reg = {to->greg, 0, static_cast<std::uint8_t>(source->narrow ? 4 : 8)};
    plan.size = 64;
    plan.form = Form::copy_64_bytes;
    return true;
}

// ---- gathers and scatters ----

struct Indexed {
    Form form;
    std::uint8_t index, element;  // bytes
};

std::optional<Indexed> indexed(ZydisMnemonic mnemonic)
{
    switch (mnemonic) {
        case ZYDIS_MNEMONIC_VGATHERDPS:
        case ZYDIS_MNEMONIC_VPGATHERDD: return Indexed{Form::gather, 4, 4};
        case ZYDIS_MNEMONIC_VGATHERDPD:
        case ZYDIS_MNEMONIC_VPGATHERDQ: return Indexed{Form::gather, 4, 8};
        case ZYDIS_MNEMONIC_VGATHERQPS:
        case ZYDIS_MNEMONIC_VPGATHERQD: return Indexed{Form::gather, 8, 4};
        case ZYDIS_MNEMONIC_VGATHERQPD:
        case ZYDIS_MNEMONIC_VPGATHERQQ: return Indexed{Form::gather, 8, 8};
        case ZYDIS_MNEMONIC_VSCATTERDPS:
        case ZYDIS_MNEMONIC_VPSCATTERDD: return Indexed{Form::scatter, 4, 4};
        case ZYDIS_MNEMONIC_VSCATTERDPD:
        case ZYDIS_MNEMONIC_VPSCATTERDQ: return Indexed{Form::scatter, 4, 8};
        case ZYDIS_MNEMONIC_VSCATTERQPS:
        case ZYDIS_MNEMONIC_VPSCATTERQD: return Indexed{Form::scatter, 8, 4};
        case ZYDIS_MNEMONIC_VSCATTERQPD:
        case ZYDIS_MNEMONIC_VPSCATTERQQ: return Indexed{Form::scatter, 8, 8};
        default: return std::nullopt;
    }
}

std::uint8_t register_id(ZydisRegister reg)
{
    return static_cast<std::uint8_t>(ZydisRegisterGetId(reg));
}

// As many elements as both the indices and the elements have room for.
bool plan_indexed(Decoded const& decoded, Plan& plan)
{
    auto const found = indexed(decoded.instruction.mnemonic);
    auto const* const memory = decoded.memory();
    if (!found || memory == nullptr) return false;
    auto const common = Address::of(decoded.instruction, *memory);
    if (!common) return true;
    bool const opmask = decoded.instruction.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX;
    bool const gathers = found->form == Form::gather;
    plan.address = *common;
    plan.element = found->element;
    plan.index_size = found->index;
    plan.elements = static_cast<std::uint8_t>(decoded.instruction.avx.vector_length / 8 /
                                              std::max(found->index, found->element));
    plan.vector = register_id(decoded.operands[gathers ? 0 : 2].reg.value);
    plan.index_vector = register_id(memory->mem.index);
    plan.mask = opmask ? Plan::Mask::opmask : Plan::Mask::vector;
    plan.mask_register =
        register_id(opmask ? decoded.instruction.avx.mask.reg : decoded.operands[2].reg.value);
    plan.form = found->form;
    return true;
}

// Its memory operand is no part of its encoding.
bool plan_masked_bytes(Decoded const& decoded, Plan& plan)
{
    auto const mnemonic = decoded.instruction.mnemonic;
    if (mnemonic != ZYDIS_MNEMONIC_MASKMOVDQU && mnemonic != ZYDIS_MNEMONIC_VMASKMOVDQU)
        return false;
    auto const target = Address::of(decoded.instruction, decoded.operands[2]);
    if (!target) return true;
    plan.address = *target;
    plan.size = plan.reach = 16;
    plan.element = 1;
    plan.mask = Plan::Mask::vector;
    plan.vector = register_id(decoded.operands[0].reg.value);
    plan.mask_register = register_id(decoded.operands[1].reg.value);
    plan.form = Form::masked_bytes;
    return true;
}

// ---- everything else: a copy of the instruction ----

// Instructions that belong to the system, whose operand has no size of its own, that end in another
// place, or that touch more memory than their operand.
bool cannot_be_copied(Decoded const& decoded)
{
    if (decoded.has(ZYDIS_ATTRIB_IS_PRIVILEGED)) return true;
    if (decoded.instruction.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE) return true;
    if (!decoded.has(ZYDIS_ATTRIB_HAS_MODRM)) return true;
    switch (decoded.instruction.meta.category) {
        case ZYDIS_CATEGORY_AMX_TILE:
        case ZYDIS_CATEGORY_CET:
        case ZYDIS_CATEGORY_ENQCMD:
        case ZYDIS_CATEGORY_INTERRUPT:
        case ZYDIS_CATEGORY_KEYLOCKER:
        case ZYDIS_CATEGORY_KEYLOCKER_WIDE:
        case ZYDIS_CATEGORY_MPX:
        case ZYDIS_CATEGORY_SEGOP:
        case ZYDIS_CATEGORY_SYSTEM:
        case ZYDIS_CATEGORY_UINTR:
        case ZYDIS_CATEGORY_VTX:
        case ZYDIS_CATEGORY_XSAVE:
        case ZYDIS_CATEGORY_XSAVEOPT: return true;
        default: break;
    }
    auto const memory = [](ZydisDecodedOperand const& operand) {
        return operand.type == ZYDIS_OPERAND_TYPE_MEMORY;
    };
    auto const sets_segment = [](ZydisDecodedOperand const& operand) {
        return operand.type == ZYDIS_OPERAND_TYPE_REGISTER &&
               ZydisRegisterGetClass(operand.reg.value) == ZYDIS_REGCLASS_SEGMENT &&
               (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
    };
    if (std::ranges::any_of(decoded.all(), sets_segment)) return true;
    return std::ranges::count_if(decoded.all(), memory) != 1;
}

// Whether x87, MMX, SSE or AVX state may take part, MXCSR included.
bool uses_vectors(ZydisDecodedInstruction const& instruction)
{
    bool const x87 = instruction.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
                     instruction.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT &&
                     instruction.opcode >= 0xd8 && instruction.opcode <= 0xdf;
    switch (instruction.meta.isa_ext) {
        case ZYDIS_ISA_EXT_ADOX_ADCX:
        case ZYDIS_ISA_EXT_BASE:
        case ZYDIS_ISA_EXT_BMI1:
        case ZYDIS_ISA_EXT_BMI2:
        case ZYDIS_ISA_EXT_LONGMODE:
        case ZYDIS_ISA_EXT_LZCNT:
        case ZYDIS_ISA_EXT_TBM: return x87;
        default: return true;
    }
}

bool uses_stack_pointer(Decoded const& decoded)
{
    return std::ranges::any_of(decoded.all(), [](ZydisDecodedOperand const& operand) {
        return operand.type == ZYDIS_OPERAND_TYPE_REGISTER &&
               ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, operand.reg.value) ==
                   ZYDIS_REGISTER_RSP;
    });
}

bool packs(ZydisMnemonic mnemonic)
{
    switch (mnemonic) {
        case ZYDIS_MNEMONIC_VCOMPRESSPS:
        case ZYDIS_MNEMONIC_VCOMPRESSPD:
        case ZYDIS_MNEMONIC_VPCOMPRESSB:
        case ZYDIS_MNEMONIC_VPCOMPRESSW:
        case ZYDIS_MNEMONIC_VPCOMPRESSD:
        case ZYDIS_MNEMONIC_VPCOMPRESSQ:
        case ZYDIS_MNEMONIC_VEXPANDPS:
        case ZYDIS_MNEMONIC_VEXPANDPD:
        case ZYDIS_MNEMONIC_VPEXPANDB:
        case ZYDIS_MNEMONIC_VPEXPANDW:
        case ZYDIS_MNEMONIC_VPEXPANDD:
        case ZYDIS_MNEMONIC_VPEXPANDQ: return true;
        default: return false;
    }
}

// Loads of these read all of their operand whatever their mask says (no fault suppression):
// permutations and the like.
bool reads_all(ZydisExceptionClass kind)
{
    switch (kind) {
        case ZYDIS_EXCEPTION_CLASS_E1NF:
        case ZYDIS_EXCEPTION_CLASS_E2NF:
        case ZYDIS_EXCEPTION_CLASS_E3NF:
        case ZYDIS_EXCEPTION_CLASS_E4NF:
        case ZYDIS_EXCEPTION_CLASS_E5NF:
        case ZYDIS_EXCEPTION_CLASS_E6NF:
        case ZYDIS_EXCEPTION_CLASS_E9NF:
        case ZYDIS_EXCEPTION_CLASS_E10NF:
        case ZYDIS_EXCEPTION_CLASS_E11NF:
        case ZYDIS_EXCEPTION_CLASS_E12NP: return true;
        default: return false;
    }
}

// The bytes that one bit of a mask stands for. Some store a lane, element by element all the same.
std::uint8_t element_of(ZydisMnemonic mnemonic, ZydisDecodedOperand const& memory)
{
    switch (mnemonic) {
        case ZYDIS_MNEMONIC_VEXTRACTF32X4:
        case ZYDIS_MNEMONIC_VEXTRACTF32X8:
        case ZYDIS_MNEMONIC_VEXTRACTI32X4:
        case ZYDIS_MNEMONIC_VEXTRACTI32X8: return 4;
        case ZYDIS_MNEMONIC_VEXTRACTF64X2:
        case ZYDIS_MNEMONIC_VEXTRACTF64X4:
        case ZYDIS_MNEMONIC_VEXTRACTI64X2:
        case ZYDIS_MNEMONIC_VEXTRACTI64X4: return 8;
        default: return static_cast<std::uint8_t>(memory.element_size / 8);
    }
}

void plan_mask(Decoded const& decoded, ZydisDecodedOperand const& memory, Plan& plan)
{
    auto const& instruction = decoded.instruction;
    switch (instruction.mnemonic) {
        case ZYDIS_MNEMONIC_VMASKMOVPS:
        case ZYDIS_MNEMONIC_VMASKMOVPD:
        case ZYDIS_MNEMONIC_VPMASKMOVD:
        case ZYDIS_MNEMONIC_VPMASKMOVQ: {
            bool const wide = instruction.mnemonic == ZYDIS_MNEMONIC_VMASKMOVPD ||
                              instruction.mnemonic == ZYDIS_MNEMONIC_VPMASKMOVQ;
            plan.mask = Plan::Mask::vector;
            plan.element = wide ? 8 : 4;
            plan.mask_register = register_id(decoded.operands[1].reg.value);
            return;
        }
        default: break;
    }
    if (instruction.encoding != ZYDIS_INSTRUCTION_ENCODING_EVEX) return;
    if (!plan.writes && reads_all(instruction.meta.exception_class)) return;
    auto const reg = instruction.avx.mask.reg;
    if (reg == ZYDIS_REGISTER_NONE || reg == ZYDIS_REGISTER_K0) return;
    plan.mask_register = register_id(reg);
    plan.mask = packs(instruction.mnemonic) ? Plan::Mask::packed : Plan::Mask::opmask;
    plan.element = element_of(instruction.mnemonic, memory);
    // Where memory has as many elements as the register, each is read or not by its own bit.
    // Otherwise (a broadcast, an insertion) the mask says whether it is read at all.
    plan.whole = plan.mask == Plan::Mask::opmask && !plan.writes &&
                 decoded.operands[0].element_count != memory.element_count;
}

// A prefix that chooses a segment or the size of addresses.
bool addresses(std::uint8_t prefix)
{
    constexpr std::array<std::uint8_t, 7> kPrefixes{0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x67};
    return std::ranges::find(kPrefixes, prefix) != kPrefixes.end();
}

// Without effect unless it is the last prefix.
bool is_rex(std::uint8_t prefix) { return prefix >= 0x40 && prefix <= 0x4f; }

// The prefixes that stay, the opcode, ModRM for [rip + displacement], and the immediate.
void write_copy(std::span<std::uint8_t const> code, ZydisDecodedInstruction const& instruction,
                Plan& plan)
{
    auto const& raw = instruction.raw;
    std::uint8_t length = 0;
    auto const emit = [&](std::uint8_t byte) { plan.code[length++] = byte; };
    for (std::size_t at = 0; at < raw.modrm.offset; ++at) {
        bool const prefix = at < raw.prefix_count;
        bool const last = at + 1U == raw.prefix_count;
        if (!prefix || !(addresses(code[at]) || (is_rex(code[at]) && !last))) emit(code[at]);
    }
    emit(static_cast<std::uint8_t>((raw.modrm.reg << 3) | 5));
    plan.displacement_at = length;
    length = static_cast<std::uint8_t>(length + 4);
    std::size_t after = raw.modrm.offset + 1U;
    if (raw.sib.offset != 0) after = raw.sib.offset + 1U;
    if (raw.disp.size != 0) after = raw.disp.offset + raw.disp.size / 8U;
    for (std::size_t at = after; at < instruction.length; ++at) emit(code[at]);
    plan.code_length = length;
}

// Cache lines are the processor's own business: a device hears nothing of them.
bool only_caches(ZydisMnemonic mnemonic)
{
    return mnemonic == ZYDIS_MNEMONIC_CLFLUSH || mnemonic == ZYDIS_MNEMONIC_CLFLUSHOPT ||
           mnemonic == ZYDIS_MNEMONIC_CLWB || mnemonic == ZYDIS_MNEMONIC_CLDEMOTE;
}

constexpr std::uint16_t kLargestOperand = 512;

void plan_copy(std::span<std::uint8_t const> code, Decoded const& decoded,
               ZydisDecodedOperand const& memory, Plan& plan)
{
    if (cannot_be_copied(decoded) || plan.size == 0 || plan.size > kLargestOperand) return;
    bool const accesses = !only_caches(decoded.instruction.mnemonic);
    plan.reads = accesses && (memory.actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0;
    plan.writes = accesses && (memory.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
    // The rest of the 512 bytes belongs to the program.
    constexpr std::uint16_t kWritten = 416;
    if (decoded.instruction.mnemonic == ZYDIS_MNEMONIC_FXSAVE ||
        decoded.instruction.mnemonic == ZYDIS_MNEMONIC_FXSAVE64)
        plan.size = kWritten;
    plan.uses_vectors = uses_vectors(decoded.instruction);
    plan.uses_stack_pointer = uses_stack_pointer(decoded);
    // A fault in the copy would be delivered on the client's own stack, where our frame is.
    if (plan.uses_vectors && plan.uses_stack_pointer) return;
    plan_mask(decoded, memory, plan);
    write_copy(code, decoded.instruction, plan);
    plan.form = Form::executed;
}

}  // namespace

Plan make_plan(std::span<std::uint8_t const> code)
{
    Plan plan;
    Decoded decoded;
    if (!decode(code, decoded)) return plan;
    plan.length = decoded.instruction.length;
    plan.locked =
        decoded.has(ZYDIS_ATTRIB_HAS_LOCK) || decoded.instruction.mnemonic == ZYDIS_MNEMONIC_XCHG;
    if (plan_string(decoded, plan) || plan_copy_64_bytes(decoded, plan) ||
        plan_indexed(decoded, plan) || plan_masked_bytes(decoded, plan))
        return plan;
    auto const* const memory = decoded.memory();
    if (memory == nullptr) return plan;
    auto const address = Address::of(decoded.instruction, *memory);
    if (!address) return plan;
    plan.address = *address;
    bool const broadcast = decoded.has(ZYDIS_ATTRIB_HAS_EVEX_B);
    plan.size = static_cast<std::uint16_t>((broadcast ? memory->element_size : memory->size) / 8);
    plan.reach = plan.size;
    if (plan_move(decoded, plan) || plan_stack(decoded, plan) || plan_bit(decoded, plan))
        return plan;
    plan_copy(code, decoded, *memory, plan);
    return plan;
}

// ---- the plans that are kept ----

namespace {

// Direct-mapped by address; guarded by a sequence count, because handlers of several threads read
// and write it. A reader that meets a writer decodes for itself.
struct alignas(64) Kept {
    std::atomic<std::uint32_t> sequence{0};
    std::uint64_t rip = 0;
    std::array<std::uint8_t, kLongestInstruction> code{};
    Plan plan;
};
constexpr std::size_t kKept = 512;
std::array<Kept, kKept> kept_plans;

Kept& kept_for(std::uint64_t rip) { return kept_plans[(rip * 0x9e3779b97f4a7c15 >> 40) % kKept]; }

bool read_kept(Kept const& kept, std::uint64_t rip, std::span<std::uint8_t const> code, Plan& plan)
{
    std::uint32_t const before = kept.sequence.load(std::memory_order_acquire);
    if (before % 2 != 0 || kept.rip != rip) return false;
    std::memcpy(&plan, &kept.plan, sizeof plan);
    bool const same =
        plan.length <= code.size() && std::memcmp(kept.code.data(), code.data(), plan.length) == 0;
    std::atomic_thread_fence(std::memory_order_acquire);
    return same && kept.sequence.load(std::memory_order_relaxed) == before;
}

void keep(Kept& kept, std::uint64_t rip, std::span<std::uint8_t const> code, Plan const& plan)
{
    std::uint32_t before = kept.sequence.load(std::memory_order_relaxed);
    if (before % 2 != 0 ||
        !kept.sequence.compare_exchange_strong(before, before + 1, std::memory_order_acq_rel))
        return;
    std::atomic_thread_fence(std::memory_order_release);
    kept.rip = rip;
    std::memcpy(kept.code.data(), code.data(), std::min(code.size(), kept.code.size()));
    std::memcpy(&kept.plan, &plan, sizeof plan);
    kept.sequence.store(before + 2, std::memory_order_release);
}

}  // namespace

Plan plan_of(std::uint64_t rip, std::span<std::uint8_t const> code)
{
    Kept& kept = kept_for(rip);
    Plan plan;
    if (read_kept(kept, rip, code, plan)) return plan;
    plan = make_plan(code);
    if (plan.form != Form::unknown) keep(kept, rip, code, plan);
    return plan;
}

std::string describe_instruction(std::span<std::uint8_t const> code, std::uint64_t address)
{
    Decoded decoded;
    ZydisFormatter formatter;
    std::array<char, 128> text{};
    if (!decode(code, decoded) ||
        ZYAN_FAILED(ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL)) ||
        ZYAN_FAILED(ZydisFormatterFormatInstruction(
            &formatter, &decoded.instruction, decoded.operands.data(),
            decoded.instruction.operand_count_visible, text.data(), text.size(), address, nullptr)))
        return "an instruction that cannot be decoded";
    return text.data();
}

}  // namespace pinfold::preload
