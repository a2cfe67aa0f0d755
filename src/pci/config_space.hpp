// The configuration space of a function as vfio-pci shows it to its user: header type 0, the
// capabilities PM, PCI Express, MSI, MSI-X, vendor's own and Advanced Error Reporting, and 4096 or
// 256 bytes. What the user writes is filtered field by field (rules V-19 to V-21): addresses are a
// shadow, COMMAND and the power state act, the MSI-X capability is read only.
//
// A conventional function (pci_express false) has neither PM nor PCI Express, and so nothing that
// resets it, as QEMU's edu.
//
// Not thread safe: its Function's lock is held.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "pci/device.hpp"

namespace pinfold::pci {

// Where BARs are in the machine's address space; a client sees them, nothing decodes them.
using BarAddresses = std::array<std::uint64_t, 6>;

class ConfigSpace {
public:
    ConfigSpace(Identity const& identity, BarAddresses const& addresses);

    std::size_t size() const { return bytes_.size(); }

    // REQUIRES: offset + into.size() <= size().
    void read(std::size_t offset, std::span<std::byte> into) const;

    // What a write asks of the function beyond the bytes themselves.
    enum class Request : std::uint8_t { none, reset };
    // REQUIRES: the width is 1, 2 or 4 and divides offset; inside size().
    Request write(std::size_t offset, unsigned width, std::uint32_t value);

    // Whether such a write ends what the device may do: bus mastership, D0, or by a reset. Thread
    // safe, of itself. REQUIRES: as for write().
    bool stops_device(std::size_t offset, unsigned width, std::uint32_t value) const;

    // As the function is found at an open (rule V-2): enabled, bus master off, BARs where they are.
    void power_on();

    // Once, before anything is read: this is function 0 of several in its slot.
    void lead_slot();
    // D0, as a reset finds the function.
    void wake();

    // COMMAND and the power state together: what the function answers to, and may do.
    bool memory_decoded() const;
    bool io_decoded() const;
    bool bus_master() const;
    bool intx_disabled() const;
    // Where SET_IRQS has set up MSI: whether the client has left its enable bit on.
    bool msi_enabled() const { return msi_vectors_ != 0 && msi_on_; }

    // How SET_IRQS shows: MSI-X control is the hardware's, MSI control the client's within the
    // vectors that there are. 0 is torn down.
    void show_msix(bool enabled);
    void show_msi(unsigned vectors);
    void show_intx(bool asserted);  // STATUS bit 3

private:
    template <class T>
    T get(std::size_t offset) const;
    template <class T>
    void put(std::size_t offset, T value);
    // Lets the client write the bits of `mask`.
    template <class T>
    void allow(std::size_t offset, T mask);

    void lay_out_header(Identity const& identity, BarAddresses const& addresses);
    void lay_out_bars(Identity const& identity, BarAddresses const& addresses);
    void lay_out_capabilities(Identity const& identity);
    std::size_t open_capability(std::uint8_t id, std::size_t size);
    void power_management();
    void express();
    void error_reporting();
    void msi(unsigned vectors);
    void msix(MsixLayout const& layout);
    void vendor(VendorCapability const& capability);
    void extended(ExtendedCapability const& capability);
    void limit_msi_control();
    bool awake() const;

    std::vector<std::uint8_t> bytes_;     // what a read gives
    std::vector<std::uint8_t> writable_;  // bits that a write replaces
    std::vector<std::uint8_t> initial_;   // bytes_ as power_on() makes them
    std::size_t last_capability_ = 0;     // 0: none yet
    std::size_t last_extended_ = 0;       // likewise
    std::size_t next_free_ = 0x40;
    std::size_t power_ = 0, express_ = 0, msi_ = 0, msix_ = 0;  // capabilities; 0: absent
    unsigned msi_vectors_ = 0;
    bool msi_on_ = false;
};

}  // namespace pinfold::pci
