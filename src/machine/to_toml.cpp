#include <fmt/format.h>

#include <algorithm>

#include "machine/description.hpp"
#include "machine/text.hpp"
#include "machine/words.hpp"

namespace pinfold::machine {

namespace {

// A TOML basic string. Bytes that are no UTF-8 cannot be said in TOML; check() refuses them.
std::string toml_string(std::string_view text)
{
    std::string out = "\"";
    for (char const c : text) {
        auto const byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\')
            out += {'\\', c};
        else if (byte < 0x20 || byte == 0x7f)
            out += fmt::format("\\u{:04x}", byte);
        else
            out += c;
    }
    return out + '"';
}

// TOML's own integers end at 2^63-1; a string has no end.
std::string toml_number(std::uint64_t value)
{
    return (value >> 63) == 0 ? fmt::format("{:#x}", value) : fmt::format("\"{:#x}\"", value);
}

std::string host_toml(Description const& machine)
{
    return fmt::format(
        "\n[host]\npage_size = \"{}\"\nmemlock = \"{}\"\nframes = \"{}\"\n"
        "frame_seed = {}\n",
        size_text(machine.host.page_size.bytes()), memlock_text(machine.host.memlock),
        word_of(kFrameWords, machine.host.frames), toml_number(machine.host.frame_seed));
}

// `table` names the table: "iommu", or one of an array.
std::string iommu_toml(std::string_view table, iommu::Iommu::Options const& iommu)
{
    auto out = fmt::format(
        "model = \"{}\"\npage_sizes = {}\naddress_width = {}\n"
        "enforces_coherency = {}\n"
        "remaps_interrupts = {}\n",
        word_of(kModelWords, iommu.model), toml_number(iommu.page_sizes.bitmap()),
        iommu.address_width, iommu.enforces_coherency, iommu.remaps_interrupts);
    if (iommu.table_budget != ~std::uint64_t{0})
        out += fmt::format("table_budget = {}\n", toml_number(iommu.table_budget));
    if (iommu.reserved.empty()) out += "reserved = []\n";
    for (auto const& region : iommu.reserved)
        out +=
            fmt::format("\n[[{}.reserved]]\nstart = {}\nlast = {}\ntype = \"{}\"\n", table,
                        toml_number(region.range.start.raw()), toml_number(region.range.last.raw()),
                        word_of(kReservedWords, region.type));
    return out;
}

std::string device_toml(DeviceEntry const& entry)
{
    auto out = fmt::format("\n[[device]]\nmodel = {}\nbdf = \"{}\"\n",
                           toml_string(entry.spec.model), entry.bdf.text());
    if (!entry.iommu.empty()) out += fmt::format("iommu = {}\n", toml_string(entry.iommu));
    if (entry.driver != DeviceEntry{}.driver)
        out += fmt::format("driver = {}\n", toml_string(entry.driver));
    if (entry.group) out += fmt::format("group = {}\n", *entry.group);

    // A setting that is there several times is a list in its place.
    auto const& settings = entry.spec.settings;
    for (auto at = settings.begin(); at != settings.end(); ++at) {
        auto const same = [&](pci::Setting const& other) { return other.key == at->key; };
        if (std::any_of(settings.begin(), at, same)) continue;
        std::string values;
        for (auto const& setting : settings)
            if (same(setting)) values += (values.empty() ? "" : ", ") + toml_string(setting.value);
        if (std::count_if(at, settings.end(), same) > 1) values = fmt::format("[{}]", values);
        out += fmt::format("{} = {}\n", toml_string(at->key), values);
    }
    return out;
}

}  // namespace

std::string to_toml(Description const& machine)
{
    auto out = fmt::format("name = {}\nkernel = {}\n", toml_string(machine.name),
                           toml_string(name(machine.kernel)));
    out += host_toml(machine);
    out += "\n[iommu]\n" + iommu_toml("iommu", machine.iommu);
    for (auto const& extra : machine.extra_iommus)
        out += fmt::format("\n[[extra_iommu]]\nname = {}\n{}", toml_string(extra.name),
                           iommu_toml("extra_iommu", extra.options));
    out += fmt::format(
        "\n[type1]\npolicy = \"{}\"\nallow_coarse = {}\ndma_entry_limit = "
        "{}\nallow_unsafe_interrupts = {}\n"
        "disable_hugepages = {}\n",
        word_of(kPolicyWords, machine.policy), machine.allow_coarse, machine.dma_entry_limit,
        machine.allow_unsafe_interrupts, machine.disable_hugepages);
    for (auto const& entry : machine.devices) out += device_toml(entry);
    return out;
}

}  // namespace pinfold::machine
