// What crosses the bus between a driver and a virtio network device: feature bits, registers, ring
// entries, control commands. "Virtual I/O Device (VIRTIO) Version 1.1"; section numbers in this
// folder are that document's. All of it is little-endian; the legacy interface's guest-endian is
// that on x86.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace pinfold::devices::virtio_net {

static_assert(std::endian::native == std::endian::little);

using Mac = std::array<std::uint8_t, 6>;

// Feature bits, 5.1.3 and 6.
namespace feature {
constexpr std::uint64_t bit(unsigned number) { return std::uint64_t{1} << number; }
inline constexpr std::uint64_t kMac = bit(5);
inline constexpr std::uint64_t kMergeableBuffers = bit(15);
inline constexpr std::uint64_t kStatus = bit(16);
inline constexpr std::uint64_t kControlQueue = bit(17);
inline constexpr std::uint64_t kControlRx = bit(18);
inline constexpr std::uint64_t kControlVlan = bit(19);
inline constexpr std::uint64_t kControlRxExtra = bit(20);
inline constexpr std::uint64_t kControlMac = bit(23);
inline constexpr std::uint64_t kAnyLayout = bit(27);  // legacy only: version 1 always has it
inline constexpr std::uint64_t kIndirect = bit(28);
inline constexpr std::uint64_t kEventIndex = bit(29);
inline constexpr std::uint64_t kVersion1 = bit(32);
inline constexpr std::uint64_t kAccessPlatform = bit(33);  // an IOMMU stands before the device
}  // namespace feature

// Device status, 2.1.
namespace status {
inline constexpr std::uint8_t kDriverOk = 4;
inline constexpr std::uint8_t kFeaturesOk = 8;
inline constexpr std::uint8_t kNeedsReset = 0x40;
}  // namespace status

inline constexpr unsigned kReceive = 0, kTransmit = 1, kControl = 2, kQueues = 3;
inline constexpr std::array<std::uint16_t, kQueues> kQueueSizes{256, 256, 64};
inline constexpr std::uint16_t kMostDescriptors = 256;

// Interrupts: a vector for configuration changes and one for each queue.
inline constexpr unsigned kVectors = kQueues + 1;
inline constexpr std::uint16_t kNoVector = 0xffff;
inline constexpr std::uint8_t kIsrQueue = 1, kIsrConfig = 2;  // 4.1.4.5

// A split virtqueue, 2.6.
struct Descriptor {
    std::uint64_t address;
    std::uint32_t length;
    std::uint16_t flags;
    std::uint16_t next;
};
static_assert(sizeof(Descriptor) == 16);
inline constexpr std::uint16_t kDescriptorNext = 1, kDescriptorWrite = 2, kDescriptorIndirect = 4;

struct UsedElement {
    std::uint32_t id;
    std::uint32_t length;
};
static_assert(sizeof(UsedElement) == 8);
inline constexpr std::uint16_t kNoInterrupt = 1;  // avail->flags
inline constexpr std::uint16_t kNoNotify = 1;     // used->flags

// Before each frame, 5.1.6: ten bytes that are zero where nothing is offloaded, and in both
// directions `num_buffers` where buffers are mergeable or the device is version 1.
inline constexpr std::size_t kShortHeader = 10, kLongHeader = 12;

// The longest frame: 64 KiB of payload behind an Ethernet header with a VLAN tag.
inline constexpr std::size_t kEthernetHeader = 14;
inline constexpr std::size_t kMostFrame = 65536 + 18;

// Device configuration, 5.1.4.
struct NetConfig {
    Mac mac;
    std::uint16_t status;
};
static_assert(sizeof(NetConfig) == 8);
inline constexpr std::uint16_t kLinkUp = 1;

// Control commands, 5.1.6.5.
enum class ControlClass : std::uint8_t { rx = 0, mac = 1, vlan = 2 };
enum class RxCommand : std::uint8_t {
    promiscuous = 0,
    all_multicast = 1,
    all_unicast = 2,
    no_multicast = 3,
    no_unicast = 4,
    no_broadcast = 5,
};
enum class MacCommand : std::uint8_t { set_table = 0, set_address = 1 };
enum class VlanCommand : std::uint8_t { add = 0, remove = 1 };
inline constexpr std::uint8_t kControlOk = 0, kControlError = 1;

}  // namespace pinfold::devices::virtio_net
