#include "devices/virtio_net/registers.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

namespace pinfold::devices::virtio_net {

namespace {

using Request = Registers::Request;

// The legacy interface, 4.1.4.8.
enum Legacy : std::uint64_t {
    kDeviceFeatures = 0x00,
    kDriverFeatures = 0x04,
    kQueuePage = 0x08,
    kQueueSize = 0x0c,
    kQueueSelect = 0x0e,
    kQueueNotify = 0x10,
    kStatus = 0x12,
    kIsr = 0x13,
    kConfigVector = 0x14,  // the two vectors are there with MSI-X only
    kQueueVector = 0x16,
};
constexpr std::uint64_t kLegacyPage = 4096;

std::uint64_t legacy_config(bool msix) { return msix ? 0x18 : 0x14; }

// The common configuration, 4.1.4.3: as it lies in memory.
struct CommonConfig {
    std::uint32_t device_select, device_features, driver_select, driver_features;
    std::uint16_t config_vector, queues;
    std::uint8_t status, generation;
    std::uint16_t select, size, vector, enable, notify_offset;
    std::uint64_t descriptors, available, used;
};
static_assert(sizeof(CommonConfig) == Registers::kCommonSize);

// Bytes that a write must have to be one to the register at `offset`.
unsigned common_width(std::uint64_t offset)
{
    switch (offset) {
        case offsetof(CommonConfig, status): return 1;
        case offsetof(CommonConfig, config_vector):
        case offsetof(CommonConfig, select):
        case offsetof(CommonConfig, size):
        case offsetof(CommonConfig, vector):
        case offsetof(CommonConfig, enable): return 2;
        default: return 4;
    }
}

std::uint16_t vector_of(std::uint64_t value)
{
    return (value & 0xffff) < kVectors ? static_cast<std::uint16_t>(value) : kNoVector;
}

// One half of an address of 64 bits.
void set_half(std::uint64_t& whole, bool high, std::uint64_t half)
{
    std::uint64_t const low_mask = 0xffff'ffff;
    half &= low_mask;
    whole = high ? (whole & low_mask) | half << 32 : (whole & ~low_mask) | half;
}

std::uint64_t align_up(std::uint64_t value, std::uint64_t to)
{
    return (value + to - 1) & ~(to - 1);
}

}  // namespace

Request notification(std::uint64_t queue)
{
    if (queue >= kQueues) return {};
    return {Request::Kind::notify, static_cast<unsigned>(queue), 0};
}

void Registers::reset()
{
    s_ = State{};
    for (unsigned i = 0; i < kQueues; ++i) s_.queues[i].size = kQueueSizes[i];
}

QueueLayout Registers::layout(unsigned queue) const
{
    Queue const& one = s_.queues[queue];
    return {one.size, Iova{one.descriptors}, Iova{one.available}, Iova{one.used}};
}

std::uint8_t Registers::take_isr() { return std::exchange(s_.isr, std::uint8_t{0}); }

// Bits are only ever added, until the driver writes 0. FEATURES_OK stays off where the driver takes
// what was not offered, or does not take version 1 (2.1, 6.1).
Request Registers::set_status(std::uint8_t value)
{
    if (value == 0) return {Request::Kind::reset, 0, 0};
    bool const agreed =
        (s_.features & ~offer_.modern) == 0 && (s_.features & feature::kVersion1) != 0;
    if (!agreed) value &= static_cast<std::uint8_t>(~status::kFeaturesOk);
    bool const was_running = running();
    s_.status |= value;
    return {!was_running && running() ? Request::Kind::start : Request::Kind::none, 0, 0};
}

std::uint32_t Registers::device_features() const
{
    if (s_.device_select > 1) return 0;
    return static_cast<std::uint32_t>(offer_.modern >> 32 * s_.device_select);
}

void Registers::set_driver_features(std::uint32_t value)
{
    bool const settled = (s_.status & (status::kFeaturesOk | status::kDriverOk)) != 0;
    if (!settled && s_.driver_select <= 1) set_half(s_.features, s_.driver_select == 1, value);
}

// Queues of this device can be made smaller, not larger, and have a power of two of entries.
void Registers::set_size(std::uint16_t size)
{
    Queue* const queue = selected();
    if (queue == nullptr || queue->enabled) return;
    if (std::has_single_bit(size) && size <= kQueueSizes[s_.select]) queue->size = size;
}

Request Registers::enable()
{
    Queue* const queue = selected();
    if (queue == nullptr || queue->enabled) return {};
    queue->enabled = true;
    return {running() ? Request::Kind::queue : Request::Kind::none, s_.select, 0};
}

// 2.6.2: the rings lie one behind the other from one page on; the used ring begins a page.
Request Registers::set_page(std::uint32_t page)
{
    Queue* const queue = selected();
    if (queue == nullptr) return {};
    std::uint64_t const size = queue->size;
    queue->page = page;
    queue->enabled = page != 0;
    queue->descriptors = page * kLegacyPage;
    queue->available = queue->descriptors + size * sizeof(Descriptor);
    queue->used = align_up(queue->available + 2 * (3 + size), kLegacyPage);
    return {running() ? Request::Kind::queue : Request::Kind::none, s_.select, 0};
}

// The register that begins at `offset`; its bytes are then cut to what is read.
std::uint64_t Registers::legacy_register(std::uint64_t offset, bool msix)
{
    Queue const* const queue = selected();
    switch (offset) {
        case kDeviceFeatures: return offer_.legacy;
        case kDriverFeatures: return s_.features & 0xffff'ffff;
        case kQueuePage: return queue != nullptr ? queue->page : 0;
        case kQueueSize: return queue != nullptr ? queue->size : 0;
        case kQueueSelect: return s_.select;
        case kStatus: return s_.status;
        case kIsr: return take_isr();
        case kConfigVector: return msix ? s_.config_vector : ~std::uint64_t{0};
        case kQueueVector: return msix && queue != nullptr ? queue->vector : kNoVector;
        default: return ~std::uint64_t{0};
    }
}

std::uint64_t Registers::legacy_read(std::uint64_t offset, unsigned size, bool msix,
                                     std::span<std::byte const> config)
{
    std::uint64_t const start = legacy_config(msix);
    if (offset < start) return legacy_register(offset, msix);
    std::uint64_t value = ~std::uint64_t{0};
    std::uint64_t const at = offset - start;
    if (at < config.size())
        std::memcpy(&value, config.data() + at, std::min<std::size_t>(size, config.size() - at));
    return value;
}

Request Registers::legacy_write(std::uint64_t offset, unsigned size, std::uint64_t value, bool msix)
{
    if (offset >= legacy_config(msix))
        return {Request::Kind::config, 0, offset - legacy_config(msix)};
    switch (offset) {
        case kDriverFeatures:
            if (size >= 4 && !running()) s_.features = value & offer_.legacy;
            return {};
        case kQueuePage: return size >= 4 ? set_page(static_cast<std::uint32_t>(value)) : Request{};
        case kQueueSelect: s_.select = static_cast<std::uint16_t>(value); return {};
        case kQueueNotify: return notification(value & 0xffff);
        case kStatus: return set_status(static_cast<std::uint8_t>(value));
        case kConfigVector: s_.config_vector = vector_of(value); return {};
        case kQueueVector:
            if (Queue* const queue = selected()) queue->vector = vector_of(value);
            return {};
        default: return {};
    }
}

void Registers::common_image(std::span<std::byte, kCommonSize> into) const
{
    CommonConfig image{.device_select = s_.device_select,
                       .device_features = device_features(),
                       .driver_select = s_.driver_select,
                       .driver_features = 0,
                       .config_vector = s_.config_vector,
                       .queues = kQueues,
                       .status = s_.status,
                       .generation = generation_,
                       .select = s_.select,
                       .size = 0,
                       .vector = kNoVector,
                       .enable = 0,
                       .notify_offset = 0,
                       .descriptors = 0,
                       .available = 0,
                       .used = 0};
    if (s_.driver_select <= 1)
        image.driver_features = static_cast<std::uint32_t>(s_.features >> 32 * s_.driver_select);
    if (Queue const* const queue = selected()) {
        image.size = queue->size;
        image.vector = queue->vector;
        image.enable = queue->enabled ? 1 : 0;
        image.notify_offset = s_.select;
        image.descriptors = queue->descriptors;
        image.available = queue->available;
        image.used = queue->used;
    }
    std::memcpy(into.data(), &image, sizeof image);
}

Request Registers::common_write(std::uint64_t offset, unsigned size, std::uint64_t value)
{
    if (size < common_width(offset)) return {};
    auto const low = static_cast<std::uint32_t>(value);
    switch (offset) {
        case offsetof(CommonConfig, device_select): s_.device_select = low; return {};
        case offsetof(CommonConfig, driver_select): s_.driver_select = low; return {};
        case offsetof(CommonConfig, driver_features): set_driver_features(low); return {};
        case offsetof(CommonConfig, config_vector): s_.config_vector = vector_of(value); return {};
        case offsetof(CommonConfig, status): return set_status(static_cast<std::uint8_t>(value));
        case offsetof(CommonConfig, select):
            s_.select = static_cast<std::uint16_t>(value);
            return {};
        case offsetof(CommonConfig, size): set_size(static_cast<std::uint16_t>(value)); return {};
        case offsetof(CommonConfig, enable): return (value & 0xffff) == 1 ? enable() : Request{};
        default: break;
    }
    if (selected() == nullptr) return {};
    if (offset == offsetof(CommonConfig, vector))
        selected()->vector = vector_of(value);
    else if (!selected()->enabled)
        set_address(offset, value);
    return {};
}

void Registers::set_address(std::uint64_t offset, std::uint64_t value)
{
    Queue& queue = *selected();
    switch (offset) {
        case offsetof(CommonConfig, descriptors): set_half(queue.descriptors, false, value); break;
        case offsetof(CommonConfig, descriptors) + 4:
            set_half(queue.descriptors, true, value);
            break;
        case offsetof(CommonConfig, available): set_half(queue.available, false, value); break;
        case offsetof(CommonConfig, available) + 4: set_half(queue.available, true, value); break;
        case offsetof(CommonConfig, used): set_half(queue.used, false, value); break;
        case offsetof(CommonConfig, used) + 4: set_half(queue.used, true, value); break;
        default: break;
    }
}

}  // namespace pinfold::devices::virtio_net
