// The MSI-X table and its pending bits, where a client sees them: in the memory of a BAR (PCI Local
// Bus 3.0, 6.8.2). Of an entry the mask bit counts; its message is the host's business, and is kept
// as it is written.
//
// Not thread safe: its Function's lock is held.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace pinfold::pci {

class MsixTable {
public:
    static constexpr std::uint64_t kEntry = 16;  // bytes

    // Bytes of the pending bits of so many vectors.
    static constexpr std::uint64_t pending_bytes(unsigned vectors)
    {
        return std::uint64_t{8} * ((vectors + 63) / 64);
    }

    MsixTable() = default;  // no vectors
    // REQUIRES: both are as long as that many vectors need, and outlive the table.
    MsixTable(unsigned vectors, std::span<std::byte> entries, std::span<std::byte> pending);

    unsigned vectors() const { return vectors_; }
    // As after a reset: every entry empty and masked, nothing pending.
    void reset();
    void empty_entries();  // without the pending bits

    bool masked(unsigned vector) const;
    void mask(unsigned vector, bool masked);
    void mask_all();
    bool pending(unsigned vector) const;
    void set_pending(unsigned vector, bool pending);

private:
    std::byte& control(unsigned vector) const;

    unsigned vectors_ = 0;
    std::span<std::byte> entries_, pending_;
};

}  // namespace pinfold::pci
