// The controller registers, 3.1: what they hold, and the page that a client which maps the BAR
// reads them from. What a write sets off is the Controller's business.
//
// Not thread safe, but for readers of the page: each dword there changes at once.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "devices/nvme/wire.hpp"

namespace pinfold::devices::nvme {

// Controller Configuration, 3.1.5.
struct Configuration {
    std::uint32_t raw;
    bool enabled() const { return (raw & 1) != 0; }
    unsigned command_set() const { return raw >> 4 & 7; }
    unsigned page_lg2() const { return kMinPageLg2 + (raw >> 7 & 0xf); }
    unsigned arbitration() const { return raw >> 11 & 7; }
    unsigned shutdown() const { return raw >> 14 & 3; }
    unsigned sq_entry_lg2() const { return raw >> 16 & 0xf; }
    unsigned cq_entry_lg2() const { return raw >> 20 & 0xf; }
};

// Controller Status, 3.1.6.
inline constexpr std::uint32_t kReady = 1, kFatal = 2, kShutdownComplete = 2U << 2;
inline constexpr std::uint32_t kShutdownMask = 3U << 2;

class Registers {
public:
    // As after power-on, and published from now on in `page`, the memory behind the BAR's first
    // page. REQUIRES: at least kRegistersEnd bytes.
    void reset(std::span<std::byte> page);

    std::uint32_t load(Register which) const;
    void store(Register which, std::uint32_t value);
    std::uint64_t load64(Register which) const;
    // The bytes as a client reads them; 0 beyond the registers.
    std::uint64_t read(std::uint64_t offset, unsigned size) const;

    Configuration configuration() const { return {load(Register::cc)}; }
    bool ready() const { return (load(Register::csts) & (kReady | kFatal)) == kReady; }

private:
    void store_at(std::uint64_t offset, std::uint32_t value);

    std::array<std::uint32_t, kRegistersEnd / 4> dwords_{};
    std::span<std::byte> page_;
};

}  // namespace pinfold::devices::nvme
