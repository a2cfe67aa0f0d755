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
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/function_ref.hpp"
#include "base/range.hpp"
#include "preload/abi.h"
#include "uapi/call.hpp"

namespace pinfold::preload {

// Keeps the device open while any piece of a mapping is there.
class BarHold {
public:
    BarHold(uapi::FileId file, std::function<void(uapi::FileId)> let_go)
        : file_{file}, let_go_{std::move(let_go)}
    {
    }
    ~BarHold() { let_go_(file_); }
    BarHold(BarHold const&) = delete;
    BarHold& operator=(BarHold const&) = delete;

    uapi::FileId file() const { return file_; }
    void rename(uapi::FileId file) { file_ = file; }

private:
    uapi::FileId file_;
    std::function<void(uapi::FileId)> let_go_;
};

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
    std::shared_ptr<BarHold> held;
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

    // In a child of fork(2): each file is another's now, whose device cannot be reached as memory.
    void rebind(FunctionRef<uapi::FileId(uapi::FileId)> file_of);
    // The file of each hold.
    std::vector<uapi::FileId> holds() const;
    // Around fork(2).
    void pause() { mutex_.lock(); }
    void resume() { mutex_.unlock(); }

    bool overlaps(VaddrRange range) const;
    // From the first to the last, of the map that changed last: there is one in a client.
    inline static constinit pinfold_span span{0, 0};
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
