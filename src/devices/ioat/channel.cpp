#include "devices/ioat/channel.hpp"

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

namespace pinfold::devices::ioat {

struct Channel::Descriptor {
    std::uint32_t size;
    std::uint32_t control;
    std::uint64_t source;  // or the pattern of a fill
    std::uint64_t destination;
    std::uint64_t next;
    std::array<std::uint64_t, 4> reserved;
};

namespace {

constexpr std::uint8_t kSuspend = 0x04, kReset = 0x20;                              // CHANCMD
constexpr std::uint32_t kInterrupt = 1 << 0, kCompletion = 1 << 3, kNull = 1 << 5;  // control
constexpr std::uint8_t kCopy = 0, kFill = 1;
constexpr std::uint64_t kDescriptorAlignment = 64;
constexpr std::size_t kPiece = std::size_t{1} << 16;  // what is copied at once

std::uint8_t operation(std::uint32_t control) { return static_cast<std::uint8_t>(control >> 24); }

}  // namespace

Channel::Channel(pci::Bus& bus, unsigned largest_lg2)
    : bus_{bus}, largest_lg2_{largest_lg2}, buffer_(kPiece)
{
}

void Channel::reset()
{
    state_ = State::halted;
    control_ = count_ = done_ = 0;
    chain_ = next_ = last_done_ = completion_ = 0;
    errors_ = 0;
    interrupt_armed_ = interrupt_due_ = false;
}

void Channel::set_control(std::uint16_t value)
{
    control_ = value;
    if ((value & kInterruptRearm) != 0) interrupt_armed_ = true;
}

void Channel::command(std::uint8_t bits)
{
    if ((bits & kReset) != 0)
        reset();
    else if ((bits & kSuspend) != 0 && state_ != State::halted)
        state_ = State::suspended;
}

void Channel::set_chain(std::uint64_t address)
{
    chain_ = next_ = address;
    count_ = done_ = 0;
    last_done_ = 0;
    if (state_ == State::halted && errors_ == 0) state_ = State::armed;
}

void Channel::set_count(std::uint16_t count)
{
    count_ = count;
    if (state_ != State::halted) run();
}

bool Channel::take_interrupt() { return std::exchange(interrupt_due_, false); }

// Counts run modulo 2^16, so at most 65535 descriptors are done at a time.
void Channel::run()
{
    while (done_ != count_)
        if (!do_one()) return;
    state_ = State::done;
}

void Channel::want_interrupt()
{
    if (!interrupt_armed_) return;
    interrupt_armed_ = false;
    interrupt_due_ = true;
}

// The descriptor that failed is not done: the status goes on naming the one before.
void Channel::halt(std::uint32_t error)
{
    errors_ |= error;
    state_ = State::halted;
    ++totals_.failures;
    if ((control_ & kErrorCompletion) != 0) (void)report();
    if ((control_ & kErrorInterrupt) != 0) want_interrupt();
}

bool Channel::report()
{
    if (completion_ == 0) return true;
    auto const status = this->status();
    return bus_.dma().write(Iova{completion_}, std::as_bytes(std::span{&status, 1})).has_value();
}

bool Channel::do_one()
{
    Descriptor descriptor{};
    if (next_ % kDescriptorAlignment != 0) {
        halt(done_ == 0 ? error::kChainAddress : error::kNextAlignment);
        return false;
    }
    if (!bus_.dma().read(Iova{next_}, std::as_writable_bytes(std::span{&descriptor, 1}))) {
        halt(error::kDescriptorRead);
        return false;
    }
    if ((descriptor.control & kNull) == 0 && !move(descriptor)) return false;

    last_done_ = next_;
    next_ = descriptor.next;
    ++done_;
    state_ = done_ == count_ ? State::done : State::active;
    if ((descriptor.control & kCompletion) != 0 && !report()) {
        halt(error::kCompletionAddress);
        return false;
    }
    if ((descriptor.control & kInterrupt) != 0) want_interrupt();
    return true;
}

bool Channel::move(Descriptor const& descriptor)
{
    auto const what = operation(descriptor.control);
    bool const fits = descriptor.size != 0 && descriptor.size <= std::uint64_t{1} << largest_lg2_;
    if ((what != kCopy && what != kFill) || !fits) {
        halt(error::kControl);
        return false;
    }
    if (what == kFill) return fill(descriptor);
    for (std::uint64_t done = 0; done < descriptor.size;) {
        auto const piece =
            std::span{buffer_}.first(std::min<std::uint64_t>(kPiece, descriptor.size - done));
        if (!bus_.dma().read(Iova{descriptor.source + done}, piece)) {
            halt(error::kSource);
            return false;
        }
        if (!bus_.dma().write(Iova{descriptor.destination + done}, piece)) {
            halt(error::kDestination);
            return false;
        }
        done += piece.size();
    }
    ++totals_.copies;
    totals_.bytes += descriptor.size;
    return true;
}

// The pattern of 8 bytes over and over.
bool Channel::fill(Descriptor const& descriptor)
{
    auto const used =
        std::min<std::size_t>(kPiece, (descriptor.size + std::size_t{7}) & ~std::size_t{7});
    for (std::size_t at = 0; at < used; at += sizeof descriptor.source)
        std::memcpy(&buffer_[at], &descriptor.source, sizeof descriptor.source);
    for (std::uint64_t done = 0; done < descriptor.size; done += kPiece) {
        auto const piece =
            std::span{buffer_}.first(std::min<std::uint64_t>(kPiece, descriptor.size - done));
        if (bus_.dma().write(Iova{descriptor.destination + done}, piece)) continue;
        halt(error::kDestination);
        return false;
    }
    ++totals_.fills;
    totals_.bytes += descriptor.size;
    return true;
}

}  // namespace pinfold::devices::ioat
