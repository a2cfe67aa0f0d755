// Which frames a port takes in: virtio 1.1, 5.1.6.5.1 to 5.1.6.5.3. Until the driver says anything
// else, all of them.
#pragma once

#include <bitset>
#include <cstddef>
#include <span>
#include <vector>

#include "devices/virtio_net/wire.hpp"

namespace pinfold::devices::virtio_net {

class ReceiveFilter {
public:
    explicit ReceiveFilter(Mac const& own) : own_{own} {}

    // REQUIRES: frame.size() >= kEthernetHeader.
    bool takes(std::span<std::byte const> frame) const;

    // False: there is no such command.
    bool set(RxCommand command, bool on);
    void set_own(Mac const& own) { own_ = own; }
    Mac const& own() const { return own_; }
    // A table that is longer than kMostAddresses takes every address of its kind.
    static constexpr std::size_t kMostAddresses = 64;
    void set_table(std::vector<Mac> unicast, std::vector<Mac> multicast);

    // Tagged frames are sorted out from `filter_vlans` on; a tag that the driver did not add is
    // then not taken. False: `tag` is none.
    void filter_vlans(bool on) { filters_vlans_ = on; }
    bool set_vlan(std::uint16_t tag, bool taken);

private:
    bool takes_address(Mac const& to) const;
    bool takes_vlan(std::span<std::byte const> frame) const;

    Mac own_;
    bool promiscuous_ = true, all_multicast_ = false, all_unicast_ = false;
    bool no_multicast_ = false, no_unicast_ = false, no_broadcast_ = false;
    std::vector<Mac> unicast_, multicast_;
    bool unicast_overflow_ = false, multicast_overflow_ = false;
    bool filters_vlans_ = false;
    std::bitset<4096> vlans_;
};

}  // namespace pinfold::devices::virtio_net
