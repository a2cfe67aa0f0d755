#include "readers.hpp"

namespace pinfold::tables {

namespace {

// Of a fault that names another address than the probe's, or another access.
constexpr Seen kNonsense{Outcome::unknown, std::nullopt, std::nullopt};

constexpr Seen fault(Outcome outcome) { return {outcome, std::nullopt, std::nullopt}; }

// Vector << 16 | error code: present, write, user, reserved.
Seen x86_cpu(::answer const& answer, ::probe const& probe)
{
    if (answer.code >> 16 == 13) return fault(Outcome::beyond);
    bool const write = (answer.code & 2) != 0;
    bool const user = (answer.code & 4) != 0;
    if (answer.code >> 16 != 14 || !user || answer.address != probe.iova ||
        write != (probe.kind == PROBE_WRITE))
        return kNonsense;
    if ((answer.code & 1) == 0) return fault(Outcome::hole);
    return fault((answer.code & 8) != 0 ? Outcome::reserved : Outcome::denied);
}

// A fault status of Arm's long descriptors. Arm counts levels downwards to 3.
Seen long_status(unsigned status)
{
    // Of the level above Arm's 0.
    constexpr unsigned kOnTop = 4;
    if (status == 0x29) return {Outcome::outside, std::nullopt, std::nullopt};
    if (status == 0x2b) return {Outcome::hole, kOnTop, std::nullopt};
    unsigned const level = 3 - (status & 3);
    switch (status >> 2) {
        case 0: return {Outcome::outside, std::nullopt, std::nullopt};  // address size
        case 1: return {Outcome::hole, level, std::nullopt};
        case 2: return {Outcome::denied, level, std::nullopt};  // access flag
        case 3: return {Outcome::denied, level, std::nullopt};
        case 4:
        case 5: return fault(Outcome::outside);  // external abort, of the access or of the walk
        default: return kNonsense;
    }
}

Seen arm64(::answer const& answer, ::probe const& probe, unsigned class_of_aborts)
{
    if (translates(probe)) {
        if (answer.outcome == ANSWER_FAULT) return long_status(answer.code >> 1 & 0x3f);
        Paddr const paddr{(answer.value & 0x000f'ffff'ffff'f000) | (probe.iova & 0xfff)};
        return {Outcome::reaches, std::nullopt, paddr};
    }
    bool const write = (answer.code & 0x40) != 0;
    if (answer.code >> 26 != class_of_aborts || write != (probe.kind == PROBE_WRITE))
        return kNonsense;
    Seen const seen = long_status(answer.code & 0x3f);
    bool const address_told = seen.outcome == Outcome::hole || seen.outcome == Outcome::denied;
    if (address_told && answer.address != probe.iova) return kNonsense;
    return seen;
}

Seen arm64_stage1(::answer const& answer, ::probe const& probe)
{
    return arm64(answer, probe, 0x25);
}

// HPFAR is not written by permission faults of every CPU; QEMU's writes it.
Seen arm64_stage2(::answer const& answer, ::probe const& probe)
{
    constexpr std::uint32_t kExternal = 0x10;
    if (!translates(probe) && answer.code >> 26 == 0x25 && (answer.code & 0x3f) == kExternal)
        return fault(Outcome::outside);
    return arm64(answer, probe, 0x24);
}

Seen riscv(::answer const& answer, ::probe const& probe)
{
    bool const write = probe.kind == PROBE_WRITE;
    if (answer.code == (write ? 7U : 5U)) return fault(Outcome::outside);
    if (answer.code != (write ? 15U : 13U) || answer.address != probe.iova) return kNonsense;
    return fault(Outcome::fault);
}

// DFSR of short descriptors: status in bits 10 and 3:0, WnR in 11.
Seen arm32(::answer const& answer, ::probe const& probe)
{
    bool const write = (answer.code >> 11 & 1) != 0;
    if (write != (probe.kind == PROBE_WRITE)) return kNonsense;
    unsigned const status = (answer.code >> 6 & 0x10) | (answer.code & 0xf);
    bool const address_told = status != 8 && status != 12 && status != 14;
    if (address_told && answer.address != probe.iova) return kNonsense;
    switch (status) {
        case 5: return {Outcome::hole, 1, std::nullopt};
        case 7: return {Outcome::hole, 0, std::nullopt};
        case 13: return {Outcome::denied, 1, std::nullopt};
        case 15: return {Outcome::denied, 0, std::nullopt};
        case 3: return {Outcome::denied, 1, std::nullopt};  // access flag
        case 6: return {Outcome::denied, 0, std::nullopt};
        case 8:
        case 12:
        case 14: return fault(Outcome::outside);
        default: return kNonsense;
    }
}

// The reason, and bit 16 for a read. An empty word is one that permits nothing.
Seen vtd(::answer const& answer, ::probe const& probe)
{
    bool const read = (answer.code >> 16 & 1) != 0;
    if (answer.address != (probe.iova & ~std::uint64_t{0xfff}) ||
        read != (probe.kind == PROBE_READ))
        return kNonsense;
    switch (answer.code & 0xff) {
        case 4: return fault(Outcome::beyond);
        case 5: return fault(read ? Outcome::unknown : Outcome::fault);
        case 6: return fault(read ? Outcome::fault : Outcome::unknown);
        case 7: return fault(Outcome::outside);
        case 12: return fault(Outcome::reserved);
        default: return kNonsense;
    }
}

// An IO_PAGE_FAULT event.
Seen amd(::answer const& answer, ::probe const&)
{
    return answer.code >> 28 == 2 ? fault(Outcome::fault) : kNonsense;
}

bool same_outcome(Outcome expected, Outcome seen)
{
    // Where one status stands for both.
    if (expected == Outcome::reserved && seen == Outcome::hole) return true;
    if (seen != Outcome::fault) return expected == seen;
    return expected == Outcome::hole || expected == Outcome::denied ||
           expected == Outcome::reserved;
}

}  // namespace

// QEMU's CPUs never look at the contiguous hint; each word of a run says enough.
constexpr std::uint64_t kContiguous = std::uint64_t{1} << 52;

// The CPUs set the mark of an access themselves, so a leaf without is no fault.
constexpr std::uint64_t kArmAccessed = std::uint64_t{1} << 10;
constexpr std::uint64_t kRiscvAccessed = std::uint64_t{1} << 6;
// QEMU's unit has no snoop control (11) and no device TLB (62, transient mapping), so both are
// reserved.
constexpr std::uint64_t kVtdReserved = std::uint64_t{1} << 11 | std::uint64_t{1} << 62;

Reader const kX86Cpu{.guest = "x86_cpu", .understand = x86_cpu, .nothing = 0};
Reader const kArm64Stage1{.guest = "arm64_stage1",
                          .understand = arm64_stage1,
                          .translates = true,
                          .unseen_in_leaf = kArmAccessed,
                          .promise_in_leaf = kContiguous,
                          .highest_breakable = 3};
Reader const kArm64Stage2{.guest = "arm64_stage2",
                          .understand = arm64_stage2,
                          .translates = true,
                          .needs_window = true,
                          .unseen_in_leaf = kArmAccessed,
                          .promise_in_leaf = kContiguous,
                          .highest_breakable = 3};
Reader const kRiscv{.guest = "riscv", .understand = riscv, .unseen_in_leaf = kRiscvAccessed};
Reader const kArm32{.guest = "arm32", .understand = arm32};
Reader const kVtd{.guest = "x86_vtd",
                  .understand = vtd,
                  .nothing = 0,
                  .needs_window = true,
                  .by_dma = true,
                  .insists_on_zero = kVtdReserved};
// QEMU's walk ends before it looks whether a leaf is present.
Reader const kAmd{.guest = "x86_amd",
                  .understand = amd,
                  .nothing = 0,
                  .reports_all = false,
                  .needs_window = true,
                  .by_dma = true,
                  .unseen_in_leaf = 1,
                  .follows_any_level = true};

bool agree(Expected const& expected, Seen const& seen)
{
    if (!same_outcome(expected.outcome, seen.outcome)) return false;
    if (seen.level && *seen.level != expected.level) return false;
    return !seen.paddr || expected.outcome != Outcome::reaches || *seen.paddr == expected.paddr;
}

}  // namespace pinfold::tables
