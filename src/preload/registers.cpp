#include "preload/registers.hpp"

#include <cpuid.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstring>

namespace pinfold::preload {
namespace {

// REG_* are in the order of mcontext's gregs, not of the encoding.
constexpr std::array<std::int8_t, 16> kGregs{REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                             REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                             REG_R12, REG_R13, REG_R14, REG_R15};

// A handler runs with the bases of the thread that it interrupted.
std::uint64_t segment_base(Address::Segment segment)
{
    std::uint64_t base = 0;
    static bool const instructions = (::getauxval(AT_HWCAP2) & 2U) != 0;  // HWCAP2_FSGSBASE
    bool const fs = segment == Address::Segment::fs;
    if (!instructions) {
        constexpr int kGetFs = 0x1003;
        constexpr int kGetGs = 0x1004;
        (void)::syscall(SYS_arch_prctl, fs ? kGetFs : kGetGs, &base);
    } else if (fs) {
        asm("rdfsbase %0" : "=r"(base));
    } else {
        asm("rdgsbase %0" : "=r"(base));
    }
    return base;
}

// The components of an XSAVE area ("Intel SDM", 1: 13.1), and where it has its header.
constexpr unsigned kSse = 1;
constexpr unsigned kAvx = 2;
constexpr unsigned kOpmask = 5;
constexpr unsigned kUpperHalves = 6;     // of the first 16 zmm registers
constexpr unsigned kUpperRegisters = 7;  // the others
constexpr std::size_t kHeader = 512;

struct Place {
    std::size_t offset, size;
};

// Where a component stands in an area of the standard form.
Place const& place_of(unsigned number)
{
    static std::array<Place, 8> const places = [] {
        std::array<Place, 8> made{};
        made[kSse] = {160, 256};
        for (unsigned component = 2; component < made.size(); ++component) {
            unsigned size = 0;
            unsigned offset = 0;
            unsigned rest[2];
            if (__get_cpuid_count(0xd, component, &size, &offset, &rest[0], &rest[1]) != 0)
                made[component] = {offset, size};
        }
        return made;
    }();
    return places[number];
}

}  // namespace

std::uint64_t low_bytes(std::uint64_t value, unsigned size)
{
    return size >= 8 ? value : value & ((std::uint64_t{1} << (8 * size)) - 1);
}

std::uint64_t sign_extended(std::uint64_t value, unsigned size)
{
    unsigned const unused = 64 - 8 * size;
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(value << unused) >> unused);
}

std::uint64_t Register::load(ucontext_t const& context) const
{
    return low_bytes(static_cast<std::uint64_t>(context.uc_mcontext.gregs[greg]) >> shift, size);
}

void Register::store(ucontext_t& context, std::uint64_t value) const
{
    auto& whole = context.uc_mcontext.gregs[greg];
    if (size >= 4) {
        whole = static_cast<greg_t>(low_bytes(value, size));
        return;
    }
    std::uint64_t const mask = low_bytes(~std::uint64_t{0}, size) << shift;
    whole = static_cast<greg_t>((static_cast<std::uint64_t>(whole) & ~mask) |
                                ((value << shift) & mask));
}

std::optional<Register> general_register(ZydisRegister reg)
{
    auto const at = [](ZydisRegister whole, std::uint8_t size) {
        return Register{kGregs[static_cast<std::uint8_t>(ZydisRegisterGetId(whole))], 0, size};
    };
    switch (ZydisRegisterGetClass(reg)) {
        case ZYDIS_REGCLASS_GPR64: return at(reg, 8);
        case ZYDIS_REGCLASS_GPR32: return at(reg, 4);
        case ZYDIS_REGCLASS_GPR16: return at(reg, 2);
        case ZYDIS_REGCLASS_GPR8: break;
        default: return std::nullopt;
    }
    if (reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH)
        return Register{kGregs[static_cast<std::size_t>(reg - ZYDIS_REGISTER_AH)], 8, 1};
    return at(ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg), 1);
}

std::optional<Address> Address::of(ZydisDecodedInstruction const& instruction,
                                   ZydisDecodedOperand const& operand)
{
    auto const& mem = operand.mem;
    bool const vector = mem.type == ZYDIS_MEMOP_TYPE_VSIB;
    if (mem.type != ZYDIS_MEMOP_TYPE_MEM && !vector) return std::nullopt;
    Address address;
    address.narrow = instruction.address_width == 32;
    address.displacement = mem.disp.has_displacement ? mem.disp.value : 0;
    if (mem.segment == ZYDIS_REGISTER_FS) address.segment = Segment::fs;
    if (mem.segment == ZYDIS_REGISTER_GS) address.segment = Segment::gs;
    if (mem.base == ZYDIS_REGISTER_RIP || mem.base == ZYDIS_REGISTER_EIP) {
        address.base = REG_RIP;
        address.displacement += instruction.length;
    } else if (mem.base != ZYDIS_REGISTER_NONE) {
        auto const base = general_register(mem.base);
        if (!base) return std::nullopt;
        address.base = base->greg;
    }
    address.scale = mem.scale;
    if (mem.index != ZYDIS_REGISTER_NONE && !vector) {
        auto const index = general_register(mem.index);
        if (!index) return std::nullopt;
        address.index = index->greg;
    }
    return address;
}

Vaddr Address::in(ucontext_t const& context, std::uint64_t away) const
{
    auto const greg = [&](std::int8_t number) {
        return static_cast<std::uint64_t>(context.uc_mcontext.gregs[number]);
    };
    auto linear = static_cast<std::uint64_t>(displacement) + away;
    if (base >= 0) linear += greg(base);
    if (index >= 0) linear += greg(index) * scale;
    if (narrow) linear = low_bytes(linear, 4);
    if (segment != Segment::flat) linear += segment_base(segment);
    return Vaddr{linear};
}

VectorState::VectorState(ucontext_t& context)
{
    // What the kernel says of the area stands in bytes of it that no component uses.
    struct Software {
        std::uint32_t magic, extended_size;
        std::uint64_t components;
    };
    constexpr std::size_t kSoftware = 464;
    constexpr std::uint32_t kMagic = 0x46505853;
    constexpr std::uint64_t kInstructions = 0xe7;  // not the protection keys, not AMX
    auto* const area = reinterpret_cast<std::byte*>(context.uc_mcontext.fpregs);
    if (area == nullptr) return;
    Software software;
    std::memcpy(&software, area + kSoftware, sizeof software);
    if (software.magic != kMagic) return;
    area_ = area;
    components_ = static_cast<std::uint32_t>(software.components & kInstructions);
}

std::byte const* VectorState::component(unsigned number) const
{
    std::uint64_t present = 0;
    if (area_ == nullptr) return nullptr;
    std::memcpy(&present, area_ + kHeader, sizeof present);
    bool const there = (present & components_ & (std::uint64_t{1} << number)) != 0;
    return there ? area_ + place_of(number).offset : nullptr;
}

std::byte* VectorState::present(unsigned number)
{
    if (area_ == nullptr || (components_ >> number & 1) == 0) return nullptr;
    auto const& place = place_of(number);
    auto* const at = area_ + place.offset;
    if (component(number) != nullptr) return at;
    std::uint64_t present = 0;
    std::memcpy(&present, area_ + kHeader, sizeof present);
    present |= std::uint64_t{1} << number;
    std::memcpy(area_ + kHeader, &present, sizeof present);
    std::memset(at, 0, place.size);
    return at;
}

std::uint64_t VectorState::opmask(unsigned id) const
{
    std::uint64_t value = 0;
    auto const* const masks = component(kOpmask);
    if (masks != nullptr) std::memcpy(&value, masks + std::size_t{8} * id, sizeof value);
    return value;
}

void VectorState::set_opmask(unsigned id, std::uint64_t value)
{
    auto* const masks = present(kOpmask);
    if (masks != nullptr) std::memcpy(masks + std::size_t{8} * id, &value, sizeof value);
}

namespace {

// Where a part of a vector register is.
struct Part {
    unsigned component;
    std::size_t offset;  // in it
};

Part part_of(unsigned id, unsigned at)
{
    if (id >= 16) return {kUpperRegisters, std::size_t{64} * (id - 16) + at};
    if (at < 16) return {kSse, std::size_t{16} * id + at};
    if (at < 32) return {kAvx, std::size_t{16} * id + (at - 16)};
    return {kUpperHalves, std::size_t{32} * id + (at - 32)};
}

}  // namespace

void VectorState::read(unsigned id, unsigned at, std::span<std::byte> into) const
{
    auto const part = part_of(id, at);
    auto const* const there = component(part.component);
    if (there != nullptr)
        std::memcpy(into.data(), there + part.offset, into.size());
    else
        std::memset(into.data(), 0, into.size());
}

void VectorState::write(unsigned id, unsigned at, std::span<std::byte const> from)
{
    auto const part = part_of(id, at);
    auto* const there = present(part.component);
    if (there != nullptr) std::memcpy(there + part.offset, from.data(), from.size());
}

bool VectorState::highest_bit(unsigned id, unsigned at, unsigned size) const
{
    std::byte highest{};
    read(id, at + size - 1, std::span{&highest, 1});
    return (highest & std::byte{0x80}) != std::byte{0};
}

void VectorState::clear(unsigned id, unsigned from)
{
    constexpr unsigned kWidth = 64;
    constexpr unsigned kPiece = 4;  // what an element is at least
    for (unsigned at = from; at < kWidth; at += kPiece) {
        auto const part = part_of(id, at);
        // What is in its initial state is zero, and stays so.
        if (component(part.component) != nullptr)
            std::memset(present(part.component) + part.offset, 0, kPiece);
    }
}

}  // namespace pinfold::preload
