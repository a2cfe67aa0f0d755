// A virtio network device on PCI, modelled after what QEMU 7.2 shows on its root bus
// (virtio-net-pci): I/O BAR 0 with the legacy interface, BAR 1 with MSI-X, BAR 4 with the registers
// of version 1. What it sends comes back, or goes to its peer.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "devices/virtio_net/capture.hpp"
#include "devices/virtio_net/frame_buffer.hpp"
#include "devices/virtio_net/inbox.hpp"
#include "devices/virtio_net/receive_filter.hpp"
#include "devices/virtio_net/receiver.hpp"
#include "devices/virtio_net/registers.hpp"
#include "devices/virtio_net/settings.hpp"
#include "pci/device.hpp"

namespace pinfold::devices::virtio_net {

class Port final : public pci::Device {
public:
    Port(pci::Bus& bus, Settings settings, Capture capture);

    pci::Identity const& identity() const override { return identity_; }
    std::uint64_t bar_read(unsigned bar, std::uint64_t offset, unsigned size) override;
    void bar_write(unsigned bar, std::uint64_t offset, unsigned size, std::uint64_t value) override;
    void reset() override;
    void woken() override;
    pci::Checked<void> meet(pci::FindDevice find) override;
    std::string summary() const override;

private:
    // Bounds what one notification makes the device do.
    static constexpr unsigned kMostFrames = 1U << 16;

    Registers::Request write_register(unsigned bar, std::uint64_t offset, unsigned size,
                                      std::uint64_t value);
    void obey(Registers::Request const& request);
    void write_mac(std::uint64_t offset, unsigned size, std::uint64_t value);
    std::uint8_t read_isr();
    NetConfig config() const { return {filter_.own(), kLinkUp}; }
    void show_registers();

    SplitQueue& queue(unsigned number);
    void run(unsigned number);
    void serve(unsigned number);
    Result<> start(unsigned number);
    Result<> transmit();
    Result<> send(Chain const& chain);
    Result<> deliver();
    Result<> obey_commands();
    std::uint8_t command(Chain const& chain);
    bool read(Chain const& chain, std::size_t skip, std::span<std::byte> into);
    Result<> publish(unsigned number);
    void break_down();
    void interrupt(std::uint16_t vector, std::uint8_t isr);

    pci::Bus& bus_;
    Settings settings_;
    pci::Identity identity_;
    Port* peer_ = nullptr;
    Inbox inbox_;
    Capture capture_;

    Registers registers_;
    ReceiveFilter filter_;
    Receiver receiver_;
    SplitQueue transmit_, control_;
    Chain chain_;  // of the transmit or the control queue
    FrameBuffer buffer_;

    std::uint64_t sent_ = 0, received_ = 0, lost_ = 0;
};

}  // namespace pinfold::devices::virtio_net
