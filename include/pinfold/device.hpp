// Write a device model in one header, one class and one line:
//
//     class Adder : public pinfold::device::Device { ... };
//     PINFOLD_DEVICE(Adder)
//
// docs/writing-devices.md goes through it, examples/checksum_device.cpp is a whole one. Build it as
// a shared object (-shared -fPIC, C++17 or later, nothing to link with) and run programs on it:
//
//     pinfold run --device ./adder.so,bdf=0000:00:05.0,key=value -- PROGRAM
#pragma once

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "pinfold/device_abi.h"

namespace pinfold::device {

enum class Page : unsigned char {
    trapped = 0,   // every access is a call to bar_read() or bar_write()
    readable = 1,  // reads are reads of Bus::bar_memory(); writes are calls
};

struct Bar {
    enum class Kind { none, memory32, memory64, io };
    Kind kind = Kind::none;
    std::uint64_t size = 0;   // a power of two; memory is at least 4096 bytes
    std::vector<Page> pages;  // one for each 4 KiB; missing ones are trapped
    bool prefetchable = false;
};

struct Identity {
    std::uint16_t vendor = 0, device = 0, subsystem_vendor = 0, subsystem = 0;
    std::uint32_t class_code = 0xff0000;
    std::uint8_t revision = 0;
    bool interrupt_pin = true;
    bool pci_express = true;
    std::uint8_t msi_vectors = 0;
    struct {
        std::uint16_t vectors = 0, bar = 0;
        std::uint32_t table = 0, pending = 0;  // offsets in the BAR
    } msix;
    std::array<Bar, 6> bars;
};

// What a device may do. Not to be used in its constructor: its life begins with reset().
class Bus {
public:
    explicit Bus(pinfold_bus const& bus) : bus_{bus} {}
    // The client's memory, through the IOMMU. False: some byte could not be reached, or the device
    // is about to be stopped (reset, bus mastership off, close).
    bool dma_read(std::uint64_t iova, void* into, std::size_t size) const
    {
        return bus_.dma_read(bus_.host, iova, into, size) == 0;
    }
    bool dma_write(std::uint64_t iova, void const* from, std::size_t size) const
    {
        return bus_.dma_write(bus_.host, iova, from, size) == 0;
    }
    // A message where the client has set up MSI-X or MSI; else asserts INTx until lower().
    void raise(unsigned vector) const { bus_.raise(bus_.host, vector); }
    void lower() const { bus_.lower(bus_.host); }
    bool message_signalled() const { return bus_.message_signalled(bus_.host) != 0; }
    unsigned char* bar_memory(unsigned bar) const
    {
        return static_cast<unsigned char*>(bus_.bar_memory(bus_.host, bar));
    }

private:
    pinfold_bus bus_;
};

// What the user said, as key=value. Keys that the model does not have never get here.
class Settings {
public:
    Settings(pinfold_setting const* settings, std::size_t count)
        : settings_{settings, settings + count}
    {
    }
    bool has(std::string_view key) const { return find(key) != nullptr; }
    std::string text(std::string_view key, std::string_view otherwise) const
    {
        auto const* const value = find(key);
        return std::string{value != nullptr ? std::string_view{value} : otherwise};
    }
    // Decimal, or hexadecimal behind 0x. Throws where it is no number from `first` to `last`.
    std::uint64_t number(std::string_view key, std::uint64_t otherwise, std::uint64_t first = 0,
                         std::uint64_t last = ~std::uint64_t{0}) const
    {
        auto const* const value = find(key);
        if (value == nullptr) return otherwise;
        std::string const text{value};
        bool const hexadecimal = text.size() > 2 && text[0] == '0' && text[1] == 'x';
        auto const digits = hexadecimal ? text.substr(2) : text;
        auto const* const allowed = hexadecimal ? "0123456789abcdefABCDEF" : "0123456789";
        char* end = nullptr;
        auto const parsed = std::strtoull(digits.c_str(), &end, hexadecimal ? 16 : 10);
        bool const good = !digits.empty() &&
                          digits.find_first_not_of(allowed) == std::string::npos &&
                          digits.size() <= 19 && parsed >= first && parsed <= last;
        if (!good)
            throw std::invalid_argument{std::string{key} + "=" + text + ": say a number from " +
                                        std::to_string(first) + " to " + std::to_string(last)};
        return parsed;
    }

private:
    char const* find(std::string_view key) const
    {
        for (auto const& one : settings_)
            if (one.key == key) return one.value;
        return nullptr;
    }
    std::vector<pinfold_setting> settings_;
};

// A key that a model has, for `pinfold devices` and for what is refused.
struct Option {
    char const *key, *value, *help;  // "size", "BYTES", "what it is"
    bool required = false;
};

class Device {
public:
    virtual ~Device() = default;
    virtual Identity identity() const = 0;
    // A register access: `size` is 1, 2, 4 or 8, inside the BAR, aligned or not. Calls come one at
    // a time, on the thread that touched the register. The MSI-X table never comes here.
    virtual std::uint64_t bar_read(unsigned bar, std::uint64_t offset, unsigned size) = 0;
    virtual void bar_write(unsigned bar, std::uint64_t offset, unsigned size,
                           std::uint64_t value) = 0;
    // Power-on, and function level reset.
    virtual void reset() = 0;
    virtual std::string summary() const { return {}; }
};

// ---- what PINFOLD_DEVICE makes of a class

namespace detail {

// Keeps what a pinfold_identity points to.
struct Instance {
    std::unique_ptr<Device> device;
    Identity identity;
};

inline pinfold_identity plain(Identity const& from)
{
    pinfold_identity to{};
    to.vendor = from.vendor;
    to.device = from.device;
    to.subsystem_vendor = from.subsystem_vendor;
    to.subsystem = from.subsystem;
    to.class_code = from.class_code;
    to.revision = from.revision;
    to.interrupt_pin = from.interrupt_pin ? 1 : 0;
    to.pci_express = from.pci_express ? 1 : 0;
    to.msi_vectors = from.msi_vectors;
    to.msix_vectors = from.msix.vectors;
    to.msix_bar = from.msix.bar;
    to.msix_table = from.msix.table;
    to.msix_pending = from.msix.pending;
    for (std::size_t i = 0; i < from.bars.size(); ++i) {
        auto const& bar = from.bars[i];
        to.bars[i] = {static_cast<int>(bar.kind), bar.prefetchable ? 1 : 0, bar.size,
                      reinterpret_cast<unsigned char const*>(bar.pages.data()), bar.pages.size()};
    }
    return to;
}

inline Instance& instance(void* self) { return *static_cast<Instance*>(self); }

// No exception leaves the object. One that a register access throws ends the process, as it would
// anywhere else.
template <class Model>
int create(pinfold_setting const* settings, std::size_t count, pinfold_bus const* bus,
           pinfold_device* device, char* error, std::size_t error_size)
{
    try {
        auto made = std::make_unique<Instance>();
        made->device = std::make_unique<Model>(Bus{*bus}, Settings{settings, count});
        made->identity = made->device->identity();
        device->identity = plain(made->identity);
        device->bar_read = [](void* self, unsigned bar, std::uint64_t offset,
                              unsigned size) noexcept {
            return instance(self).device->bar_read(bar, offset, size);
        };
        device->bar_write = [](void* self, unsigned bar, std::uint64_t offset, unsigned size,
                               std::uint64_t value) noexcept {
            instance(self).device->bar_write(bar, offset, size, value);
        };
        device->reset = [](void* self) noexcept { instance(self).device->reset(); };
        device->summary = [](void* self, char* into, std::size_t size) noexcept {
            std::snprintf(into, size, "%s", instance(self).device->summary().c_str());
        };
        device->destroy = [](void* self) noexcept { delete &instance(self); };
        device->self = made.release();
        return 0;
    } catch (std::exception const& why) {
        std::snprintf(error, error_size, "%s", why.what());
    } catch (...) {
        std::snprintf(error, error_size, "it cannot be made");
    }
    return -1;
}

template <class Model>
pinfold_model const* model()
{
    static std::vector<pinfold_option> const options = [] {
        std::vector<pinfold_option> all;
        for (Option const& one : Model::options())
            all.push_back({one.key, one.value, one.help, one.required ? 1 : 0});
        return all;
    }();
    static pinfold_model const the_model{PINFOLD_DEVICE_ABI, sizeof(pinfold_model), Model::kName,
                                         Model::kSummary,    options.data(),        options.size(),
                                         create<Model>};
    return &the_model;
}

}  // namespace detail

}  // namespace pinfold::device

// The model of a shared object, once in it. `Model` is a Device with
//   - a constructor (pinfold::device::Bus, pinfold::device::Settings const&), which throws a
//     std::exception with a sentence where a setting is wrong;
//   - static constexpr char const* kName and kSummary;
//   - static std::vector<pinfold::device::Option> options().
#define PINFOLD_DEVICE(Model)                                                                     \
    extern "C" __attribute__((visibility("default"))) pinfold_model const* pinfold_device_model() \
    {                                                                                             \
        return ::pinfold::device::detail::model<Model>();                                         \
    }
