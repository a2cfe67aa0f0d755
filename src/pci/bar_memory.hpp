// The memory behind one memory BAR: an unnamed file that a client maps, and the engine's own
// mapping of it, in which the device keeps its `readable` pages current. It starts as zeros.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.hpp"
#include "base/unique_fd.hpp"

namespace pinfold::pci {

class BarMemory {
public:
    BarMemory() = default;  // empty: no such memory
    // ENOMEM, EMFILE: `bytes` (of whole pages) cannot be had.
    static Result<BarMemory> create(std::uint64_t bytes);
    BarMemory(BarMemory&& other) noexcept;
    BarMemory& operator=(BarMemory&& other) noexcept;
    ~BarMemory();

    int descriptor() const { return file_.get(); }
    std::span<std::byte> bytes() const { return bytes_; }

private:
    UniqueFd file_;
    std::span<std::byte> bytes_;
};

}  // namespace pinfold::pci
