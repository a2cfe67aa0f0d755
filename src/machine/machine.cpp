#include "machine/machine.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "devices/registry.hpp"
#include "machine/bar_addresses.hpp"
#include "machine/parts.hpp"

namespace pinfold::machine {

namespace {

type1::Settings settings_of(Description const& description, Parts& parts)
{
    return {.memory = *parts.memory,
            .kernel = description.kernel,
            .policy = description.policy,
            .dma_entry_limit = description.dma_entry_limit,
            .allow_unsafe_interrupts = description.allow_unsafe_interrupts,
            .disable_hugepages = description.disable_hugepages,
            .activity = &parts.activity,
            .log = parts.recorder ? &*parts.recorder : nullptr};
}

Checked<void> make_iommus(Parts& parts, Description const& description)
{
    std::vector<std::string> names{""};
    for (auto const& extra : description.extra_iommus) names.push_back(extra.name);
    for (auto const& unit : names) {
        auto options = iommu_of(description, unit);
        options.observer = parts.recorder ? &*parts.recorder : nullptr;
        auto iommu = iommu::Iommu::create(std::move(options));
        if (!iommu)
            return std::unexpected{fmt::format("machine {}: its IOMMU {} cannot be made ({})",
                                               description.name, unit, name(iommu.error()))};
        parts.iommus.emplace(unit, std::move(*iommu));
    }
    return {};
}

// Paddrs that every unit's tables can hold.
unsigned paddr_bits(Parts const& parts)
{
    unsigned bits = host::Memory::Options{}.paddr_bits;
    for (auto const& [name, unit] : parts.iommus) bits = std::min(bits, unit->paddr_bits());
    return bits & ~1U;
}

Checked<void> add_function(Parts& parts, DeviceEntry const& entry, BarAllocator& bars)
{
    auto const found = devices::find_or_load(entry.spec.model);
    if (!found) return std::unexpected{fmt::format("{}: {}", entry.where, found.error())};
    auto const* const model = *found;
    if (model == nullptr)
        return std::unexpected{
            fmt::format("{}: there is no device model {}", entry.where, entry.spec.model)};
    auto& endpoint = parts.endpoints.emplace_back(
        std::make_unique<iommu::Endpoint>(*parts.iommus.at(entry.iommu), entry.bdf.text()));

    auto spec = entry.spec;
    spec.bdf = entry.bdf.text();
    // The device is made first and powered on with its BARs in place, which depend on what it is.
    pci::BarAddresses addresses{};
    auto const make = [&](pci::Bus& bus) {
        auto device = model->create(spec, bus);
        if (device) addresses = bars.place((*device)->identity());
        return device;
    };
    auto function = pci::Function::create(*endpoint, *parts.memory, make, addresses);
    if (!function) return std::unexpected{fmt::format("{}: {}", entry.where, function.error())};
    parts.functions.push_back(std::move(*function));
    return {};
}

Checked<void> introduce(Parts& parts, Description const& description)
{
    auto const find = [&](std::string_view bdf) -> pci::Function* {
        for (auto const& function : parts.functions)
            if (function->name() == bdf) return function.get();
        return nullptr;
    };
    for (std::size_t i = 0; i < parts.functions.size(); ++i)
        if (auto const met = parts.functions[i]->meet(find); !met)
            return std::unexpected{
                fmt::format("{}: {}", description.devices[i].where, met.error())};
    return {};
}

// Rule A-4: 6.1 asks whether interrupts are remapped, which it does for all units or for none.
type1::MsiIsolation msi_isolation(Parts const& parts, Kernel kernel, iommu::Iommu const& iommu)
{
    auto const remaps = [](auto const& unit) { return unit.second->options().remaps_interrupts; };
    bool const isolated = kernel < Kernel::v6_12 ? std::ranges::all_of(parts.iommus, remaps)
                                                 : iommu.options().remaps_interrupts;
    return isolated ? type1::MsiIsolation::yes : type1::MsiIsolation::no;
}

// Bus 00 of a segment is its root bus; what is on another one is behind a root port of its own.
constexpr std::uint8_t kRootBus = 0;

std::vector<uapi::ResetDomain> settle(Parts& parts, Description const& description)
{
    std::map<std::pair<std::uint16_t, std::uint8_t>, uapi::ResetDomain> domains;
    for (std::size_t i = 0; i < parts.functions.size(); ++i) {
        auto const at = description.devices[i].bdf;
        auto const devfn = static_cast<std::uint8_t>(at.device << 3 | at.function);
        domains[{at.domain, at.bus}].members.push_back(
            {parts.functions[i].get(), parts.group_numbers[i], at.domain, at.bus, devfn});
    }
    std::vector<uapi::ResetDomain> below_ports;
    for (auto& [bus, domain] : domains) {
        auto& members = domain.members;
        std::ranges::sort(members, {}, &uapi::ResetDomain::Member::devfn);
        bool const below_port = bus.second != kRootBus;
        for (auto const& member : members) {
            bool const shared =
                std::ranges::count(members, member.devfn >> 3,
                                   [](auto const& other) { return other.devfn >> 3; }) > 1;
            member.function->settle({.alone_below_port = below_port && members.size() == 1,
                                     .leads_slot = shared && (member.devfn & 7) == 0});
        }
        if (below_port) below_ports.push_back(std::move(domain));
    }
    return below_ports;
}

void make_door(Parts& parts, Description const& description)
{
    parts.group_numbers = assign_groups(description);
    std::map<unsigned, std::vector<pci::Function*>> members;
    for (std::size_t i = 0; i < parts.functions.size(); ++i)
        members[parts.group_numbers[i]].push_back(parts.functions[i].get());

    std::vector<uapi::Door::GroupEntry> entries;
    for (auto const& [number, functions] : members) {
        std::vector<iommu::Endpoint*> endpoints;
        auto& iommu = functions.front()->endpoint().iommu();
        for (auto* const function : functions) endpoints.push_back(&function->endpoint());
        auto const& group = parts.groups.emplace_back(std::make_unique<type1::Group>(
            number, iommu, std::move(endpoints), msi_isolation(parts, description.kernel, iommu)));
        entries.push_back({number, group.get(), functions});
    }
    parts.settings.emplace(settings_of(description, parts));
    parts.door.emplace(*parts.settings, std::move(entries), settle(parts, description));
}

}  // namespace

struct Machine::Impl {
    Impl(Description const& what, host::Process& client) : description{what}, process{client} {}

    Description description;
    host::Process& process;
    Parts parts;
};

Machine::Machine(std::unique_ptr<Impl> impl) : impl_{std::move(impl)} {}
Machine::~Machine() = default;

Checked<std::unique_ptr<Machine>> Machine::build(Description const& description,
                                                 host::Process& process, Journal* journal)
{
    auto impl = std::make_unique<Impl>(description, process);
    auto& parts = impl->parts;
    if (journal != nullptr) parts.recorder.emplace(*journal);
    auto const& host = description.host;
    parts.coarse = is_coarse(description);
    if (auto const made = make_iommus(parts, description); !made)
        return std::unexpected{made.error()};
    parts.memory = std::make_unique<host::Memory>(host::Memory::Options{
        .page_size = host.page_size,
        .numbering = parts.coarse ? host::FrameNumbering::scattered : host.frames,
        .seed = host.frame_seed,
        .paddr_bits = paddr_bits(parts)});
    BarAllocator bars;
    std::pair<unsigned, unsigned> bus{};  // with its segment
    for (auto const& entry : description.devices) {
        std::pair<unsigned, unsigned> const its{entry.bdf.domain, entry.bdf.bus};
        if (std::exchange(bus, its) != its) bars.cross_port();
        if (auto const added = add_function(parts, entry, bars); !added)
            return std::unexpected{added.error()};
    }
    if (auto const met = introduce(parts, description); !met) return std::unexpected{met.error()};
    make_door(parts, description);
    return std::unique_ptr<Machine>{new Machine{std::move(impl)}};
}

uapi::Door& Machine::door() { return *impl_->parts.door; }
host::Memory& Machine::memory() { return *impl_->parts.memory; }
Description const& Machine::description() const { return impl_->description; }

std::vector<Face> Machine::faces() const
{
    std::vector<Face> faces;
    for (std::size_t i = 0; i < impl_->parts.functions.size(); ++i) {
        auto const& entry = impl_->description.devices[i];
        faces.push_back(
            face_of(*impl_->parts.functions[i], entry.bdf, impl_->parts.group_numbers[i]));
        faces.back().driver = entry.driver;
    }
    return faces;
}

bool Machine::unplug(Bdf bdf)
{
    for (auto const& function : impl_->parts.functions) {
        if (function->name() != bdf.text()) continue;
        function->unplug();
        return true;
    }
    return false;
}

bool Machine::in_use(Bdf bdf) const
{
    return std::ranges::any_of(impl_->parts.functions, [&](auto const& function) {
        return function->name() == bdf.text() && function->in_use();
    });
}

void Machine::publish(Counters& counters) const
{
    publish_parts(impl_->parts, impl_->description, impl_->process, counters);
}

}  // namespace pinfold::machine
