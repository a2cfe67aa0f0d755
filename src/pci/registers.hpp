// Offsets and bits of configuration space: PCI Local Bus 3.0 chapter 6, PM 1.2, PCI Express 7.5.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pinfold::pci::reg {

inline constexpr std::size_t kConventionalSize = 256;
inline constexpr std::size_t kExpressSize = 4096;

inline constexpr std::size_t kVendor = 0x00;
inline constexpr std::size_t kDevice = 0x02;
inline constexpr std::size_t kCommand = 0x04;
inline constexpr std::size_t kStatus = 0x06;
inline constexpr std::size_t kClassRevision = 0x08;
inline constexpr std::size_t kCacheLineSize = 0x0c;
inline constexpr std::size_t kHeaderType = 0x0e;
inline constexpr std::size_t kBars = 0x10;
inline constexpr std::size_t kSubsystemVendor = 0x2c;
inline constexpr std::size_t kSubsystem = 0x2e;
inline constexpr std::size_t kCapabilities = 0x34;
inline constexpr std::size_t kInterruptLine = 0x3c;
inline constexpr std::size_t kInterruptPin = 0x3d;

inline constexpr std::uint16_t kCommandIo = 1 << 0;
inline constexpr std::uint16_t kCommandMemory = 1 << 1;
inline constexpr std::uint16_t kCommandMaster = 1 << 2;
inline constexpr std::uint16_t kCommandSerr = 1 << 8;
inline constexpr std::uint16_t kCommandIntxDisable = 1 << 10;
inline constexpr std::uint16_t kWritableCommand =
    kCommandIo | kCommandMemory | kCommandMaster | kCommandSerr | kCommandIntxDisable;
// What a PC's firmware (SeaBIOS) leaves enabled, and an interrupt line as it gives out.
inline constexpr std::uint16_t kFirmwareCommand = kCommandIo | kCommandMemory | kCommandSerr;
inline constexpr std::uint8_t kFirmwareLine = 11;

inline constexpr std::uint16_t kStatusInterrupt = 1 << 3;
inline constexpr std::uint16_t kStatusCapabilities = 1 << 4;

inline constexpr std::uint8_t kMultifunction = 0x80;  // of the header type

inline constexpr std::uint64_t kBarIo = 1;
inline constexpr std::uint64_t kBarMemory64 = 4;
inline constexpr std::uint64_t kBarPrefetchable = 8;

inline constexpr std::uint8_t kCapabilityPower = 0x01;
inline constexpr std::uint8_t kCapabilityMsi = 0x05;
inline constexpr std::uint8_t kCapabilityVendor = 0x09;
inline constexpr std::uint8_t kCapabilityExpress = 0x10;
inline constexpr std::uint8_t kCapabilityMsix = 0x11;

inline constexpr std::size_t kPowerControl = 4;  // in the PM capability
inline constexpr std::uint16_t kPowerState = 3;
inline constexpr std::uint16_t kNoSoftReset = 1 << 3;

inline constexpr std::size_t kExpressControl = 8;  // in the PCI Express capability
inline constexpr std::uint32_t kExpressRoleBasedErrors = 1U << 15;
inline constexpr std::uint32_t kExpressFlr = 1U << 28;
inline constexpr std::uint16_t kExpressControlFlr = 1 << 15;
// Relaxed ordering, no snoop, read requests of 512 bytes.
inline constexpr std::uint16_t kExpressControlInitial = 0x2810;
// All but extended tags, phantom functions and auxiliary power.
inline constexpr std::uint16_t kExpressControlWritable = 0xf8ff;

// Extended capabilities: 16 bits of id, 4 of version, 12 of link.
inline constexpr std::size_t kExtended = 0x100;
inline constexpr std::uint32_t kExtendedErrors = 0x0001;
inline constexpr unsigned kExtendedVersion = 16, kExtendedLink = 20;

// In Advanced Error Reporting (PCI Express 4.0, 7.8.4). What an endpoint without ECRC can report,
// and what is severe or masked to begin with.
inline constexpr std::size_t kErrorsUncorrectableMask = 0x08;
inline constexpr std::size_t kErrorsSeverity = 0x0c;
inline constexpr std::size_t kErrorsCorrectableMask = 0x14;
inline constexpr std::uint32_t kUncorrectableErrors = 0x0017'f010;
inline constexpr std::uint32_t kFatalErrors = 0x0006'2010;
inline constexpr std::uint32_t kCorrectableErrors = 0x0000'31c1;
inline constexpr std::uint32_t kAdvisoryErrors = 0x0000'2000;

inline constexpr std::uint16_t kMsiEnable = 1 << 0;
inline constexpr std::uint16_t kMsiVectorsEnabled = 7 << 4;
inline constexpr std::uint16_t kMsi64Bit = 1 << 7;
inline constexpr std::uint16_t kMsixEnable = 1 << 15;

}  // namespace pinfold::pci::reg
