// The memory of a device as other devices reach it, and where it lies among the paddrs: outside of
// all frames (rules M-14 and M-15). Thread safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <shared_mutex>
#include <span>

#include "base/page_size.hpp"
#include "base/range.hpp"
#include "base/result.hpp"

namespace pinfold::host {

class DeviceMemory {
public:
    virtual ~DeviceMemory() = default;
    // EIO: it does not answer (not decoded, or busy for too long). REQUIRES: inside the memory; not
    // inside a ReadSection, for a device is set to work.
    virtual Result<> read(std::uint64_t offset, std::span<std::byte> into) = 0;
    virtual Result<> write(std::uint64_t offset, std::span<std::byte const> from) = 0;
    // Whether it would answer.
    virtual bool decoded() const = 0;
};

class DeviceWindows {
public:
    struct Place {
        DeviceMemory* device;
        std::uint64_t offset;
        std::uint64_t size;  // from there to the end of the window
    };

    // `room`: the paddrs that there are for devices.
    explicit DeviceWindows(PaddrRange room) : room_{room}, next_{room.start} {}

    // Paddrs for `size` bytes, aligned to a power of two that holds them. ENOMEM: none are left.
    // REQUIRES: the device stays until remove().
    Result<Paddr> add(DeviceMemory& device, std::uint64_t size);
    void remove(Paddr start);
    std::optional<Place> find(Paddr paddr) const;

private:
    struct Window {
        DeviceMemory* device;
        std::uint64_t size;
    };

    PaddrRange const room_;
    mutable std::shared_mutex mutex_;  // never held while a device or a reader is waited for
    Paddr next_;
    std::map<Paddr, Window> windows_;  // by their starts
};

}  // namespace pinfold::host
