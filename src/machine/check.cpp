// What can be wrong with a machine as a whole, and the numbers of its groups.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "devices/registry.hpp"
#include "machine/description.hpp"
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
    if (std::ranges::find(kKernels, machine.kernel) == kKernels.end())
        return wrong(fmt::format("machine {}: kernel {} is unknown{}", in_quotes(machine.name),
                                 in_quotes(machine.kernel), suggestion(machine.kernel, kKernels)));
    auto const size = machine.host.page_size;
    if (size != k4K && size != k16K && size != k64K)
        return wrong(fmt::format("machine {}: host.page_size {} is not 4K, 16K or 64K",
                                 in_quotes(machine.name), size_text(size.bytes())));
    return {};
}

Checked<void> check_iommu(Description const& machine)
{
    auto const& options = machine.iommu;
    if (!iommu::Iommu::create(options))
        return wrong(fmt::format(
            "machine {}: an IOMMU of model {} cannot have address_width {} with page_sizes {:#x}{}",
            in_quotes(machine.name), word_of(kModelWords, options.model), options.address_width,
            options.page_sizes.bitmap(),
            options.model == iommu::Model::vtd
                ? "; vtd has widths 39, 48 and 57, and pages of 4K, 2M and 1G, 4K among them"
                : ""));
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
    auto const* const model = devices::find(entry.spec.model);
    if (model == nullptr) {
        std::vector<std::string_view> names;
        for (auto const* const known : devices::models()) names.push_back(known->name());
        return wrong(fmt::format("{}: there is no device model {}{}", entry.where,
                                 in_quotes(entry.spec.model), suggestion(entry.spec.model, names)));
    }
    if (!is_text(entry)) return wrong(fmt::format("{}: a value is not text in UTF-8", entry.where));
    if (auto const fine = model->check(entry.spec); !fine)
        return wrong(fmt::format("{}: {}", entry.where, fine.error()));
    return {};
}

}  // namespace

Checked<void> check(Description const& machine)
{
    if (auto const fine = check_host(machine); !fine) return fine;
    if (auto const fine = check_iommu(machine); !fine) return fine;

    std::map<Bdf, DeviceEntry const*> placed;
    for (auto const& entry : machine.devices) {
        auto const [other, fresh] = placed.try_emplace(entry.bdf, &entry);
        if (!fresh)
            return wrong(fmt::format("{}: {} is taken already, by {}", entry.where,
                                     entry.bdf.text(), other->second->where));
        if (entry.group && *entry.group >= kMostGroups)
            return wrong(fmt::format("{}: group {} is not below {}", entry.where, *entry.group,
                                     kMostGroups));
        if (auto const fine = check_device(entry); !fine) return fine;
    }
    if (machine.devices.size() > kMostGroups)
        return wrong(fmt::format("machine {}: there are more than {} devices",
                                 in_quotes(machine.name), kMostGroups));
    return {};
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
