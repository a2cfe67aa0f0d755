// The numbers of a run's report. One Counters lies in a file of the state directory that the engine
// maps shared; the launcher reads it when the client is gone, however it went.
//
// Each field is an 8-byte word that is stored whole, so a reader at any moment sees numbers that
// were true, if not all at the same instant. Written by Machine::publish(), except where said.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <type_traits>
#include <vector>

#include "machine/description.hpp"

namespace pinfold::machine {

struct Counters {
    static constexpr std::uint64_t kMagic = 0x3230'646c'6f66'6e70;  // "pnfold02"
    static constexpr std::uint64_t kUnlimited = ~std::uint64_t{0};
    static constexpr std::size_t kFaults = 8;
    static constexpr std::size_t kDevices = 32;
    static constexpr std::size_t kExposures = 8;

    std::uint64_t magic = kMagic;
    std::uint64_t size = 0;  // sizeof(Counters) of the engine that wrote it
    std::uint64_t pid = 0;   // the process that the engine lives in

    // DMA mappings of all containers, in calls that succeeded.
    std::uint64_t maps = 0, unmaps = 0;
    std::uint64_t mapped_bytes = 0;  // by all maps together
    std::uint64_t live_bytes = 0, peak_live_bytes = 0;
    std::uint64_t live_mappings = 0, peak_live_mappings = 0;

    // Host pages.
    std::uint64_t page_size = 0;
    std::uint64_t pinned_pages = 0, peak_pinned_pages = 0, moved_pages = 0;
    std::uint64_t charged_pages = 0, peak_charged_pages = 0;
    std::uint64_t memlock_limit = 0;   // bytes; kUnlimited
    std::uint64_t memlock_needed = 0;  // bytes: the least limit that would have done
    std::uint64_t memlock_binds = 0;   // 0: CAP_IPC_LOCK, the limit does not matter

    // leaves[n]: the most leaves of 2^n bytes that were seen at one time; looked at when more is
    // mapped than ever before and something is about to go, and at each publish().
    std::array<std::uint64_t, 64> leaves{};

    std::uint64_t dma_reads = 0, dma_read_bytes = 0, dma_writes = 0, dma_written_bytes = 0;
    std::uint64_t interrupts = 0;
    std::uint64_t mmio_traps = 0;  // counted by the preloaded engine itself: see add()

    struct Fault {
        std::uint64_t iova = 0;
        std::uint64_t access = 0;  // pinfold::Access
        std::uint64_t reason = 0;  // iommu::FaultReason
        std::uint64_t device = 0;  // index in `devices`
    };
    std::uint64_t faults = 0;         // all that happened
    std::uint64_t fault_records = 0;  // how many of `first_faults` are filled
    std::array<Fault, kFaults> first_faults{};

    // What mappings of parts of host pages kept from devices (docs/subpage.md).
    struct Exposure {
        std::uint64_t start = 0, last = 0;  // the memory that was mapped
        std::uint64_t before = 0, behind = 0;
    };
    std::uint64_t exposure_mappings = 0, exposure_bytes = 0;
    std::uint64_t exposure_records = 0;  // how many of `first_exposures` are filled
    std::array<Exposure, kExposures> first_exposures{};
    // 1: the IOMMU's smallest page is larger than the host's, and no Linux was ever compared with.
    std::uint64_t unverified = 0;

    struct Device {
        std::array<char, 16> bdf{};
        std::array<char, 16> model{};
        std::array<char, 512> summary{};  // Device::summary(), as much of it as has room
        std::uint64_t dma_bytes = 0, interrupts = 0, faults = 0;
    };
    std::uint64_t device_count = 0;  // of the machine; the first kDevices have a line
    std::array<Device, kDevices> devices{};
};
static_assert(std::is_trivially_copyable_v<Counters>);

// Adds to a field that its owner counts itself. Any thread.
inline void add(std::uint64_t& field, std::uint64_t count)
{
    std::atomic_ref<std::uint64_t>{field}.fetch_add(count, std::memory_order_relaxed);
}

// A new file in <state>/counters, mapped shared for as long as the pointer lives (and by every
// child that forks; a child that gets an engine of its own makes its own). nullptr: it cannot be
// made, and the run goes on without.
struct CountersUnmap {
    void operator()(Counters* counters) const;
};
using SharedCounters = std::unique_ptr<Counters, CountersUnmap>;
SharedCounters create_counters(std::filesystem::path const& state);

// All that engines left behind in <state>/counters; files of another version are passed over.
std::vector<Counters> read_counters(std::filesystem::path const& state);

}  // namespace pinfold::machine
