// The registers of a virtio device on PCI, and what it remembers of its driver: the legacy
// interface in I/O BAR 0 (4.1.4.8) and the common configuration of version 1 in BAR 4 (4.1.4.3).
// Both show the same device. A write says what the device has to do about it.
//
// Values only: no DMA, no interrupts. Not thread safe.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "devices/virtio_net/split_queue.hpp"
#include "devices/virtio_net/wire.hpp"

namespace pinfold::devices::virtio_net {

class Registers {
public:
    // What the device can do, as each interface offers it.
    struct Offer {
        std::uint32_t legacy = 0;
        std::uint64_t modern = 0;
    };
    explicit Registers(Offer offer) : offer_{offer} { reset(); }

    // As after power-on, and after the driver has written a status of 0.
    void reset();

    struct Request {
        enum class Kind : std::uint8_t {
            none,
            reset,   // the driver gives the device up: reset() is still to be called
            start,   // DRIVER_OK: all queues that are enabled are to run
            queue,   // `queue` was enabled or taken away while the device runs
            notify,  // `queue` has new buffers
            config,  // a byte of the device configuration, at `offset`, was written
        };
        Kind kind = Kind::none;
        unsigned queue = 0;
        std::uint64_t offset = 0;
    };

    // The legacy interface. `config` is the device configuration. With MSI-X there are two vector
    // registers, and what follows moves up by their size. Reading the ISR register clears it.
    std::uint64_t legacy_read(std::uint64_t offset, unsigned size, bool msix,
                              std::span<std::byte const> config);
    Request legacy_write(std::uint64_t offset, unsigned size, std::uint64_t value, bool msix);

    // The common configuration. A write that is narrower than its register is dropped.
    static constexpr std::size_t kCommonSize = 0x38;
    void common_image(std::span<std::byte, kCommonSize> into) const;
    Request common_write(std::uint64_t offset, unsigned size, std::uint64_t value);

    // What driver and device agreed on.
    std::uint64_t features() const { return s_.features & (offer_.modern | offer_.legacy); }
    bool has(std::uint64_t bits) const { return (features() & bits) != 0; }
    bool running() const { return (s_.status & status::kDriverOk) != 0; }
    // Something that the driver did cannot be served; only a reset helps.
    void need_reset() { s_.status |= status::kNeedsReset; }
    bool needs_reset() const { return (s_.status & status::kNeedsReset) != 0; }

    bool enabled(unsigned queue) const { return s_.queues[queue].enabled; }
    QueueLayout layout(unsigned queue) const;
    std::uint16_t queue_vector(unsigned queue) const { return s_.queues[queue].vector; }
    std::uint16_t config_vector() const { return s_.config_vector; }

    std::uint8_t isr() const { return s_.isr; }
    void set_isr(std::uint8_t bits) { s_.isr |= bits; }
    std::uint8_t take_isr();

    // The device changed its own configuration.
    void next_generation() { ++generation_; }

private:
    struct Queue {
        std::uint16_t size = 0;
        std::uint16_t vector = kNoVector;
        bool enabled = false;
        std::uint64_t descriptors = 0, available = 0, used = 0;
        std::uint32_t page = 0;  // legacy: as the driver wrote it, in units of 4 KiB
    };

    // What the driver set, and lost by a reset.
    struct State {
        std::uint32_t device_select = 0, driver_select = 0;
        std::uint64_t features = 0;  // as the driver wrote them
        std::uint8_t status = 0, isr = 0;
        std::uint16_t config_vector = kNoVector, select = 0;
        std::array<Queue, kQueues> queues{};
    };

    Queue* selected() { return s_.select < kQueues ? &s_.queues[s_.select] : nullptr; }
    Queue const* selected() const { return s_.select < kQueues ? &s_.queues[s_.select] : nullptr; }
    Request set_status(std::uint8_t value);
    Request set_page(std::uint32_t page);
    Request enable();
    void set_size(std::uint16_t size);
    void set_driver_features(std::uint32_t value);
    void set_address(std::uint64_t offset, std::uint64_t value);
    std::uint64_t legacy_register(std::uint64_t offset, bool msix);
    std::uint32_t device_features() const;

    Offer offer_;
    State s_;
    std::uint8_t generation_ = 0;
};

// What a write of `queue` to a notification register asks for; nothing if there is no such queue.
Registers::Request notification(std::uint64_t queue);

}  // namespace pinfold::devices::virtio_net
