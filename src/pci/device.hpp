// What a device model is: a description of its face to the bus, and five things that happen to it.
//
// Calls to a Device come one at a time (its Function holds a lock) on the thread that touched the
// register, so a model needs no lock of its own and starts no thread. It sees its DmaPort and its
// interrupts, and no more.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/function_ref.hpp"
#include "base/result.hpp"
#include "pci/dma_port.hpp"

namespace pinfold::pci {

// How a page of a BAR behaves when it is mapped into the client.
enum class PageKind : std::uint8_t {
    trapped,   // reads have side effects or depend on what was written: no access without a trap
    readable,  // reads have none: the page is memory that the model keeps current
               // (Bus::bar_memory), writes trap
};

struct Bar {
    enum class Kind : std::uint8_t { none, memory32, memory64, io };
    Kind kind = Kind::none;       // memory64 takes the next index too
    std::uint64_t size = 0;       // a power of two; memory BARs are at least 4 KiB
    std::vector<PageKind> pages;  // one for each 4 KiB; missing ones are `trapped`
    bool prefetchable = false;    // what a memory BAR says of itself; nothing here acts on it
    bool mappable = true;         // false: VFIO has only read(2) and write(2) for this memory BAR
};

struct MsixLayout {
    unsigned vectors = 0;  // 0: no MSI-X
    unsigned bar = 0;
    std::uint32_t table_offset = 0;
    std::uint32_t pba_offset = 0;
    std::uint8_t capability = 0;  // where in configuration space; 0: wherever there is room
};

// A capability that is only bytes: a vendor specific one (id 09), if nothing else is said. A client
// may write the bits that `writable` has.
struct VendorCapability {
    std::uint8_t at = 0;  // a multiple of 4, from 0x40 on
    // What follows id and link; of a vendor specific one, first the length of the whole.
    std::vector<std::uint8_t> bytes{};
    std::vector<std::uint8_t> writable{};  // as long as `bytes`, or shorter: the rest is read only
    std::uint8_t id = 0x09;
};

// An extended capability that is only bytes, read only; version 1.
struct ExtendedCapability {
    std::uint16_t at = 0;  // a multiple of 4, from 0x100 on, where the first of a function is
    std::uint16_t id = 0;
    std::vector<std::uint8_t> bytes{};  // what follows the header of 4
};

struct Identity {
    std::uint16_t vendor = 0, device = 0, subsystem_vendor = 0, subsystem = 0;
    std::uint8_t revision = 0;
    std::uint32_t class_code = 0;  // 24 bits, such as 0x010802
    unsigned interrupt_pin = 1;    // 0: none; 1 to 4: INTA to INTD
    unsigned msi_vectors = 0;      // 0: no MSI; else a power of two up to 32
    MsixLayout msix;
    bool pci_express = true;  // 4096 bytes of configuration space instead of 256
    std::array<Bar, 6> bars;
    bool error_reporting = false;  // Advanced Error Reporting; with pci_express only
    // They end the list of capabilities, in this order.
    std::vector<VendorCapability> vendor_capabilities{};
    std::vector<ExtendedCapability> extended_capabilities{};  // likewise; with pci_express only
    // The one of the former that is a window to the BARs (virtio 1.1, 4.1.4.7): at +4 the BAR, at
    // +8 and +12 offset and length of an access, at +16 its data. 0: none.
    std::uint8_t bar_window = 0;
};

// What a device may do: its side of the slot.
class Bus {
public:
    virtual ~Bus() = default;
    virtual DmaPort& dma() = 0;
    // Fires vector `vector` of MSI-X or MSI, whichever the client has set up; with neither, asserts
    // INTx until lower(). A vector that is not bound to anything is lost, as on the bus.
    virtual void raise(unsigned vector) = 0;
    virtual void lower() = 0;
    // True where the client has set up MSI or MSI-X, so that a model knows whether INTx applies.
    virtual bool message_signalled() const = 0;
    // The memory behind a BAR, as a client that maps it reads its `readable` pages. Good for the
    // Bus's life.
    virtual std::span<std::byte> bar_memory(unsigned bar) = 0;
    // Has Device::woken() called, on the thread that says so, once that thread is in no device any
    // more. The one call that another device may make: how it hands over what it made for this one.
    virtual void wake() = 0;
    // Has Device::alarm() called once, so long from now; 0: not at all. Instead of what was set
    // before. ENOMEM, EMFILE: there is no timer, which only the first one of a device meets.
    virtual Result<> set_alarm(std::chrono::milliseconds after) = 0;
};

class Device;
// The device at a BDF, such as "0000:00:04.0"; nullptr: there is none.
using FindDevice = FunctionRef<Device*(std::string_view)>;

// What can be wrong with a device is told in a sentence for the user.
template <class T>
using Checked = std::expected<T, std::string>;

class Device {
public:
    virtual ~Device() = default;
    virtual Identity const& identity() const = 0;
    // A register access: `size` is 1, 2, 4 or 8, inside the BAR, naturally aligned or not. The
    // MSI-X table and PBA never come here. A value has only the low size * 8 bits.
    virtual std::uint64_t bar_read(unsigned bar, std::uint64_t offset, unsigned size) = 0;
    virtual void bar_write(unsigned bar, std::uint64_t offset, unsigned size,
                           std::uint64_t value) = 0;
    // Function level reset. Everything as after power-on, except what the medium holds.
    virtual void reset() = 0;
    // After Bus::wake().
    virtual void woken() {}
    // After Bus::set_alarm(), on a thread of the function's and no earlier than asked for.
    virtual void alarm() {}
    // Once, when all devices of the machine are there and before anything else happens to them. A
    // device that another one belongs to keeps it here; none outlives the machine. The sentence
    // says what is wrong.
    virtual Checked<void> meet(FindDevice) { return {}; }
    // One line for the report, such as "1024 commands"; empty for none.
    virtual std::string summary() const { return {}; }
};

// ---- how models are found by name: the registry

// One `key=value` of a --device argument or a [[device]] table.
struct Setting {
    std::string key;
    std::string value;
};
// "yes", "on", "true", "1" or nothing at all; "no", "off", "false" or "0". nullopt: neither.
std::optional<bool> as_flag(std::string_view value);
struct DeviceSpec {
    std::string model;              // "nvme"
    std::vector<Setting> settings;  // without bdf, group and model
    std::string bdf{};              // where it is, such as "0000:00:04.0"
};

class Model {
public:
    virtual ~Model() = default;
    virtual std::string_view name() const = 0;
    virtual std::string_view summary() const = 0;  // one line for `pinfold devices`
    struct Option {
        std::string_view key, value, help;  // "disk", "FILE", "…"
        bool required = false;
    };
    virtual std::span<Option const> options() const = 0;
    virtual std::string_view example() const = 0;  // "nvme,bdf=0000:00:04.0,disk=disk.raw"
    // Checks everything that can be checked without starting: values, and files (present, right
    // kind, not busy).
    virtual Checked<void> check(DeviceSpec const& spec) const = 0;
    // Makes the device. The Bus outlives it, and may be used from the first reset() on, which is
    // power-on.
    virtual Checked<std::unique_ptr<Device>> create(DeviceSpec const& spec, Bus& bus) const = 0;
};

}  // namespace pinfold::pci
