#include "devices/nvme/settings.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <optional>
#include <set>

namespace pinfold::devices::nvme {
namespace {

template <class T>
using Checked = pci::Checked<T>;

std::unexpected<std::string> refuse(std::string sentence)
{
    return std::unexpected{std::move(sentence)};
}

// "disk12" is {"disk", 12}; a name alone, or a number that is none of ours, has no number.
struct Key {
    std::string_view name;
    std::optional<unsigned> number;
};
Key split(std::string_view key)
{
    auto const digits = key.find_last_not_of("0123456789") + 1;
    unsigned number = 0;
    auto const text = key.substr(digits);
    auto const parsed = std::from_chars(text.data(), text.data() + text.size(), number);
    if (text.empty() || text.front() == '0' || parsed.ec != std::errc{} ||
        number > kMaxNamespaces) {
        return {key, std::nullopt};
    }
    return {key.substr(0, digits), number};
}

Checked<bool> parse_flag(pci::Setting const& setting)
{
    if (auto const flag = pci::as_flag(setting.value)) return *flag;
    return refuse(fmt::format("nvme: {}={}: say yes or no", setting.key, setting.value));
}

Checked<DiskAccess> parse_access(pci::Setting const& setting)
{
    auto const read_only = parse_flag(setting);
    if (!read_only) return std::unexpected{read_only.error()};
    return *read_only ? DiskAccess::read_only : DiskAccess::read_write;
}

Checked<unsigned> parse_block_size(pci::Setting const& setting)
{
    if (setting.value == "512") return 512U;
    if (setting.value == "4096") return 4096U;
    return refuse(
        fmt::format("nvme: {}={}: a block is 512 or 4096 bytes", setting.key, setting.value));
}

Checked<std::string> parse_serial(pci::Setting const& setting)
{
    auto const printable = [](char letter) { return letter > ' ' && letter <= '~'; };
    if (setting.value.empty() || setting.value.size() > 20 ||
        !std::ranges::all_of(setting.value, printable)) {
        return refuse(fmt::format(
            "nvme: serial={}: a serial number is 1 to 20 ASCII characters without spaces",
            setting.value));
    }
    return setting.value;
}

// What was said, by number; 0 is what was said of all namespaces.
struct Said {
    std::map<unsigned, std::string> disks;
    std::map<unsigned, DiskAccess> access;
    std::map<unsigned, unsigned> block_sizes;
    std::string serial;
    bool error_reporting = true;
};

template <class T>
T pick(std::map<unsigned, T> const& said, unsigned number, T otherwise)
{
    if (auto const own = said.find(number); own != said.end()) return own->second;
    if (auto const all = said.find(0); all != said.end()) return all->second;
    return otherwise;
}

template <class Slot, class Value>
Checked<void> take(Slot&& slot, Checked<Value> value)
{
    if (!value) return std::unexpected{std::move(value.error())};
    slot = std::move(*value);
    return {};
}

Checked<void> take_setting(Said& said, pci::Setting const& setting)
{
    auto const [name, number] = split(setting.key);
    if (name == "disk") {
        if (setting.value.empty())
            return refuse(fmt::format("nvme: {}= names no file", setting.key));
        said.disks[number.value_or(1)] = setting.value;
        return {};
    }
    if (name == "readonly") return take(said.access[number.value_or(0)], parse_access(setting));
    if (name == "block_size") {
        return take(said.block_sizes[number.value_or(0)], parse_block_size(setting));
    }
    if (name == "serial" && !number) return take(said.serial, parse_serial(setting));
    if (name == "aer" && !number) return take(said.error_reporting, parse_flag(setting));
    return refuse(fmt::format(
        "nvme: there is no setting '{}'; there are disk, readonly, block_size, serial, "
        "aer, and disk2 to disk{} with readonlyN and block_sizeN for further namespaces",
        setting.key, kMaxNamespaces));
}

// What belongs to a namespace needs its disk.
Checked<void> check_numbers(Said const& said)
{
    auto const count = static_cast<unsigned>(said.disks.size());
    if (count == 0)
        return refuse("nvme: needs disk=FILE, the file or block device that is its disk");
    if (auto const last = said.disks.rbegin()->first; last != count) {
        unsigned missing = 1;
        while (said.disks.contains(missing)) ++missing;
        return refuse(fmt::format("nvme: disk{} is given, but disk{} is not", last,
                                  missing == 1 ? "" : std::to_string(missing)));
    }
    for (unsigned number = count + 1; number <= kMaxNamespaces; ++number) {
        if (said.access.contains(number) || said.block_sizes.contains(number)) {
            return refuse(
                fmt::format("nvme: a setting is given for disk{0}, but disk{0} is not", number));
        }
    }
    return {};
}

constexpr std::array<pci::Model::Option, 8> kOptions{{
    {"disk", "FILE", "the disk, a regular file or a block device: namespace 1", true},
    {"disk2", "FILE", "a second namespace, and so on to disk16", false},
    {"readonly", "yes|no", "no namespace can be written (no)", false},
    {"readonlyN", "yes|no", "the same for namespace N alone", false},
    {"block_size", "512|4096", "bytes in a logical block (512)", false},
    {"block_sizeN", "512|4096", "the same for namespace N alone", false},
    {"serial", "TEXT", "serial number (made from the name of the first disk)", false},
    {"aer", "yes|no", "Advanced Error Reporting in configuration space (yes)", false},
}};

}  // namespace

Checked<Settings> parse_settings(pci::DeviceSpec const& spec)
{
    Said said;
    std::set<std::string> keys;
    for (auto const& setting : spec.settings) {
        auto const key = setting.key == "disk1" ? "disk" : setting.key;
        if (!keys.insert(key).second) {
            return refuse(fmt::format("nvme: {} is given twice", setting.key));
        }
        if (auto const taken = take_setting(said, setting); !taken) {
            return std::unexpected{taken.error()};
        }
    }
    if (auto const checked = check_numbers(said); !checked) return std::unexpected{checked.error()};

    Settings settings{
        .serial = said.serial, .error_reporting = said.error_reporting, .namespaces = {}};
    for (auto const& [number, disk] : said.disks) {
        settings.namespaces.push_back({.disk = disk,
                                       .access = pick(said.access, number, DiskAccess::read_write),
                                       .block_size = pick(said.block_sizes, number, 512U)});
    }
    return settings;
}

std::span<pci::Model::Option const> setting_options() { return kOptions; }

}  // namespace pinfold::devices::nvme
