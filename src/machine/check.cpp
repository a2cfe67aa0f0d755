// What can be wrong with a machine as a whole, and the numbers of its groups.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "devices/registry.hpp"
#include "machine/description.hpp"
#include "machine/drivers.h"
#include "machine/text.hpp"
#include "machine/words.hpp"

namespace pinfold::machine {

namespace {

std::unexpected<std::string> wrong(std::string sentence)
{
    return std::unexpected{std::move(sentence)};
}

Checked<void> check_host(Description const& machine)
{
    auto const size = machine.host.page_size;
    if (size != k4K && size != k16K && size != k64K)
        return wrong(fmt::format("machine {}: host.page_size {} is not 4K, 16K or 64K",
                                 in_quotes(machine.name), size_text(size.bytes())));
    return {};
}

// What Iommu::create() takes, for people.
std::string_view possibilities(iommu::Model model)
{
    switch (model) {
        case iommu::Model::vtd:
            return "vtd has 30 to 57 bits, and pages of 4K, 2M and 1G, 4K among them";
        case iommu::Model::amdvi:
            return "amdvi has 32 to 64 bits, and any pages from 4K up but 512G, 4K among them";
        case iommu::Model::smmuv3:
            return "smmuv3 has 32 to 48 bits (52 with 64K pages), and pages of 4K, 2M, 1G, of 16K, "
                   "32M, or of 64K, 512M";
        case iommu::Model::virtio: return "virtio has 32 to 64 bits, and any pages from 4K up";
        case iommu::Model::native: return "native has 16 to 64 bits, and any pages from 4K up";
    }
    return {};
}

// Linux cannot run like this: its DMA layer stops the machine when the first device is bound.
std::unexpected<std::string> coarse(Description const& machine, PageSize smallest)
{
    return wrong(fmt::format(
        "machine {}: the IOMMU's smallest page, {}, is larger than the host's, {}; no Linux runs "
        "on "
        "that. To see what Type1 alone would do, say allow_coarse = true, or --allow-coarse",
        in_quotes(machine.name), size_text(smallest.bytes()),
        size_text(machine.host.page_size.bytes())));
}

// The smallest page that the driver of an IOMMU makes use of.
Checked<PageSize> smallest_page(Description const& machine, std::string_view unit)
{
    auto const options = iommu_of(machine, unit);
    auto const iommu = iommu::Iommu::create(options);
    if (!iommu)
        return wrong(fmt::format(
            "machine {}: an IOMMU of model {} cannot have address_width {} with page_sizes {:#x}; "
            "{}",
            in_quotes(machine.name), word_of(kModelWords, options.model), options.address_width,
            options.page_sizes.bitmap(), possibilities(options.model)));
    auto const domain = (*iommu)->create_domain();
    if (!domain)
        return wrong(fmt::format("machine {}: its IOMMU makes no domains ({})",
                                 in_quotes(machine.name), name(domain.error())));
    return (*domain)->page_sizes().smallest();
}

Checked<void> check_iommu(Description const& machine, std::string_view unit)
{
    auto const smallest = smallest_page(machine, unit);
    if (!smallest) return wrong(smallest.error());
    if (*smallest > machine.host.page_size && !machine.allow_coarse)
        return coarse(machine, *smallest);
    return {};
}

Checked<void> check_iommus(Description const& machine)
{
    if (auto const fine = check_iommu(machine, ""); !fine) return fine;
    std::set<std::string_view> names;
    for (auto const& extra : machine.extra_iommus) {
        if (extra.name.empty())
            return wrong(
                fmt::format("machine {}: an extra_iommu has no name", in_quotes(machine.name)));
        if (!names.insert(extra.name).second)
            return wrong(fmt::format("machine {}: there are two IOMMUs with the name {}",
                                     in_quotes(machine.name), in_quotes(extra.name)));
        if (auto const fine = check_iommu(machine, extra.name); !fine) return fine;
    }
    for (auto const& entry : machine.devices)
        if (!entry.iommu.empty() && !names.contains(entry.iommu))
            return wrong(fmt::format(
                "{}: there is no IOMMU {}{}", entry.where, in_quotes(entry.iommu),
                names.empty() ? "; an extra_iommu of the machine makes one"
                              : suggestion(entry.iommu, std::vector(names.begin(), names.end()))));
    return {};
}

// A group is what one IOMMU cannot tell apart, so its devices are behind one.
Checked<void> check_groups(Description const& machine)
{
    std::map<unsigned, DeviceEntry const*> first;
    for (auto const& entry : machine.devices) {
        if (!entry.group) continue;
        if (*entry.group >= kMostGroups)
            return wrong(fmt::format("{}: group {} is not below {}", entry.where, *entry.group,
                                     kMostGroups));
        auto const [other, fresh] = first.try_emplace(*entry.group, &entry);
        if (!fresh && other->second->iommu != entry.iommu)
            return wrong(fmt::format("{}: group {} is behind another IOMMU already, by {}",
                                     entry.where, *entry.group, other->second->where));
    }
    return {};
}

// The launcher hands a machine on as TOML, which carries UTF-8 only; a NUL would cut a path short.
bool is_text(DeviceEntry const& entry)
{
    for (auto const& setting : entry.spec.settings)
        if (setting.value.contains('\0')) return false;
    Description alone;
    alone.devices = {entry};
    return parse_toml(to_toml(alone), "").has_value();
}

Checked<void> check_device(DeviceEntry const& entry)
{
    auto const found = devices::find_or_load(entry.spec.model);
    if (!found) return wrong(fmt::format("{}: {}", entry.where, found.error()));
    auto const* const model = *found;
    if (model == nullptr) {
        std::vector<std::string_view> names;
        for (auto const* const known : devices::models()) names.push_back(known->name());
        return wrong(fmt::format("{}: there is no device model {}{}", entry.where,
                                 in_quotes(entry.spec.model), suggestion(entry.spec.model, names)));
    }
    if (auto const words = driver_words(); std::ranges::find(words, entry.driver) == words.end())
        return wrong(fmt::format("{}: there is no driver {}{}", entry.where,
                                 in_quotes(entry.driver), suggestion(entry.driver, words)));
    if (!is_text(entry)) return wrong(fmt::format("{}: a value is not text in UTF-8", entry.where));
    if (auto const fine = model->check(entry.spec); !fine)
        return wrong(fmt::format("{}: {}", entry.where, fine.error()));
    return {};
}

}  // namespace

std::vector<std::string_view> driver_words()
{
    std::vector<std::string_view> words{"host", "none"};
    for (auto const& driver : kPinfoldDrivers) words.emplace_back(driver.name);
    return words;
}

Checked<void> check(Description const& machine)
{
    if (auto const fine = check_host(machine); !fine) return fine;
    if (auto const fine = check_iommus(machine); !fine) return fine;
    if (auto const fine = check_groups(machine); !fine) return fine;

    std::map<Bdf, DeviceEntry const*> placed;
    for (auto const& entry : machine.devices) {
        auto const [other, fresh] = placed.try_emplace(entry.bdf, &entry);
        if (!fresh)
            return wrong(fmt::format("{}: {} is taken already, by {}", entry.where,
                                     entry.bdf.text(), other->second->where));
        if (auto const fine = check_device(entry); !fine) return fine;
    }
    if (machine.devices.size() > kMostGroups)
        return wrong(fmt::format("machine {}: there are more than {} devices",
                                 in_quotes(machine.name), kMostGroups));
    return {};
}

iommu::Iommu::Options iommu_of(Description const& machine, std::string_view name)
{
    iommu::Iommu::Options options = machine.iommu;
    for (auto const& extra : machine.extra_iommus)
        if (extra.name == name) options = extra.options;
    options.kernel = machine.kernel;
    options.host_page = machine.host.page_size;
    return options;
}

bool is_coarse(Description const& machine)
{
    auto const is = [&](std::string_view unit) {
        auto const smallest = smallest_page(machine, unit);
        return smallest && *smallest > machine.host.page_size;
    };
    return is("") || std::ranges::any_of(machine.extra_iommus,
                                         [&](ExtraIommu const& extra) { return is(extra.name); });
}

std::vector<unsigned> assign_groups(Description const& machine)
{
    std::set<unsigned> taken;
    for (auto const& entry : machine.devices)
        if (entry.group) taken.insert(*entry.group);
    std::vector<unsigned> groups;
    unsigned next = 0;
    for (auto const& entry : machine.devices) {
        if (!entry.group)
            while (!taken.insert(next).second) ++next;
        groups.push_back(entry.group.value_or(next));
    }
    return groups;
}

}  // namespace pinfold::machine
