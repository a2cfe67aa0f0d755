// A virtio network port in a machine, and a driver for it that tests can make do anything: queues
// in mapped memory, and both register interfaces.
#pragma once

#include <array>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "devices/virtio_net/model.hpp"
#include "devices/virtio_net/wire.hpp"
#include "pci/function.hpp"
#include "pci/support.hpp"

namespace pinfold::devices::virtio_net {

using host::kPage;
using Bytes = std::vector<std::uint8_t>;

// Memory of the client at one range of IOVAs.
class Arena {
public:
    static constexpr std::uint64_t kIova = 0x10'0000;
    static constexpr std::size_t kPages = 96;

    explicit Arena(pci::Surroundings& around) { around.map(kIova, memory_); }

    template <class T>
    T get(std::uint64_t iova) const
    {
        T value;
        std::memcpy(&value, at(iova), sizeof value);
        return value;
    }
    template <class T>
    void put(std::uint64_t iova, T value)
    {
        std::memcpy(at(iova), &value, sizeof value);
    }
    void put_bytes(std::uint64_t iova, Bytes const& bytes)
    {
        if (!bytes.empty()) std::memcpy(at(iova), bytes.data(), bytes.size());
    }
    Bytes get_bytes(std::uint64_t iova, std::size_t size) const
    {
        Bytes bytes(size);
        std::memcpy(bytes.data(), at(iova), size);
        return bytes;
    }
    std::byte* at(std::uint64_t iova) const { return memory_.page(0) + (iova - kIova); }
    // Whole pages that nothing else uses.
    std::uint64_t allocate(std::size_t pages = 1)
    {
        auto const start = next_;
        next_ += pages * kPage;
        EXPECT_LE(next_, kIova + kPages * kPage);
        return start;
    }

private:
    host::TestMapping memory_{kPages};
    std::uint64_t next_ = kIova;
};

// The driver's side of a split queue in the legacy layout, which suits both interfaces.
class DriverQueue {
public:
    struct Buffer {
        std::uint64_t iova;
        std::uint32_t size;
        bool write = false;
    };

    DriverQueue(Arena& arena, std::uint16_t size_in)
        : size{size_in}, descriptors{arena.allocate(3)}, arena_{arena}
    {
    }
    std::uint64_t available() const { return descriptors + 16ULL * size; }
    std::uint64_t used() const
    {
        return (available() + 2 * (3 + std::uint64_t{size}) + kPage - 1) & ~(kPage - 1);
    }

    void describe(std::uint16_t index, Descriptor const& one)
    {
        arena_.put(descriptors + index * std::uint64_t{16}, one);
    }
    // Lays the chain out from descriptor `at` on and makes it available.
    void add(std::uint16_t at, std::vector<Buffer> const& chain)
    {
        for (std::size_t i = 0; i < chain.size(); ++i) {
            bool const last = i + 1 == chain.size();
            auto const flags =
                (last ? 0 : kDescriptorNext) | (chain[i].write ? kDescriptorWrite : 0);
            describe(static_cast<std::uint16_t>(at + i),
                     {chain[i].iova, chain[i].size, static_cast<std::uint16_t>(flags),
                      static_cast<std::uint16_t>(last ? 0 : at + i + 1)});
        }
        offer(at);
    }
    void offer(std::uint16_t head)
    {
        arena_.put<std::uint16_t>(available() + 4 + 2 * (next_ % size), head);
        set_index(++next_);
    }
    void set_index(std::uint16_t index) { arena_.put<std::uint16_t>(available() + 2, index); }
    void set_flags(std::uint16_t flags) { arena_.put<std::uint16_t>(available(), flags); }
    void set_used_event(std::uint16_t event)
    {
        arena_.put<std::uint16_t>(available() + 4 + 2 * size, event);
    }
    std::uint16_t avail_event() const
    {
        return arena_.get<std::uint16_t>(used() + 4 + 8ULL * size);
    }
    // The device has been reset: both rings begin again.
    void restart()
    {
        next_ = seen_ = 0;
        set_index(0);
        arena_.put<std::uint16_t>(used() + 2, 0);
    }
    std::uint16_t used_index() const { return arena_.get<std::uint16_t>(used() + 2); }
    // What the device has used since the last look.
    std::vector<UsedElement> take_used()
    {
        std::vector<UsedElement> elements;
        for (; seen_ != used_index(); ++seen_)
            elements.push_back(arena_.get<UsedElement>(used() + 4 + 8ULL * (seen_ % size)));
        return elements;
    }

    std::uint16_t const size;
    std::uint64_t const descriptors;

private:
    Arena& arena_;
    std::uint16_t next_ = 0, seen_ = 0;
};

// A port at `bdf` and its registers.
class TestPort {
public:
    TestPort(pci::Surroundings& around, std::vector<pci::Setting> settings,
             std::string const& bdf = "0000:00:04.0")
        : endpoint_{around.endpoint().iommu(), bdf}
    {
        (void)endpoint_.attach(around.domain());
        function_ = pci::Function::create(endpoint_, around.memory(), model(),
                                          {.model = "virtio-net", .settings = settings, .bdf = bdf})
                        .value();
        function_->open();
        function_->config_write(4, 2, 7);
    }

    pci::Function& function() { return *function_; }
    std::vector<iommu::Fault> faults() { return endpoint_.faults().records(); }

    // The legacy interface.
    void out(std::uint64_t at, unsigned width, std::uint64_t value)
    {
        function_->bar_write(0, at, width, value).value();
    }
    std::uint64_t in(std::uint64_t at, unsigned width)
    {
        return function_->bar_read(0, at, width).value();
    }
    // The interface of version 1.
    void set(std::uint64_t at, unsigned width, std::uint64_t value)
    {
        function_->mmio_write(4, at, width, value).value();
    }
    std::uint64_t get(std::uint64_t at, unsigned width)
    {
        return function_->mmio_read(4, at, width).value();
    }

    void start_legacy(std::uint32_t features, std::span<DriverQueue* const> queues)
    {
        out(0x12, 1, 0);
        out(0x12, 1, 3);
        out(0x04, 4, features);
        for (unsigned i = 0; i < queues.size(); ++i) {
            out(0x0e, 2, i);
            if (queues[i] != nullptr) out(0x08, 4, queues[i]->descriptors >> 12);
        }
        out(0x12, 1, 7);
    }
    // Returns the status afterwards.
    std::uint64_t start_modern(std::uint64_t features, std::span<DriverQueue* const> queues)
    {
        set(0x14, 1, 0);
        set(0x14, 1, 3);
        for (unsigned half = 0; half < 2; ++half) {
            set(0x08, 4, half);
            set(0x0c, 4, features >> 32 * half & 0xffff'ffff);
        }
        set(0x14, 1, 3 | 8);
        for (unsigned i = 0; i < queues.size(); ++i) {
            set(0x16, 2, i);
            if (queues[i] == nullptr) continue;
            set(0x18, 2, queues[i]->size);
            set(0x20, 8, queues[i]->descriptors);
            set(0x28, 8, queues[i]->available());
            set(0x30, 8, queues[i]->used());
            set(0x1c, 2, 1);
        }
        set(0x14, 1, 3 | 8 | 4);
        return get(0x14, 1);
    }
    void notify_legacy(unsigned queue) { out(0x10, 2, queue); }
    void notify_modern(unsigned queue) { set(0x3000 + std::uint64_t{4} * queue, 2, queue); }

    // MSI-X vectors [0, n), each with an eventfd.
    void enable_msix(std::vector<pci::TestEvent> const& events)
    {
        std::vector<std::int32_t> descriptors;
        for (auto const& event : events) descriptors.push_back(event.fd());
        pci::bind_events(*function_, pci::IrqIndex::msix, descriptors);
    }
    void enable_intx(pci::TestEvent const& event)
    {
        pci::bind_event(*function_, pci::IrqIndex::intx, event);
    }

private:
    iommu::Endpoint endpoint_;
    std::unique_ptr<pci::Function> function_;
};

// Joins `one` to its peer where the machine has nothing but the two.
inline pci::Checked<void> meet(TestPort& one, pci::Function* other)
{
    return one.function().meet([&](std::string_view bdf) -> pci::Function* {
        if (bdf == one.function().name()) return &one.function();
        return other != nullptr && bdf == other->name() ? other : nullptr;
    });
}

// A frame to `to` of `size` bytes whose payload counts.
inline Bytes frame_to(Mac const& to, std::size_t size, std::uint8_t first = 0)
{
    Bytes frame(size);
    std::memcpy(frame.data(), to.data(), to.size());
    for (std::size_t i = 14; i < size; ++i) frame[i] = static_cast<std::uint8_t>(first + i);
    if (size >= 14) {
        frame[12] = 0x08;
        frame[13] = 0x06;
    }
    return frame;
}
inline constexpr Mac kEverybody{0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

}  // namespace pinfold::devices::virtio_net
