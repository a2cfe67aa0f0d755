#include "pci/function.hpp"

#include <fcntl.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>
#include <mutex>
#include <utility>

#include "pci/bar_window.hpp"

namespace pinfold::pci {

namespace {

constexpr std::uint64_t ones(unsigned width) { return ~std::uint64_t{0} >> (64 - 8 * width); }

std::uint64_t load(std::byte const* from, unsigned width)
{
    std::uint64_t value = 0;
    switch (width) {
        case 1: std::memcpy(&value, from, 1); break;
        case 2: std::memcpy(&value, from, 2); break;
        case 4: std::memcpy(&value, from, 4); break;
        default: std::memcpy(&value, from, 8); break;
    }
    return value;
}

// The widest access that is aligned at `offset` and not longer than `left`: 1 to 8 bytes.
unsigned access_width(std::uint64_t offset, std::uint64_t left)
{
    std::uint64_t const aligned = std::uint64_t{1} << std::countr_zero(offset | 8);
    return static_cast<unsigned>(std::min(aligned, std::bit_floor(left)));
}

bool meets(std::uint64_t offset, unsigned width, std::uint64_t start, std::uint64_t size)
{
    return offset < start + size && start < offset + width;
}

}  // namespace

// One memory BAR among the paddrs.
class Function::Window final : public host::DeviceMemory {
public:
    static Result<std::unique_ptr<Window>> create(Function& function, unsigned bar)
    {
        std::unique_ptr<Window> window{new Window{function, bar}};
        window->start_ =
            TRY(function.memory_.devices().add(*window, function.bars_[bar].bytes().size()));
        window->placed_ = true;
        return window;
    }
    ~Window() override
    {
        if (placed_) function_.memory_.devices().remove(start_);
    }
    Window(Window const&) = delete;
    Window& operator=(Window const&) = delete;

    Paddr start() const { return start_; }

    Result<> read(std::uint64_t offset, std::span<std::byte> into) override
    {
        return function_.peer_read(bar_, offset, into);
    }
    Result<> write(std::uint64_t offset, std::span<std::byte const> from) override
    {
        return function_.peer_write(bar_, offset, from);
    }
    bool decoded() const override
    {
        std::lock_guard const lock{function_.mutex_};
        bool const gone = function_.unplugged_ && function_.opens_ == 0;
        return !gone && !function_.low_power_ && function_.decoded(bar_);
    }

private:
    Window(Function& function, unsigned bar) : function_{function}, bar_{bar} {}

    Function& function_;
    unsigned bar_;
    Paddr start_;
    bool placed_ = false;
};

Function::Function(iommu::Endpoint& endpoint, host::Memory& memory)
    : endpoint_{endpoint}, memory_{memory}, dma_{endpoint, memory}
{
}

Function::~Function() = default;

Checked<std::unique_ptr<Function>> Function::create(iommu::Endpoint& endpoint, host::Memory& memory,
                                                    Maker make, BarAddresses const& addresses)
{
    std::unique_ptr<Function> function{new Function{endpoint, memory}};
    auto device = make(*function);
    if (!device) return std::unexpected{std::move(device.error())};
    function->device_ = std::move(*device);
    if (auto on = function->power_on(addresses); !on) return std::unexpected{std::move(on.error())};
    return function;
}

Checked<std::unique_ptr<Function>> Function::create(iommu::Endpoint& endpoint, host::Memory& memory,
                                                    Model const& model, DeviceSpec const& spec,
                                                    BarAddresses const& addresses)
{
    return create(endpoint, memory, [&](Bus& bus) { return model.create(spec, bus); }, addresses);
}

Checked<void> Function::power_on(BarAddresses const& addresses)
{
    identity_ = device_->identity();
    addresses_ = addresses;
    for (unsigned i = 0; i < kBars; ++i) {
        Bar const& bar = identity_.bars[i];
        if (bar.kind != Bar::Kind::memory32 && bar.kind != Bar::Kind::memory64) continue;
        assert(std::has_single_bit(bar.size) && bar.size >= k4K.bytes());
        auto memory = BarMemory::create(memory_.page_size().align_up(bar.size));
        if (!memory)
            return std::unexpected{name() + ": no memory for BAR " + std::to_string(i) + " of " +
                                   std::to_string(bar.size) + " bytes"};
        bars_[i] = std::move(*memory);
        auto window = Window::create(*this, i);
        if (!window)
            return std::unexpected{name() + ": there are no physical addresses left for BAR " +
                                   std::to_string(i)};
        windows_[i] = std::move(*window);
    }
    config_.emplace(identity_, addresses);
    interrupts_.emplace(identity_, watch_, msix_table());

    Call const call{mutex_};
    find_enabled();
    device_->reset();
    return {};
}

Checked<void> Function::meet(FindFunction find)
{
    auto const device_at = [&](std::string_view bdf) -> Device* {
        auto* const function = find(bdf);
        return function == nullptr ? nullptr : function->device_.get();
    };
    return device_->meet(device_at);
}

void Function::woken()
{
    Call const call{mutex_};
    device_->woken();
}

std::string Function::summary() const
{
    std::lock_guard const lock{mutex_};
    return device_->summary();
}

void Function::open()
{
    Call const call{mutex_};
    if (opens_++ != 0) return;
    find_enabled();
    if (resettable()) reset_device();
}

// The lock, soon: what the device is doing comes to an end because its DMA fails. Once the lock is
// held, nobody is in the device, and it may speak again.
Call Function::take_from_device()
{
    DmaPort::Silence const silence{dma_};
    return Call{mutex_};
}

void Function::close()
{
    Call const call = opens_ == 1 ? take_from_device() : Call{mutex_};
    assert(opens_ > 0);
    if (--opens_ != 0) return;
    interrupts_->release();
    io_events_.clear();
    low_power_ = false;
    wakeup_ = UniqueFd{};
    find_enabled();
    if (resettable()) reset_device();
}

void Function::unplug()
{
    Call const call{mutex_};
    unplugged_ = true;
    if (opens_ != 0) interrupts_->request_release();
}

bool Function::gone() const
{
    std::lock_guard const lock{mutex_};
    return unplugged_ && opens_ == 0;
}

bool Function::in_use() const
{
    std::lock_guard const lock{mutex_};
    return opens_ != 0;
}

MsixTable Function::msix_table() const
{
    MsixLayout const& msix = identity_.msix;
    if (msix.vectors == 0) return {};
    auto const memory = bars_[msix.bar].bytes();
    return {msix.vectors, memory.subspan(msix.table_offset, msix.vectors * MsixTable::kEntry),
            memory.subspan(msix.pba_offset, MsixTable::pending_bytes(msix.vectors))};
}

// Configuration space as it is found at an open; the MSI-X table masked and empty.
void Function::find_enabled()
{
    config_->power_on();
    apply_config();
    config_->show_intx(interrupts_->intx_asserted());
    msix_table().empty_entries();
}

Result<> Function::reset()
{
    if (!resettable()) return fail(Errno::inval);
    Call const call = take_from_device();
    reset_device();
    return {};
}

void Function::bus_reset()
{
    Call const call = take_from_device();
    reset_device();
}

void Function::settle(Place place)
{
    Call const call{mutex_};
    place_ = place;
    if (place.leads_slot) config_->lead_slot();
}

// VFIO brings a function that sleeps to D0 first.
void Function::reset_device()
{
    config_->wake();
    apply_config();
    device_->reset();
    interrupts_->reset();
    lower();
}

std::optional<Region> Function::region(unsigned index) const
{
    if (index == kConfigRegion)
        return Region{.size = config_->size(), .readable = true, .writable = true};
    if (index == kRomRegion) return Region{};
    if (index >= kBars) return std::nullopt;

    Bar const& bar = identity_.bars[index];
    if (bar.kind == Bar::Kind::none) return Region{};
    Region region{.size = bar.size, .readable = true, .writable = true};
    PageSize const page = memory_.page_size();
    region.mappable = bar.kind != Bar::Kind::io && bar.mappable &&
                      (bar.size >= page.bytes() || page.aligned(addresses_[index]));
    region.msix_table =
        region.mappable && identity_.msix.vectors != 0 && identity_.msix.bar == index;
    return region;
}

void Function::config_read(std::size_t offset, std::span<std::byte> into)
{
    Call const call{mutex_};
    look_through_window(offset, into.size());
    config_->read(offset, into);
}

// Where a read takes in the whole of the window's data, what is behind it comes first.
void Function::look_through_window(std::size_t offset, std::size_t size)
{
    std::size_t const data = window_data(identity_.bar_window);
    if (identity_.bar_window == 0 || offset > data || size > 4) return;
    auto const access = window_access(*config_, identity_.bar_window);
    if (!access || offset != data || identity_.bars[access->bar].size == 0) return;
    auto const value = bus_read(access->bar, access->offset, access->width);
    if (value) config_->write(data, 4, static_cast<std::uint32_t>(*value));
}

void Function::write_through_window(std::size_t offset)
{
    if (identity_.bar_window == 0 || offset != window_data(identity_.bar_window)) return;
    auto const access = window_access(*config_, identity_.bar_window);
    if (!access || identity_.bars[access->bar].size == 0) return;
    std::uint32_t value = 0;
    config_->read(offset, std::as_writable_bytes(std::span{&value, 1}));
    (void)bus_write(access->bar, access->offset, access->width, value);
}

void Function::config_write(std::size_t offset, unsigned width, std::uint32_t value)
{
    bool const stops = config_->stops_device(offset, width, value);
    Call const call = stops ? take_from_device() : Call{mutex_};
    auto const request = config_->write(offset, width, value);
    apply_config();
    if (message_signalled()) lower();
    write_through_window(offset);
    if (request == ConfigSpace::Request::reset) reset_device();
}

void Function::apply_config()
{
    dma_.set_bus_master(config_->bus_master());
    interrupts_->disable_intx(config_->intx_disabled());
}

bool Function::decoded(unsigned bar) const
{
    return identity_.bars[bar].kind == Bar::Kind::io || config_->memory_decoded();
}

bool Function::in_msix_table(unsigned bar, std::uint64_t offset, unsigned width) const
{
    MsixLayout const& msix = identity_.msix;
    return msix.vectors != 0 && bar == msix.bar &&
           meets(offset, width, msix.table_offset, msix.vectors * MsixTable::kEntry);
}

bool Function::in_msix_memory(unsigned bar, std::uint64_t offset, unsigned width) const
{
    MsixLayout const& msix = identity_.msix;
    return in_msix_table(bar, offset, width) ||
           (msix.vectors != 0 && bar == msix.bar &&
            meets(offset, width, msix.pba_offset, MsixTable::pending_bytes(msix.vectors)));
}

bool Function::page_readable(unsigned bar, std::uint64_t offset) const
{
    auto const& pages = identity_.bars[bar].pages;
    std::uint64_t const page = offset >> k4K.lg2();
    return page < pages.size() && pages[page] == PageKind::readable;
}

// Memory that the device keeps current is as good as asking it.
std::uint64_t Function::device_read(unsigned bar, std::uint64_t offset, unsigned width)
{
    bool const memory = in_msix_memory(bar, offset, width) ||
                        (page_readable(bar, offset) && page_readable(bar, offset + width - 1));
    if (memory) return load(bars_[bar].bytes().data() + offset, width);
    return device_->bar_read(bar, offset, width) & ones(width);
}

Result<std::uint64_t> Function::bar_read(unsigned bar, std::uint64_t offset, unsigned width)
{
    assert(offset % width == 0 && offset + width <= identity_.bars[bar].size);
    Call const call{mutex_};
    file_reads_.fetch_add(1, std::memory_order_relaxed);
    if (in_msix_table(bar, offset, width)) return ones(width);
    if (!decoded(bar)) return fail(Errno::io);
    // VFIO does not look at COMMAND.IO; ports that are not decoded answer as an empty bus.
    if (identity_.bars[bar].kind == Bar::Kind::io && !config_->io_decoded()) return ones(width);
    return device_read(bar, offset, width);
}

Result<> Function::bar_write(unsigned bar, std::uint64_t offset, unsigned width,
                             std::uint64_t value)
{
    assert(offset % width == 0 && offset + width <= identity_.bars[bar].size);
    Call const call{mutex_};
    file_writes_.fetch_add(1, std::memory_order_relaxed);
    if (in_msix_table(bar, offset, width)) return {};
    if (!decoded(bar)) return fail(Errno::io);
    if (identity_.bars[bar].kind == Bar::Kind::io && !config_->io_decoded()) return {};
    if (!in_msix_memory(bar, offset, width))
        device_->bar_write(bar, offset, width, value & ones(width));
    return {};
}

Result<std::uint64_t> Function::mmio_read(unsigned bar, std::uint64_t offset, unsigned width)
{
    if (bar >= kBars || bars_[bar].bytes().empty()) return fail(Errno::inval);
    Call const call{mutex_};
    mmio_reads_.fetch_add(1, std::memory_order_relaxed);
    return bus_read(bar, offset, width);
}

// What another master on the bus is answered; beyond the BAR in its last page there is nothing.
// REQUIRES: mutex_ held.
Result<std::uint64_t> Function::bus_read(unsigned bar, std::uint64_t offset, unsigned width)
{
    std::uint64_t const size = identity_.bars[bar].size;
    if (low_power_ || !decoded(bar)) return fail(Errno::io);
    if (offset >= size || width > size - offset) return ones(width);
    return device_read(bar, offset, width);
}

Result<> Function::mmio_write(unsigned bar, std::uint64_t offset, unsigned width,
                              std::uint64_t value)
{
    if (bar >= kBars || bars_[bar].bytes().empty()) return fail(Errno::inval);
    Call const call{mutex_};
    mmio_writes_.fetch_add(1, std::memory_order_relaxed);
    return bus_write(bar, offset, width, value);
}

// REQUIRES: mutex_ held.
Result<> Function::bus_write(unsigned bar, std::uint64_t offset, unsigned width,
                             std::uint64_t value)
{
    std::uint64_t const size = identity_.bars[bar].size;
    if (low_power_ || !decoded(bar)) return fail(Errno::io);
    if (offset >= size || width > size - offset) return {};
    if (in_msix_table(bar, offset, width)) {
        std::memcpy(bars_[bar].bytes().data() + offset, &value, width);
        interrupts_->table_written();
    } else if (!in_msix_memory(bar, offset, width)) {
        device_->bar_write(bar, offset, width, value & ones(width));
    }
    return {};
}

Result<> Function::enter_low_power(UniqueFd wakeup)
{
    std::lock_guard const lock{mutex_};
    if (low_power_) return fail(Errno::inval);
    low_power_ = true;
    wakeup_ = std::move(wakeup);
    return {};
}

void Function::exit_low_power()
{
    std::lock_guard const lock{mutex_};
    low_power_ = false;
    wakeup_ = UniqueFd{};
}

void Function::access()
{
    if (!low_power_) return;
    std::lock_guard const lock{mutex_};
    if (!wakeup_) return;
    low_power_ = false;
    ClientEvent{std::exchange(wakeup_, UniqueFd{})}.signal();
}

Result<> Function::check(IoEvents::Write const& write) const
{
    if (write.bar >= kBars) return fail(Errno::inval);
    std::uint64_t const size = identity_.bars[write.bar].size;
    if (write.offset >= size || write.width > size - write.offset) return fail(Errno::inval);
    if (in_msix_table(write.bar, write.offset, write.width)) return fail(Errno::inval);
    return {};
}

Result<> Function::add_io_event(IoEvents::Write const& write, FunctionRef<Result<UniqueFd>()> open)
{
    std::lock_guard const lock{mutex_};
    TRY(check(write));
    if (io_events_.has(write)) return fail(Errno::exist);
    return io_events_.add(write, TRY(open()));
}

Result<> Function::remove_io_event(IoEvents::Write const& write)
{
    std::lock_guard const lock{mutex_};
    TRY(check(write));
    return io_events_.remove(write);
}

// On the watch's thread. A write to a BAR that is not decoded is lost on the bus.
void Function::notified(EventfdWatch::Ticket ticket)
{
    Call const call{mutex_};
    interrupts_->notified(ticket);
    if (ticket == timer_ticket_ && alarm_is_due()) device_->alarm();
    auto const write = io_events_.find(ticket);
    if (!write || !decoded(write->bar)) return;
    device_->bar_write(write->bar, write->offset, write->width, write->value & ones(write->width));
    io_event_writes_.fetch_add(1);
}

Result<> Function::set_alarm(std::chrono::milliseconds after)
{
    if (after.count() == 0 && !timer_) return {};
    if (!timer_) TRY(make_timer());
    alarm_set_ = after.count() != 0;
    auto const seconds = std::chrono::duration_cast<std::chrono::seconds>(after);
    itimerspec const when{
        .it_interval = {},
        .it_value = {.tv_sec = seconds.count(), .tv_nsec = (after - seconds).count() * 1'000'000}};
    ::timerfd_settime(timer_.get(), 0, &when, nullptr);
    return {};
}

Result<> Function::make_timer()
{
    UniqueFd timer{::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)};
    UniqueFd watched{timer ? ::fcntl(timer.get(), F_DUPFD_CLOEXEC, 0) : -1};
    if (!watched) return fail(Errno::mfile);
    timer_ticket_ = TRY(watch_.add(std::move(watched), EventfdWatch::Kind::timer));
    timer_ = std::move(timer);
    return {};
}

// False where it was set anew, or taken back, after its time had come and before the lock was had.
bool Function::alarm_is_due()
{
    itimerspec left{};
    if (!alarm_set_ || ::timerfd_gettime(timer_.get(), &left) != 0) return false;
    if (left.it_value.tv_sec != 0 || left.it_value.tv_nsec != 0) return false;
    alarm_set_ = false;
    return true;
}

Function::Peer Function::peer(unsigned bar) const
{
    if (bar >= kBars || windows_[bar] == nullptr) return {};
    return {windows_[bar].get(), windows_[bar]->start()};
}

Result<> Function::peer_read(unsigned bar, std::uint64_t offset, std::span<std::byte> into)
{
    if (!mutex_.lock_as_a_device()) return fail(Errno::io);
    Call const call{mutex_, std::adopt_lock};
    for (std::size_t done = 0; done < into.size();) {
        unsigned const width = access_width(offset + done, into.size() - done);
        std::uint64_t const value = TRY(bus_read(bar, offset + done, width));
        std::memcpy(into.data() + done, &value, width);
        done += width;
    }
    return {};
}

Result<> Function::peer_write(unsigned bar, std::uint64_t offset, std::span<std::byte const> from)
{
    if (!mutex_.lock_as_a_device()) return fail(Errno::io);
    Call const call{mutex_, std::adopt_lock};
    for (std::size_t done = 0; done < from.size();) {
        unsigned const width = access_width(offset + done, from.size() - done);
        std::uint64_t value = 0;
        std::memcpy(&value, from.data() + done, width);
        TRY(bus_write(bar, offset + done, width, value));
        done += width;
    }
    return {};
}

Result<> Function::set_irqs(IrqRequest const& request, OpenEventfd open)
{
    std::lock_guard const lock{mutex_};
    auto const done = interrupts_->set(request, open);
    // On failure too: what was set up before the error may be gone.
    config_->show_msix(interrupts_->msix_active());
    config_->show_msi(interrupts_->msi_vectors());
    if (message_signalled()) lower();  // a function asserts no INTx while it sends messages
    return done;
}

bool Function::message_signalled() const
{
    return interrupts_->msix_active() || config_->msi_enabled();
}

// A message is a write on the bus: it needs bus mastership as DMA does.
void Function::raise(unsigned vector)
{
    if (message_signalled()) {
        interrupts_->message(vector, dma_.bus_master());
        return;
    }
    if (identity_.interrupt_pin == 0) return;
    interrupts_->assert_intx();
    config_->show_intx(true);
}

void Function::lower()
{
    interrupts_->deassert_intx();
    config_->show_intx(false);
}

Function::Counters Function::counters() const
{
    auto const total = [](auto const& counter) { return counter.load(std::memory_order_relaxed); };
    return {.interrupts = interrupts_->delivered(),
            .mmio_reads = total(mmio_reads_),
            .mmio_writes = total(mmio_writes_),
            .file_reads = total(file_reads_),
            .file_writes = total(file_writes_),
            .io_events = io_event_writes_.load(),
            .dma = dma_.counters()};
}

}  // namespace pinfold::pci
