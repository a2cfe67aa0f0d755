// One DMA channel of an I/OAT engine: the registers from 0x80 of BAR 0 on, and the chain of
// descriptors that it works through. A register write that starts it returns when it has come to
// its end, so the channel is never seen active.
//
// Names and bits are those that Linux (drivers/dma/ioat) and DPDK (drivers/dma/ioat) give to the
// CB3 interface. Not thread safe.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/address.hpp"
#include "base/result.hpp"
#include "pci/device.hpp"

namespace pinfold::devices::ioat {

enum class State : std::uint8_t { active = 0, done = 1, suspended = 2, halted = 3, armed = 4 };

// CHANERR.
namespace error {
inline constexpr std::uint32_t kSource = 1 << 0, kDestination = 1 << 1;
inline constexpr std::uint32_t kNextAlignment = 1 << 3, kChainAddress = 1 << 4;
inline constexpr std::uint32_t kDescriptorRead = 1 << 8;
inline constexpr std::uint32_t kControl = 1 << 10;  // operation or length
inline constexpr std::uint32_t kCompletionAddress = 1 << 12;
}  // namespace error

// CHANCTRL.
inline constexpr std::uint16_t kInterruptRearm = 1 << 0, kErrorCompletion = 1 << 2,
                               kErrorInterrupt = 1 << 4;

class Channel {
public:
    // Copies of up to 2^largest_lg2 bytes.
    Channel(pci::Bus& bus, unsigned largest_lg2);

    void reset();

    // CHANCTRL
    std::uint16_t control() const { return control_; }
    void set_control(std::uint16_t value);
    // CHANCMD: bits that have acted read 0. Reset halts the channel; suspend stops one that is not.
    void command(std::uint8_t bits);
    // DMACOUNT: how many descriptors in all are to be done, since CHAINADDR was written.
    std::uint16_t count() const { return count_; }
    void set_count(std::uint16_t count);
    // CHANSTS: the address of the descriptor that was done last, and the state.
    std::uint64_t status() const { return last_done_ | static_cast<std::uint64_t>(state_); }
    // CHAINADDR: where the next descriptor is. Written, it arms a channel that is halted without an
    // error.
    std::uint64_t chain() const { return chain_; }
    void set_chain(std::uint64_t address);
    // CHANCMP: where the status is written to. 0: nowhere.
    std::uint64_t completion() const { return completion_; }
    void set_completion(std::uint64_t address) { completion_ = address & ~std::uint64_t{7}; }
    // CHANERR: a written bit clears.
    std::uint32_t errors() const { return errors_; }
    void clear_errors(std::uint32_t bits) { errors_ &= ~bits; }

    // Whether an interrupt is due since the last look.
    bool take_interrupt();

    struct Totals {
        std::uint64_t copies = 0, fills = 0, bytes = 0, failures = 0;
    };
    Totals const& totals() const { return totals_; }

private:
    struct Descriptor;

    void run();
    bool do_one();
    bool move(Descriptor const& descriptor);
    bool fill(Descriptor const& descriptor);
    void halt(std::uint32_t error);
    bool report();
    void want_interrupt();

    pci::Bus& bus_;
    unsigned largest_lg2_;
    State state_ = State::halted;
    std::uint16_t control_ = 0, count_ = 0, done_ = 0;
    std::uint64_t chain_ = 0, next_ = 0, last_done_ = 0, completion_ = 0;
    std::uint32_t errors_ = 0;
    bool interrupt_armed_ = false, interrupt_due_ = false;
    Totals totals_;
    std::vector<std::byte> buffer_;
};

}  // namespace pinfold::devices::ioat
