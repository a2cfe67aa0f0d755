// What crosses the bus between a host and an NVM Express controller: queue entries, register
// offsets, opcodes. NVM Express 1.4; section numbers in this folder are that document's. All of it
// is little-endian.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace pinfold::devices::nvme {

static_assert(std::endian::native == std::endian::little);

// A submission queue entry, 4.2.
struct Command {
    std::uint8_t opcode;
    std::uint8_t flags;  // bits 1:0 FUSE, bits 7:6 PSDT: 0 is PRPs, 1 and 2 are SGLs
    std::uint16_t id;
    std::uint32_t nsid;
    std::uint32_t cdw2, cdw3;
    std::uint64_t metadata;
    std::uint64_t prp1, prp2;
    std::uint32_t cdw10, cdw11, cdw12, cdw13, cdw14, cdw15;
};
static_assert(sizeof(Command) == 64);

// A completion queue entry, 4.6.
struct Completion {
    std::uint32_t result;
    std::uint32_t reserved;
    std::uint16_t sq_head;
    std::uint16_t sq_id;
    std::uint16_t command_id;
    std::uint16_t status_and_phase;
};
static_assert(sizeof(Completion) == 16);

// Controller registers, 3.1.
enum class Register : std::uint32_t {
    cap = 0x00,
    vs = 0x08,
    intms = 0x0c,
    intmc = 0x10,
    cc = 0x14,
    csts = 0x1c,
    nssr = 0x20,
    aqa = 0x24,
    asq = 0x28,
    asq_high = 0x2c,
    acq = 0x30,
    acq_high = 0x34,
};
inline constexpr std::uint64_t kRegistersEnd = 0x40;

// BAR 0: registers, doorbells, MSI-X table and pending bits, a page each.
inline constexpr std::uint64_t kBarSize = 0x4000;
inline constexpr std::uint64_t kDoorbells = 0x1000;
inline constexpr std::uint32_t kMsixTable = 0x2000;
inline constexpr std::uint32_t kMsixPending = 0x3000;

inline constexpr std::uint32_t kVersion = 0x0001'0400;
inline constexpr unsigned kIoQueues = 64;             // I/O submission and completion queues each
inline constexpr unsigned kVectors = kIoQueues + 1;   // one for each completion queue
inline constexpr std::uint32_t kMaxQueueSize = 4096;  // entries: CAP.MQES + 1
inline constexpr unsigned kMdts = 9;                  // 2^9 pages of 4 KiB
inline constexpr std::uint64_t kMaxTransfer = std::uint64_t{4096} << kMdts;
inline constexpr unsigned kMinPageLg2 = 12, kMaxPageLg2 = 16;  // CAP.MPSMIN, MPSMAX

enum class AdminOpcode : std::uint8_t {
    delete_sq = 0x00,
    create_sq = 0x01,
    get_log_page = 0x02,
    delete_cq = 0x04,
    create_cq = 0x05,
    identify = 0x06,
    abort = 0x08,
    set_features = 0x09,
    get_features = 0x0a,
    async_event_request = 0x0c,
    keep_alive = 0x18,
    doorbell_buffer_config = 0x7c,
    format_nvm = 0x80,
};

enum class IoOpcode : std::uint8_t {
    flush = 0x00,
    write = 0x01,
    read = 0x02,
    compare = 0x05,
    write_zeroes = 0x08,
    dataset_management = 0x09,
};

// LBA formats: blocks of 2^9 and 2^12 bytes, without metadata.
inline constexpr std::array<unsigned, 2> kFormats{9, 12};

inline constexpr std::uint32_t kBroadcastNsid = 0xffff'ffff;

constexpr std::uint32_t low16(std::uint32_t dword) { return dword & 0xffffU; }
constexpr std::uint32_t high16(std::uint32_t dword) { return dword >> 16; }

}  // namespace pinfold::devices::nvme
