// One PCI function, as the bus and a VFIO user see it: configuration space, BARs, interrupts, the
// DMA port, and the device model behind them.
//
// One lock: the Device, configuration space and interrupts are touched by one thread at a time, the
// one that makes the access. Thread safe.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/function_ref.hpp"
#include "base/result.hpp"
#include "host/memory.hpp"
#include "iommu/endpoint.hpp"
#include "pci/bar_memory.hpp"
#include "pci/calls.hpp"
#include "pci/config_space.hpp"
#include "pci/device.hpp"
#include "pci/dma_port.hpp"
#include "pci/interrupts.hpp"
#include "pci/io_events.hpp"
#include "pci/patient_mutex.hpp"

namespace pinfold::pci {

inline constexpr unsigned kBars = 6;
inline constexpr unsigned kRomRegion = 6;
inline constexpr unsigned kConfigRegion = 7;
inline constexpr unsigned kRegions = 9;  // the last, VGA, is absent

// A region of the device file (rules V-4 to V-6). A size of 0: nothing there.
struct Region {
    std::uint64_t size = 0;
    bool readable = false;
    bool writable = false;
    bool mappable = false;
    bool msix_table = false;  // a mappable BAR that holds the MSI-X table
};

// Where a function is among others.
struct Place {
    bool alone_below_port = false;  // a root port leads to it and to nothing else
    bool leads_slot = false;        // function 0, and its slot has others
};

class Function final : private Bus, private Sleeper {
public:
    // Makes the device. It may keep the Bus and must not use it yet: identity() is asked first, and
    // reset() is then the device's power-on.
    using Maker = FunctionRef<Checked<std::unique_ptr<Device>>(Bus&)>;

    // `endpoint` (whose name is the function's, such as "0000:00:04.0") and `memory` outlive the
    // function. The sentence says why it cannot be made.
    static Checked<std::unique_ptr<Function>> create(iommu::Endpoint& endpoint,
                                                     host::Memory& memory, Maker make,
                                                     BarAddresses const& addresses = {});
    static Checked<std::unique_ptr<Function>> create(iommu::Endpoint& endpoint,
                                                     host::Memory& memory, Model const& model,
                                                     DeviceSpec const& spec,
                                                     BarAddresses const& addresses = {});
    ~Function() override;
    Function(Function const&) = delete;
    Function& operator=(Function const&) = delete;

    std::string const& name() const { return endpoint_.name(); }
    Identity const& identity() const { return identity_; }
    iommu::Endpoint& endpoint() { return endpoint_; }
    std::string summary() const;  // the device's own line for the report

    // Device::meet(), by way of the functions.
    using FindFunction = FunctionRef<Function*(std::string_view)>;
    Checked<void> meet(FindFunction find);

    // The first open and the last close (rule V-2): bus master off, decoding on, a function reset
    // where there is one, configuration space as it was found, interrupts torn down.
    void open();
    void close();

    // Hot unplug. Whoever has the function open is asked to close it (REQ fires, at each call), and
    // it works on until then; closed, it is gone for good.
    void unplug();
    bool gone() const;
    // Whether anybody has it open.
    bool in_use() const;

    // Says once, before the first open, where the function is, if not alone on the root bus.
    void settle(Place place);
    // Whether the function has a reset: function level reset, with PCI Express; or its port's,
    // where that reaches nobody else.
    bool resettable() const { return identity_.pci_express || place_.alone_below_port; }
    // EINVAL: not resettable (rule V-14). Configuration and interrupts stay, as VFIO's save and
    // restore around a reset does, in D0. As every call that stops the device (the last close, bus
    // mastership off), it waits for the device's present step, not for all of its work: DMA fails
    // from the call on.
    Result<> reset();
    // The port's reset, whether anybody has the function open or not.
    void bus_reset();

    // nullopt: `index` is no region, or an absent one that VFIO refuses to describe (VGA).
    std::optional<Region> region(unsigned index) const;
    std::size_t config_size() const { return config_->size(); }
    unsigned irq_count(IrqIndex index) const { return interrupts_->count(index); }

    // REQUIRES for both: inside config_size(); a width of 1, 2 or 4 that divides the offset.
    void config_read(std::size_t offset, std::span<std::byte> into);
    void config_write(std::size_t offset, unsigned width, std::uint32_t value);

    // read(2) and write(2) of a BAR, one access at a time; REQUIRES: a width of 1, 2, 4 or 8 that
    // divides the offset; inside the BAR. EIO: the BAR is not decoded (COMMAND, power state). The
    // MSI-X table reads as all ones and is not written (rule V-17).
    Result<std::uint64_t> bar_read(unsigned bar, std::uint64_t offset, unsigned width);
    Result<> bar_write(unsigned bar, std::uint64_t offset, unsigned width, std::uint64_t value);

    // A load or store that met a trapped page of a mapped BAR; a width of 1, 2, 4 or 8, any offset.
    // EINVAL: no memory BAR. EIO: not decoded, where a client gets SIGBUS. Beyond the BAR's end:
    // all ones, dropped. Of the MSI-X table, mask bits count; the rest is memory.
    Result<std::uint64_t> mmio_read(unsigned bar, std::uint64_t offset, unsigned width);
    Result<> mmio_write(unsigned bar, std::uint64_t offset, unsigned width, std::uint64_t value);

    // The memory that a client's mapping of a BAR is made of; -1: none. It holds the whole of the
    // BAR, to a multiple of the host page.
    int bar_descriptor(unsigned bar) const { return bars_[bar].descriptor(); }
    // Whether the 4 KiB page at `offset` is memory to read; otherwise it is to be mapped without
    // any access. Writes trap in both.
    bool page_readable(unsigned bar, std::uint64_t offset) const;

    // A memory BAR as other devices reach it (rules 3.3 and M-15); nullptr: it is none.
    struct Peer {
        host::DeviceMemory* memory = nullptr;
        Paddr start;
    };
    Peer peer(unsigned bar) const;

    // VFIO_DEVICE_SET_IRQS after its checks of form. See Interrupts::set().
    Result<> set_irqs(IrqRequest const& request, OpenEventfd open);

    // VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY and _EXIT (rule V-22). While it lasts, loads and stores
    // of mapped BARs are answered as if they were not decoded. EINVAL: it lasts already. Ends by
    // itself at access() where `wakeup`, an eventfd, is not empty, which is fired then.
    Result<> enter_low_power(UniqueFd wakeup);
    void exit_low_power();
    // The device file is used: called before each request to it.
    void access();

    // VFIO_DEVICE_IOEVENTFD (rule V-13). EINVAL: not inside a BAR, or in the MSI-X table. EEXIST,
    // ENOSPC; taking away: ENODEV.
    Result<> add_io_event(IoEvents::Write const& write, FunctionRef<Result<UniqueFd>()> open);
    Result<> remove_io_event(IoEvents::Write const& write);

    struct Counters {
        std::uint64_t interrupts = 0;                   // eventfds fired
        std::uint64_t mmio_reads = 0, mmio_writes = 0;  // trapped accesses to mapped BARs
        std::uint64_t file_reads = 0, file_writes = 0;  // accesses by read(2) and write(2)
        std::uint64_t io_events = 0;                    // writes that eventfds stood for
        DmaPort::Counters dma;
    };
    Counters counters() const;

private:
    class Window;
    Function(iommu::Endpoint& endpoint, host::Memory& memory);
    Result<> peer_read(unsigned bar, std::uint64_t offset, std::span<std::byte> into);
    Result<> peer_write(unsigned bar, std::uint64_t offset, std::span<std::byte const> from);
    Result<std::uint64_t> bus_read(unsigned bar, std::uint64_t offset, unsigned width);
    Result<> bus_write(unsigned bar, std::uint64_t offset, unsigned width, std::uint64_t value);
    Checked<void> power_on(BarAddresses const& addresses);

    // Bus; the lock is held, because the device is being called.
    DmaPort& dma() override { return dma_; }
    void raise(unsigned vector) override;
    void lower() override;
    bool message_signalled() const override;
    std::span<std::byte> bar_memory(unsigned bar) override { return bars_[bar].bytes(); }
    void wake() override { Sleeper::wake(); }
    Result<> set_alarm(std::chrono::milliseconds after) override;
    Result<> make_timer();
    bool alarm_is_due();

    void woken() override;
    void look_through_window(std::size_t offset, std::size_t size);
    void write_through_window(std::size_t offset);

    bool decoded(unsigned bar) const;
    bool in_msix_table(unsigned bar, std::uint64_t offset, unsigned width) const;
    bool in_msix_memory(unsigned bar, std::uint64_t offset, unsigned width) const;
    std::uint64_t device_read(unsigned bar, std::uint64_t offset, unsigned width);
    Call take_from_device();
    MsixTable msix_table() const;
    void find_enabled();
    void reset_device();
    void apply_config();
    Result<> check(IoEvents::Write const& write) const;
    void notified(EventfdWatch::Ticket ticket);

    iommu::Endpoint& endpoint_;
    host::Memory& memory_;
    DmaPort dma_;

    mutable PatientMutex mutex_;
    std::unique_ptr<Device> device_;
    Identity identity_;
    BarAddresses addresses_{};
    std::array<BarMemory, kBars> bars_;
    std::array<std::unique_ptr<Window>, kBars> windows_;
    std::optional<ConfigSpace> config_;     // from power_on() on
    std::optional<Interrupts> interrupts_;  // likewise
    IoEvents io_events_{watch_};
    std::atomic<unsigned> opens_{0};  // changes with mutex_ held
    bool unplugged_ = false;
    UniqueFd timer_;  // from the first alarm on
    EventfdWatch::Ticket timer_ticket_ = 0;
    bool alarm_set_ = false;
    Place place_;
    std::atomic<bool> low_power_{false};
    UniqueFd wakeup_;

    std::atomic<std::uint64_t> mmio_reads_{0}, mmio_writes_{0}, file_reads_{0}, file_writes_{0};
    std::atomic<std::uint64_t> io_event_writes_{0};

    // Last, so that its thread, which calls notified(), ends before anything that it uses goes.
    EventfdWatch watch_{[this](EventfdWatch::Ticket ticket) { notified(ticket); }};
};

}  // namespace pinfold::pci
