#include "devices/nvme/controller.hpp"

#include <fmt/format.h>

#include <bit>

#include "devices/nvme/identify.hpp"

namespace pinfold::devices::nvme {
namespace {

constexpr std::uint32_t kConfigurationBits = 0x00ff'fff1;
constexpr std::uint32_t kQueueAttributeBits = 0x0fff'0fff;
constexpr std::uint32_t kQueueBaseLowBits = 0xffff'f000;

}  // namespace

Controller::Controller(pci::Bus& bus, pci::Identity identity, std::string serial,
                       std::vector<Namespace> namespaces)
    : identity_{std::move(identity)},
      bus_{bus},
      state_{bus, std::move(serial), std::move(namespaces)},
      admin_{state_},
      io_{state_}
{
}

std::uint64_t Controller::bar_read(unsigned bar, std::uint64_t offset, unsigned size)
{
    return bar == 0 ? state_.registers.read(offset, size) : 0;
}

// Registers take aligned dwords and quadwords, doorbells aligned dwords; any other write is lost.
void Controller::bar_write(unsigned bar, std::uint64_t offset, unsigned size, std::uint64_t value)
{
    if (bar != 0 || (size != 4 && size != 8) || offset % size != 0) return;
    if (offset < kRegistersEnd) {
        auto const which = static_cast<std::uint32_t>(offset);
        write_register(Register{which}, static_cast<std::uint32_t>(value));
        if (size == 8) write_register(Register{which + 4}, static_cast<std::uint32_t>(value >> 32));
    } else if (size == 4 && offset >= kDoorbells && offset < kMsixTable) {
        ring(static_cast<unsigned>(offset - kDoorbells) / 4, static_cast<std::uint32_t>(value));
    }
}

void Controller::write_register(Register which, std::uint32_t value)
{
    auto& registers = state_.registers;
    switch (which) {
        case Register::intms: mask_interrupts(registers.load(Register::intms) | value); break;
        case Register::intmc: mask_interrupts(registers.load(Register::intms) & ~value); break;
        case Register::cc: configure({value & kConfigurationBits}); break;
        case Register::aqa: registers.store(which, value & kQueueAttributeBits); break;
        case Register::asq:
        case Register::acq: registers.store(which, value & kQueueBaseLowBits); break;
        case Register::asq_high:
        case Register::acq_high: registers.store(which, value); break;
        default: break;  // read-only, or not there
    }
}

void Controller::mask_interrupts(std::uint32_t mask)
{
    state_.registers.store(Register::intms, mask);
    state_.registers.store(Register::intmc, mask);
    update_pin();
}

void Controller::configure(Configuration wanted)
{
    auto const before = state_.registers.configuration();
    state_.registers.store(Register::cc, wanted.raw);
    if (before.enabled() && !wanted.enabled()) disable();
    if (!before.enabled() && wanted.enabled()) enable();
    if (before.shutdown() == 0 && wanted.shutdown() != 0) shut_down();
}

void Controller::enable()
{
    auto& registers = state_.registers;
    auto const wanted = registers.configuration();
    auto const attributes = registers.load(Register::aqa);
    if (wanted.command_set() != 0 || wanted.arbitration() != 0 || wanted.page_lg2() > kMaxPageLg2 ||
        low16(attributes) == 0 || high16(attributes) == 0) {
        return fail_fatally();
    }
    if (!state_.queues.enable(Iova{registers.load64(Register::asq)}, low16(attributes) + 1,
                              Iova{registers.load64(Register::acq)}, high16(attributes) + 1)) {
        return fail_fatally();
    }
    state_.transfer.set_page_lg2(wanted.page_lg2());
    registers.store(Register::csts, kReady);
}

// A controller reset, 7.3.2: the admin queue registers stay.
void Controller::disable()
{
    state_.queues.clear();
    state_.features.reset();
    stop_keep_alive();
    state_.events.reset();
    state_.doorbells.clear();
    state_.registers.store(Register::csts, 0);
    mask_interrupts(0);
}

void Controller::shut_down()
{
    stop_keep_alive();
    for (auto& ns : state_.namespaces) (void)ns.disk().flush();
    auto const status = state_.registers.load(Register::csts) & ~kShutdownMask;
    state_.registers.store(Register::csts, status | kShutdownComplete);
}

// 7.12: neither a controller that is not enabled nor one that shuts down waits for the host.
void Controller::stop_keep_alive() { (void)bus_.set_alarm(std::chrono::milliseconds{0}); }

// The host has not been heard of for as long as it said. Its next controller reset finds the reason
// in the error log.
void Controller::alarm()
{
    if (!state_.registers.ready()) return;
    constexpr std::uint16_t kNone = 0xffff;  // no command of any queue
    state_.errors.add({.sq_id = kNone,
                       .command_id = kNone,
                       .status = Status::keep_alive_expired,
                       .lba = 0,
                       .nsid = 0});
    fail_fatally();
}

void Controller::fail_fatally()
{
    auto const status = state_.registers.load(Register::csts);
    state_.registers.store(Register::csts, status | kFatal);
}

void Controller::reset()
{
    disable();
    state_.errors.reset();
    state_.registers.reset(bus_.bar_memory(0));
}

std::string Controller::summary() const
{
    std::string text;
    for (auto const& ns : state_.namespaces) {
        if (!text.empty()) text += "; ";
        text += ns.summary();
    }
    if (state_.doorbells.used()) text += "; doorbells in memory";
    return text;
}

}  // namespace pinfold::devices::nvme
