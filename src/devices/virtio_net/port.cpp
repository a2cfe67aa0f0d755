#include "devices/virtio_net/port.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "devices/virtio_net/control.hpp"
#include "devices/virtio_net/identity.hpp"

namespace pinfold::devices::virtio_net {

namespace {

using Request = Registers::Request;

Registers::Offer offer_of(Interface interface)
{
    using namespace feature;
    constexpr std::uint64_t kCommon = kMac | kMergeableBuffers | kStatus | kControlQueue |
                                      kControlRx | kControlVlan | kControlRxExtra | kControlMac |
                                      kIndirect | kEventIndex;
    Registers::Offer offer;
    if (interface != Interface::modern)
        offer.legacy = static_cast<std::uint32_t>(kCommon | kAnyLayout);
    if (interface != Interface::legacy) offer.modern = kCommon | kVersion1 | kAccessPlatform;
    return offer;
}

std::uint64_t page_of(std::uint64_t offset) { return offset & ~(kPartSize - 1); }

}  // namespace

Port::Port(pci::Bus& bus, Settings settings, Capture capture)
    : bus_{bus},
      settings_{std::move(settings)},
      identity_{identity_of(settings_.interface)},
      capture_{std::move(capture)},
      registers_{offer_of(settings_.interface)},
      filter_{settings_.mac},
      receiver_{bus.dma()},
      transmit_{bus.dma()},
      control_{bus.dma()}
{
}

// ---- registers

std::uint64_t Port::bar_read(unsigned bar, std::uint64_t offset, unsigned size)
{
    if (size == 8) return bar_read(bar, offset, 4) | bar_read(bar, offset + 4, 4) << 32;
    if (bar == kModernBar) return offset == kIsrPage ? read_isr() : 0;
    if (bar != kLegacyBar) return 0;
    auto const now = config();
    auto const value = registers_.legacy_read(offset, size, bus_.message_signalled(),
                                              std::as_bytes(std::span{&now, 1}));
    if (registers_.isr() == 0) bus_.lower();
    return value;
}

std::uint8_t Port::read_isr()
{
    bus_.lower();
    return registers_.take_isr();
}

void Port::bar_write(unsigned bar, std::uint64_t offset, unsigned size, std::uint64_t value)
{
    if (size == 8) {
        bar_write(bar, offset, 4, value & 0xffff'ffff);
        bar_write(bar, offset + 4, 4, value >> 32);
        return;
    }
    auto const request = write_register(bar, offset, size, value);
    if (request.kind == Request::Kind::config) write_mac(request.offset, size, value);
    obey(request);
    if (request.kind != Request::Kind::notify) show_registers();
}

Request Port::write_register(unsigned bar, std::uint64_t offset, unsigned size, std::uint64_t value)
{
    if (bar == kLegacyBar)
        return registers_.legacy_write(offset, size, value, bus_.message_signalled());
    if (bar != kModernBar) return {};
    switch (page_of(offset)) {
        case kCommonPage: return registers_.common_write(offset - kCommonPage, size, value);
        case kNotifyPage: {
            auto const at = offset - kNotifyPage;
            return at % kNotifyMultiplier == 0 ? notification(at / kNotifyMultiplier) : Request{};
        }
        default: return {};
    }
}

void Port::obey(Request const& request)
{
    switch (request.kind) {
        case Request::Kind::none:
        case Request::Kind::config: break;
        case Request::Kind::reset: reset(); break;
        case Request::Kind::start:
            for (unsigned i = 0; i < kQueues; ++i) run(i);
            break;
        case Request::Kind::queue: run(request.queue); break;
        case Request::Kind::notify: serve(request.queue); break;
    }
}

// A driver without the command for it writes its address into the legacy configuration (5.1.4.2).
void Port::write_mac(std::uint64_t offset, unsigned size, std::uint64_t value)
{
    if (registers_.has(feature::kControlMac | feature::kVersion1)) return;
    Mac mac = filter_.own();
    for (unsigned i = 0; i < size && offset + i < mac.size(); ++i)
        mac[offset + i] = static_cast<std::uint8_t>(value >> 8 * i);
    filter_.set_own(mac);
}

// The pages of BAR 4 that a driver reads without our help.
void Port::show_registers()
{
    auto const memory = bus_.bar_memory(kModernBar);
    if (memory.empty()) return;
    registers_.common_image(memory.subspan<kCommonPage, Registers::kCommonSize>());
    auto const now = config();
    std::memcpy(&memory[kConfigPage], &now, sizeof now);
}

void Port::reset()
{
    registers_.reset();
    for (unsigned i = 0; i < kQueues; ++i) queue(i).stop();
    filter_ = ReceiveFilter{settings_.mac};
    inbox_.clear();
    bus_.lower();
    auto const memory = bus_.bar_memory(kModernBar);
    if (!memory.empty())  // nothing is behind the configuration
        std::ranges::fill(memory.subspan(kConfigPage, kPartSize), std::byte{0xff});
    show_registers();
}

// ---- queues

SplitQueue& Port::queue(unsigned number)
{
    if (number == kReceive) return receiver_.queue();
    return number == kTransmit ? transmit_ : control_;
}

Result<> Port::start(unsigned number)
{
    auto const layout = registers_.layout(number);
    if (number == kReceive) return receiver_.start(layout, registers_.features());
    return queue(number).start(layout, registers_.features());
}

// Brings a queue into the state that its registers have. What is in it already is served.
void Port::run(unsigned number)
{
    queue(number).stop();
    filter_.filter_vlans(registers_.has(feature::kControlVlan));
    if (!registers_.enabled(number) || registers_.needs_reset()) return;
    if (!start(number)) return break_down();
    serve(number);
}

void Port::serve(unsigned number)
{
    if (!queue(number).running()) return;
    Result<> served;
    if (number == kTransmit) served = transmit();
    if (number == kControl) served = obey_commands();
    if (!served) break_down();
}

// The rings are not what they should be: 2.1.2.
void Port::break_down()
{
    for (unsigned i = 0; i < kQueues; ++i) queue(i).stop();
    registers_.need_reset();
    show_registers();
    interrupt(registers_.config_vector(), kIsrQueue | kIsrConfig);
}

Result<> Port::publish(unsigned number)
{
    if (queue(number).running() && TRY(queue(number).publish()))
        interrupt(registers_.queue_vector(number), kIsrQueue);
    return {};
}

void Port::interrupt(std::uint16_t vector, std::uint8_t isr)
{
    if (bus_.message_signalled()) {
        if (vector != kNoVector) bus_.raise(vector);
        return;
    }
    registers_.set_isr(isr);
    bus_.raise(0);
}

// ---- frames

Result<> Port::transmit()
{
    for (unsigned left = kMostFrames; left != 0;) {
        unsigned waiting = TRY(transmit_.look());
        if (waiting == 0) {
            TRY(transmit_.ask_to_be_notified());
            waiting = TRY(transmit_.look());
        }
        if (waiting == 0) return {};
        for (; waiting != 0 && left != 0; --waiting, --left) {
            TRY(transmit_.next(chain_));
            TRY(send(chain_));
            TRY(transmit_.done(chain_, 0));
        }
        TRY(publish(kReceive));
        TRY(publish(kTransmit));
    }
    return transmit_.ask_to_be_notified();
}

// A frame that is none, or whose bytes cannot be reached, is lost; the buffer comes back.
Result<> Port::send(Chain const& chain)
{
    bool const long_header = registers_.has(feature::kMergeableBuffers | feature::kVersion1);
    std::size_t const header = long_header ? kLongHeader : kShortHeader;
    std::uint64_t const bytes = chain.readable_bytes();
    bool const is_frame = bytes >= header + kEthernetHeader && bytes <= header + kMostFrame;
    if (!is_frame || !read(chain, header, buffer_.room().first(bytes - header))) {
        ++lost_;
        return {};
    }
    buffer_.set_size(bytes - header);
    ++sent_;
    capture_.record(buffer_.frame());
    if (peer_ == nullptr) return deliver();
    if (!peer_->inbox_.put(buffer_.frame())) ++lost_;
    peer_->bus_.wake();
    return {};
}

// What is readable in the chain behind its first `skip` bytes. REQUIRES: so much is there.
bool Port::read(Chain const& chain, std::size_t skip, std::span<std::byte> into)
{
    for (auto const& piece : chain.readable()) {
        std::uint64_t const skipped = std::min<std::uint64_t>(skip, piece.size);
        skip -= skipped;
        auto const part = into.first(std::min<std::uint64_t>(into.size(), piece.size - skipped));
        if (!part.empty() && !bus_.dma().read(Iova{piece.iova.raw() + skipped}, part)) return false;
        into = into.subspan(part.size());
    }
    return true;
}

Result<> Port::deliver()
{
    if (!filter_.takes(buffer_.frame())) return {};
    bool const arrived = TRY(receiver_.put(buffer_));
    ++(arrived ? received_ : lost_);
    return {};
}

// The peer has sent something.
void Port::woken()
{
    auto const take_in = [&]() -> Result<> {
        for (unsigned left = kMostFrames; left != 0; --left) {
            auto const size = inbox_.take(buffer_.room());
            if (size == 0) break;
            buffer_.set_size(size);
            capture_.record(buffer_.frame());
            TRY(deliver());
        }
        return publish(kReceive);
    };
    if (!take_in()) break_down();
}

// ---- commands

Result<> Port::obey_commands()
{
    for (unsigned left = kMostFrames; left != 0; --left) {
        if (TRY(control_.look()) == 0) {
            TRY(control_.ask_to_be_notified());
            if (TRY(control_.look()) == 0) break;
        }
        TRY(control_.next(chain_));
        auto const answer = command(chain_);
        bool answered = false;
        if (chain_.writable_bytes() != 0) {
            auto const place = std::ranges::find_if(chain_.writable(),
                                                    [](auto const& one) { return one.size != 0; });
            answered =
                bus_.dma().write(place->iova, std::as_bytes(std::span{&answer, 1})).has_value();
        }
        TRY(control_.done(chain_, answered ? 1 : 0));
        TRY(publish(kControl));
    }
    show_registers();
    return {};
}

std::uint8_t Port::command(Chain const& chain)
{
    auto const size = chain.readable_bytes();
    if (size > kMostCommand || !read(chain, 0, buffer_.room().first(size))) return kControlError;
    auto const before = filter_.own();
    auto const answer = control(buffer_.room().first(size), filter_);
    if (filter_.own() != before) registers_.next_generation();
    return answer;
}

// ---- the machine

pci::Checked<void> Port::meet(pci::FindDevice find)
{
    if (settings_.peer.empty()) return {};
    auto const refuse = [&](std::string_view why) {
        return std::unexpected{fmt::format("virtio-net: peer={}: {}", settings_.peer, why)};
    };
    if (settings_.peer == settings_.self)
        return refuse("is this port itself; without a peer its frames come back");
    auto* const device = find(settings_.peer);
    if (device == nullptr) return refuse("there is no device");
    auto* const port = dynamic_cast<Port*>(device);
    if (port == nullptr) return refuse("is no virtio-net");
    if (port->settings_.peer != settings_.self)
        return refuse(fmt::format("is not joined to this one; say peer={} there", settings_.self));
    peer_ = port;
    return {};
}

std::string Port::summary() const
{
    auto text = fmt::format("{} frames sent, {} received", sent_, received_);
    if (lost_ != 0) text += fmt::format(", {} lost", lost_);
    if (capture_.incomplete()) text += "; the capture is incomplete";
    return text;
}

}  // namespace pinfold::devices::virtio_net
