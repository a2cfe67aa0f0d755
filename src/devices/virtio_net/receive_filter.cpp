#include "devices/virtio_net/receive_filter.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>

namespace pinfold::devices::virtio_net {

namespace {

constexpr Mac kBroadcast{0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
constexpr std::uint8_t kGroupBit = 1;  // of an address's first byte

unsigned big_endian16(std::span<std::byte const> at)
{
    return std::to_integer<unsigned>(at[0]) << 8 | std::to_integer<unsigned>(at[1]);
}

bool contains(std::vector<Mac> const& table, Mac const& address)
{
    return std::ranges::find(table, address) != table.end();
}

}  // namespace

bool ReceiveFilter::takes(std::span<std::byte const> frame) const
{
    assert(frame.size() >= kEthernetHeader);
    if (!takes_vlan(frame)) return false;
    if (promiscuous_) return true;
    Mac to;
    std::memcpy(to.data(), frame.data(), to.size());
    return takes_address(to);
}

bool ReceiveFilter::takes_address(Mac const& to) const
{
    if (to == kBroadcast) return !no_broadcast_;
    if ((to[0] & kGroupBit) != 0) {
        if (no_multicast_) return false;
        return all_multicast_ || multicast_overflow_ || contains(multicast_, to);
    }
    if (no_unicast_) return false;
    return all_unicast_ || unicast_overflow_ || to == own_ || contains(unicast_, to);
}

bool ReceiveFilter::takes_vlan(std::span<std::byte const> frame) const
{
    constexpr unsigned kTagged = 0x8100;
    constexpr std::size_t kType = 12, kTag = 14;
    if (!filters_vlans_ || frame.size() < kTag + 2) return true;
    if (big_endian16(frame.subspan(kType)) != kTagged) return true;
    return vlans_[big_endian16(frame.subspan(kTag)) & 0xfff];
}

bool ReceiveFilter::set(RxCommand command, bool on)
{
    switch (command) {
        case RxCommand::promiscuous: promiscuous_ = on; return true;
        case RxCommand::all_multicast: all_multicast_ = on; return true;
        case RxCommand::all_unicast: all_unicast_ = on; return true;
        case RxCommand::no_multicast: no_multicast_ = on; return true;
        case RxCommand::no_unicast: no_unicast_ = on; return true;
        case RxCommand::no_broadcast: no_broadcast_ = on; return true;
    }
    return false;
}

void ReceiveFilter::set_table(std::vector<Mac> unicast, std::vector<Mac> multicast)
{
    unicast_overflow_ = unicast.size() > kMostAddresses;
    multicast_overflow_ = multicast.size() > kMostAddresses;
    unicast_ = std::move(unicast);
    multicast_ = std::move(multicast);
}

bool ReceiveFilter::set_vlan(std::uint16_t tag, bool taken)
{
    if (tag >= vlans_.size()) return false;
    vlans_[tag] = taken;
    return true;
}

}  // namespace pinfold::devices::virtio_net
