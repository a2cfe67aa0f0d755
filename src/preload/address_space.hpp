// What lies behind the client's addresses while an instruction of it is carried out: BARs, and its
// own memory. An operand may lie in both.
//
// A device sees an access of 1, 2, 4 or 8 bytes as one, aligned or not. What a bus cannot carry at
// once (larger operands, and parts of one that end at a page's edge) reaches it as naturally
// aligned accesses of at most 8 bytes, lowest address first. Async-signal-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/address.hpp"
#include "base/result.hpp"

namespace pinfold::preload {

// A fault that the client gets, as the kernel would have reported it.
struct Fault {
    int signal;
    int code;
    Vaddr address;
};

class AddressSpace {
public:
    enum class Touch { read, write };

    virtual ~AddressSpace() = default;

    // How far what is at `vaddr` goes, `size` at most and 1 at least. EACCES: a BAR whose mapping
    // does not allow to be touched like this.
    struct Stretch {
        std::uint64_t size;
        bool device;
    };
    virtual Result<Stretch> stretch(Vaddr vaddr, std::uint64_t size, Touch touch) = 0;

    // One access to a device. REQUIRES: inside a stretch; a width of 1, 2, 4 or 8. EIO: the bus
    // refuses it.
    virtual Result<std::uint64_t> device_read(Vaddr vaddr, unsigned width) = 0;
    virtual Result<> device_write(Vaddr vaddr, unsigned width, std::uint64_t value) = 0;

    // Copies between the client and us. Nothing reaches a device unless all of the range may be
    // touched. What they return the client gets; nullopt: done.
    std::optional<Fault> load(Vaddr from, std::span<std::byte> into);
    std::optional<Fault> store(Vaddr to, std::span<std::byte const> from);
    // Whether every device in the range may be touched like this.
    std::optional<Fault> check(Vaddr start, std::uint64_t size, Touch touch);
    bool has_device(Vaddr start, std::uint64_t size);
};

}  // namespace pinfold::preload
