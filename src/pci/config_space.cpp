#include "pci/config_space.hpp"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>

#include "pci/registers.hpp"

namespace pinfold::pci {

template <class T>
T ConfigSpace::get(std::size_t offset) const
{
    T value;
    std::memcpy(&value, &bytes_[offset], sizeof value);
    return value;
}

template <class T>
void ConfigSpace::put(std::size_t offset, T value)
{
    std::memcpy(&bytes_[offset], &value, sizeof value);
}

template <class T>
void ConfigSpace::allow(std::size_t offset, T mask)
{
    std::memcpy(&writable_[offset], &mask, sizeof mask);
}

ConfigSpace::ConfigSpace(Identity const& identity, BarAddresses const& addresses)
    : bytes_(identity.pci_express ? reg::kExpressSize : reg::kConventionalSize),
      writable_(bytes_.size())
{
    lay_out_header(identity, addresses);
    lay_out_bars(identity, addresses);
    lay_out_capabilities(identity);
    initial_ = bytes_;
}

void ConfigSpace::lay_out_header(Identity const& identity, BarAddresses const&)
{
    put(reg::kVendor, identity.vendor);
    put(reg::kDevice, identity.device);
    put(reg::kClassRevision, identity.class_code << 8 | identity.revision);
    put(reg::kSubsystemVendor, identity.subsystem_vendor);
    put(reg::kSubsystem, identity.subsystem);
    put(reg::kInterruptPin, static_cast<std::uint8_t>(identity.interrupt_pin));
    if (identity.interrupt_pin != 0) put(reg::kInterruptLine, reg::kFirmwareLine);
    put(reg::kCommand, reg::kFirmwareCommand);

    allow(reg::kCommand, reg::kWritableCommand);
    allow(reg::kCacheLineSize, std::uint8_t{0xff});
    allow(reg::kInterruptLine, std::uint8_t{0xff});
}

// A BAR's address bits below its size are fixed: that is how sizing works.
void ConfigSpace::lay_out_bars(Identity const& identity, BarAddresses const& addresses)
{
    for (std::size_t i = 0; i < identity.bars.size(); ++i) {
        Bar const& bar = identity.bars[i];
        if (bar.kind == Bar::Kind::none) continue;
        std::uint64_t const settable = ~(bar.size - 1);
        std::uint64_t const type = bar.kind == Bar::Kind::io         ? reg::kBarIo
                                   : bar.kind == Bar::Kind::memory64 ? reg::kBarMemory64
                                                                     : 0;
        std::uint64_t const prefetch = bar.prefetchable ? reg::kBarPrefetchable : 0;
        std::uint64_t const value = (addresses[i] & settable) | type | prefetch;
        put(reg::kBars + 4 * i, static_cast<std::uint32_t>(value));
        allow(reg::kBars + 4 * i, static_cast<std::uint32_t>(settable));
        if (bar.kind != Bar::Kind::memory64) continue;
        put(reg::kBars + 4 * i + 4, static_cast<std::uint32_t>(value >> 32));
        allow(reg::kBars + 4 * i + 4, static_cast<std::uint32_t>(settable >> 32));
    }
}

void ConfigSpace::lay_out_capabilities(Identity const& identity)
{
    if (identity.pci_express) {
        power_management();
        next_free_ = 0x50;
        express();
        next_free_ = 0x90;
    }
    if (identity.msix.vectors != 0) msix(identity.msix);
    next_free_ = std::max(next_free_, identity.msix.vectors != 0 ? std::size_t{0xa0} : 0);
    if (identity.msi_vectors != 0) msi(identity.msi_vectors);
    for (auto const& capability : identity.vendor_capabilities) vendor(capability);
    if (last_capability_ != 0) put(reg::kStatus, reg::kStatusCapabilities);
    if (identity.error_reporting) error_reporting();
    for (auto const& capability : identity.extended_capabilities) extended(capability);
}

// Links a capability of `size` bytes at the next free place into the list.
std::size_t ConfigSpace::open_capability(std::uint8_t id, std::size_t size)
{
    std::size_t const at = next_free_;
    std::size_t const link = last_capability_ == 0 ? reg::kCapabilities : last_capability_ + 1;
    put(link, static_cast<std::uint8_t>(at));
    put(at, id);
    last_capability_ = at;
    next_free_ = (at + size + 3) & ~std::size_t{3};
    return at;
}

// D0 and D3hot, no PME; coming back from D3hot loses nothing (No_Soft_Reset).
void ConfigSpace::power_management()
{
    power_ = open_capability(reg::kCapabilityPower, 8);
    put(power_ + 2, std::uint16_t{3});  // version 1.2 of the PM specification
    put(power_ + reg::kPowerControl, reg::kNoSoftReset);
    allow(power_ + reg::kPowerControl, reg::kPowerState);
}

// An endpoint with function level reset. The link is one lane at 2.5 GT/s and up.
void ConfigSpace::express()
{
    express_ = open_capability(reg::kCapabilityExpress, 0x3c);
    put(express_ + 2, std::uint16_t{2});
    put(express_ + 4, reg::kExpressFlr | reg::kExpressRoleBasedErrors);
    put(express_ + reg::kExpressControl, reg::kExpressControlInitial);
    allow(express_ + reg::kExpressControl, reg::kExpressControlWritable);
    put(express_ + 0x0c, std::uint32_t{0x11});
    put(express_ + 0x12, std::uint16_t{0x11});
}

// 64-bit addresses, no masks. Address, data and the lower half of control, what it says of itself
// included, are the client's own (rule V-21).
void ConfigSpace::msi(unsigned vectors)
{
    msi_ = open_capability(reg::kCapabilityMsi, 14);
    auto const multiple = static_cast<unsigned>(std::countr_zero(vectors));
    put(msi_ + 2, static_cast<std::uint16_t>(reg::kMsi64Bit | multiple << 1));
    allow(msi_ + 2, std::uint16_t{0xff});
    allow(msi_ + 4, ~std::uint32_t{0});
    allow(msi_ + 8, ~std::uint32_t{0});
    allow(msi_ + 12, std::uint16_t{0xffff});
}

void ConfigSpace::extended(ExtendedCapability const& capability)
{
    std::size_t const at = capability.at;
    assert(at + 4 + capability.bytes.size() <= bytes_.size());
    assert((at == reg::kExtended) == (last_extended_ == 0));
    if (last_extended_ != 0)
        put(last_extended_, get<std::uint32_t>(last_extended_) | std::uint32_t{capability.at}
                                                                     << reg::kExtendedLink);
    put(at, capability.id | std::uint32_t{1} << reg::kExtendedVersion);
    std::ranges::copy(capability.bytes, bytes_.begin() + static_cast<std::ptrdiff_t>(at) + 4);
    last_extended_ = at;
}

// No error ever happens on this bus, so what is left of it is what to
// do about errors: masks and severity.
void ConfigSpace::error_reporting()
{
    assert(express_ != 0);
    constexpr std::size_t at = reg::kExtended;
    last_extended_ = at;
    put(at, reg::kExtendedErrors | std::uint32_t{2} << reg::kExtendedVersion);
    put(at + reg::kErrorsSeverity, reg::kFatalErrors);
    put(at + reg::kErrorsCorrectableMask, reg::kAdvisoryErrors);
    allow(at + reg::kErrorsUncorrectableMask, reg::kUncorrectableErrors);
    allow(at + reg::kErrorsSeverity, reg::kUncorrectableErrors);
    allow(at + reg::kErrorsCorrectableMask, reg::kCorrectableErrors);
}

void ConfigSpace::vendor(VendorCapability const& capability)
{
    next_free_ = capability.at;
    auto const at = open_capability(capability.id, 2 + capability.bytes.size());
    assert(next_free_ <= bytes_.size());
    std::ranges::copy(capability.bytes, bytes_.begin() + static_cast<std::ptrdiff_t>(at) + 2);
    std::ranges::copy(capability.writable, writable_.begin() + static_cast<std::ptrdiff_t>(at) + 2);
}

void ConfigSpace::msix(MsixLayout const& layout)
{
    if (layout.capability != 0) next_free_ = layout.capability;
    msix_ = open_capability(reg::kCapabilityMsix, 12);
    put(msix_ + 2, static_cast<std::uint16_t>(layout.vectors - 1));
    put(msix_ + 4, layout.table_offset | layout.bar);
    put(msix_ + 8, layout.pba_offset | layout.bar);
}

void ConfigSpace::read(std::size_t offset, std::span<std::byte> into) const
{
    assert(offset + into.size() <= bytes_.size());
    if (!into.empty()) std::memcpy(into.data(), &bytes_[offset], into.size());
}

ConfigSpace::Request ConfigSpace::write(std::size_t offset, unsigned width, std::uint32_t value)
{
    assert((width == 1 || width == 2 || width == 4) && offset % width == 0);
    assert(offset + width <= bytes_.size());
    for (unsigned i = 0; i < width; ++i, value >>= 8) {
        std::uint8_t const mask = writable_[offset + i];
        bytes_[offset + i] = static_cast<std::uint8_t>((bytes_[offset + i] & ~mask) |
                                                       (static_cast<std::uint8_t>(value) & mask));
    }

    if (msi_ != 0 && offset <= msi_ + 2 && offset + width > msi_ + 2) limit_msi_control();
    if (express_ == 0) return Request::none;
    auto const control = get<std::uint16_t>(express_ + reg::kExpressControl);
    if ((control & reg::kExpressControlFlr) == 0) return Request::none;
    put(express_ + reg::kExpressControl,
        static_cast<std::uint16_t>(control & ~reg::kExpressControlFlr));
    return Request::reset;
}

// Asks only where capabilities are, which never changes.
bool ConfigSpace::stops_device(std::size_t offset, unsigned width, std::uint32_t value) const
{
    auto const writes = [&](std::size_t at) { return at >= offset && at < offset + width; };
    auto const byte = [&](std::size_t at) { return value >> 8 * (at - offset) & 0xff; };
    if (writes(reg::kCommand) && (byte(reg::kCommand) & reg::kCommandMaster) == 0) return true;
    auto const state = power_ + reg::kPowerControl;
    if (power_ != 0 && writes(state) && (byte(state) & reg::kPowerState) != 0) return true;
    auto const control = express_ + reg::kExpressControl + 1;
    return express_ != 0 && writes(control) && (byte(control) & reg::kExpressControlFlr >> 8) != 0;
}

// The client's MSI control within what SET_IRQS has set up: enabled only there, and no more vectors
// than there are.
void ConfigSpace::limit_msi_control()
{
    unsigned const written = get<std::uint16_t>(msi_ + 2);
    unsigned const most =
        msi_vectors_ == 0 ? 0 : static_cast<unsigned>(std::bit_width(msi_vectors_ - 1));
    unsigned const vectors = std::min((written & reg::kMsiVectorsEnabled) >> 4, most);
    msi_on_ = msi_vectors_ != 0 && (written & reg::kMsiEnable) != 0;
    unsigned const fixed = written & ~(unsigned{reg::kMsiVectorsEnabled} | reg::kMsiEnable);
    put(msi_ + 2, static_cast<std::uint16_t>(fixed | vectors << 4 | (msi_on_ ? 1U : 0U)));
}

void ConfigSpace::power_on()
{
    bytes_ = initial_;
    msi_vectors_ = 0;
    msi_on_ = false;
}

void ConfigSpace::lead_slot()
{
    put(reg::kHeaderType, reg::kMultifunction);
    initial_[reg::kHeaderType] = reg::kMultifunction;
}

void ConfigSpace::wake()
{
    if (power_ != 0)
        bytes_[power_ + reg::kPowerControl] &= static_cast<std::uint8_t>(~reg::kPowerState);
}

bool ConfigSpace::awake() const
{
    return power_ == 0 || (bytes_[power_ + reg::kPowerControl] & reg::kPowerState) == 0;
}

bool ConfigSpace::memory_decoded() const
{
    return awake() && (get<std::uint16_t>(reg::kCommand) & reg::kCommandMemory) != 0;
}

bool ConfigSpace::io_decoded() const
{
    return awake() && (get<std::uint16_t>(reg::kCommand) & reg::kCommandIo) != 0;
}

bool ConfigSpace::bus_master() const
{
    return awake() && (get<std::uint16_t>(reg::kCommand) & reg::kCommandMaster) != 0;
}

bool ConfigSpace::intx_disabled() const
{
    return (get<std::uint16_t>(reg::kCommand) & reg::kCommandIntxDisable) != 0;
}

void ConfigSpace::show_msix(bool enabled)
{
    if (msix_ == 0) return;
    auto const vectors = static_cast<std::uint16_t>(get<std::uint16_t>(msix_ + 2) & 0x7ff);
    put(msix_ + 2, static_cast<std::uint16_t>(enabled ? vectors | reg::kMsixEnable : vectors));
}

void ConfigSpace::show_msi(unsigned vectors)
{
    if (msi_vectors_ == vectors) return;
    msi_vectors_ = vectors;
    msi_on_ = vectors != 0;
}

void ConfigSpace::show_intx(bool asserted)
{
    auto const status = get<std::uint16_t>(reg::kStatus);
    put(reg::kStatus, static_cast<std::uint16_t>(asserted ? status | reg::kStatusInterrupt
                                                          : status & ~reg::kStatusInterrupt));
}

}  // namespace pinfold::pci
