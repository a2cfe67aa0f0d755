// Where BARs are mapped in the client: ranges of its memory in which accesses trap. A client may
// unmap or replace any part of a mapping, so ranges can be cut; what they hold goes with the last
// piece.
//
// Every trapped access asks, so asking takes no lock: the ranges are a sorted array that is
// replaced as a whole when one changes. Thread safe; what asks is async-signal-safe, what changes
// is not to be called in a ReadSection.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/range.hpp"
#include "uapi/call.hpp"

namespace pinfold::preload {

struct BarRange {
    VaddrRange vaddr;
    uapi::FileId file;
    std::uint64_t offset;  // of vaddr.start in the device file
    bool accessible;       // the client asked for PROT_READ or PROT_WRITE, which implies reading
    bool writable;
    // The device's memory as other devices reach it, and the paddr of vaddr.start. The device
    // outlives the map.
    host::DeviceMemory const* device;
    Paddr paddr;
    std::shared_ptr<void> held;  // keeps the device open while any piece is mapped
};

class BarMap {
public:
    BarMap() = default;
    ~BarMap();
    BarMap(BarMap const&) = delete;
    BarMap& operator=(BarMap const&) = delete;

    // REQUIRES: nothing of range.vaddr is in the map.
    void add(BarRange range);
    // Forgets whatever lies in `range`.
    void remove(VaddrRange range);
    // What lay in `from` lies at `to` now.
    void move(VaddrRange from, Vaddr to);

    bool overlaps(VaddrRange range) const;
    bool empty() const { return ranges_.load(std::memory_order_relaxed) == nullptr; }

    // Where an access to `vaddr` goes. nullopt: no BAR there.
    struct Place {
        uapi::FileId file;
        std::uint64_t offset;
        bool accessible;
        bool writable;
        host::DeviceMemory const* device;
        Paddr paddr;
        std::uint64_t left;  // bytes from there to the end of the mapping's piece
    };
    std::optional<Place> find(Vaddr vaddr) const;

    // `range` cut into what lies in BARs and what does not, in address order.
    struct Part {
        VaddrRange range;
        std::optional<Place> place;  // of range.start; nullopt: no BAR
    };
    std::vector<Part> parts(VaddrRange range) const;

private:
    using Ranges = std::vector<BarRange>;  // by their start
    // The ranges without what lies in `range`; that goes to `cut`.
    Ranges without(VaddrRange range, Ranges& cut) const;
    // REQUIRES: mutex_ held. Nobody looks at the old ranges any more when it returns.
    void replace(Ranges ranges);
    Ranges const* current() const { return ranges_.load(std::memory_order_acquire); }

    std::mutex mutex_;  // of who changes them
    std::atomic<Ranges const*> ranges_{nullptr};
};

}  // namespace pinfold::preload
