// Where BARs are mapped in the client: ranges of its memory in which accesses trap. A client may
// unmap or replace any part of a mapping, so ranges can be cut; what they hold goes with the last
// piece. Thread safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <shared_mutex>
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
    // REQUIRES: nothing of range.vaddr is in the map.
    void add(BarRange range);
    // Forgets whatever lies in `range`.
    void remove(VaddrRange range);
    // What lay in `from` lies at `to` now.
    void move(VaddrRange from, Vaddr to);

    bool overlaps(VaddrRange range) const;
    bool empty() const { return count_.load(std::memory_order_relaxed) == 0; }

    // Where an access to `vaddr` goes. nullopt: no BAR there.
    struct Place {
        uapi::FileId file;
        std::uint64_t offset;
        bool accessible;
        bool writable;
        host::DeviceMemory const* device;
        Paddr paddr;
    };
    std::optional<Place> find(Vaddr vaddr) const;

    // `range` cut into what lies in BARs and what does not, in address order.
    struct Part {
        VaddrRange range;
        std::optional<Place> place;  // of range.start; nullopt: no BAR
    };
    std::vector<Part> parts(VaddrRange range) const;

private:
    using Ranges = std::map<Vaddr, BarRange>;
    // Cuts `range` out and gives the pieces that lay in it. REQUIRES: mutex_ held for writing.
    Ranges cut_out(VaddrRange range);

    mutable std::shared_mutex mutex_;
    Ranges ranges_;  // by their start
    std::atomic<std::size_t> count_{0};
};

}  // namespace pinfold::preload
