#include "devices/virtio_net/control.hpp"

#include <cstring>
#include <optional>
#include <utility>

namespace pinfold::devices::virtio_net {

namespace {

// Takes a value off the front of what the driver sent; nullopt: there is not so much left.
template <class T>
std::optional<T> take(std::span<std::byte const>& bytes)
{
    if (bytes.size() < sizeof(T)) return std::nullopt;
    T value;
    std::memcpy(&value, bytes.data(), sizeof value);
    bytes = bytes.subspan(sizeof value);
    return value;
}

std::optional<std::vector<Mac>> take_table(std::span<std::byte const>& bytes)
{
    auto const entries = take<std::uint32_t>(bytes);
    if (!entries || *entries > bytes.size() / sizeof(Mac)) return std::nullopt;
    std::vector<Mac> table(*entries);
    for (Mac& address : table) address = *take<Mac>(bytes);
    return table;
}

bool rx_command(std::uint8_t command, std::span<std::byte const> data, ReceiveFilter& filter)
{
    auto const on = take<std::uint8_t>(data);
    return on && data.empty() && filter.set(RxCommand{command}, *on != 0);
}

bool mac_command(std::uint8_t command, std::span<std::byte const> data, ReceiveFilter& filter)
{
    if (MacCommand{command} == MacCommand::set_address) {
        auto const address = take<Mac>(data);
        if (!address || !data.empty()) return false;
        filter.set_own(*address);
        return true;
    }
    if (MacCommand{command} != MacCommand::set_table) return false;
    auto unicast = take_table(data);
    if (!unicast) return false;
    auto multicast = take_table(data);
    if (!multicast || !data.empty()) return false;
    filter.set_table(std::move(*unicast), std::move(*multicast));
    return true;
}

bool vlan_command(std::uint8_t command, std::span<std::byte const> data, ReceiveFilter& filter)
{
    auto const tag = take<std::uint16_t>(data);
    if (!tag || !data.empty()) return false;
    switch (VlanCommand{command}) {
        case VlanCommand::add: return filter.set_vlan(*tag, true);
        case VlanCommand::remove: return filter.set_vlan(*tag, false);
    }
    return false;
}

bool carry_out(std::span<std::byte const> bytes, ReceiveFilter& filter)
{
    auto const kind = take<std::uint8_t>(bytes);
    auto const command = take<std::uint8_t>(bytes);
    if (!kind || !command) return false;
    switch (ControlClass{*kind}) {
        case ControlClass::rx: return rx_command(*command, bytes, filter);
        case ControlClass::mac: return mac_command(*command, bytes, filter);
        case ControlClass::vlan: return vlan_command(*command, bytes, filter);
    }
    return false;
}

}  // namespace

std::uint8_t control(std::span<std::byte const> command, ReceiveFilter& filter)
{
    return carry_out(command, filter) ? kControlOk : kControlError;
}

}  // namespace pinfold::devices::virtio_net
