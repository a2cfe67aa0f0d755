#include "cli/list.hpp"

#include <fmt/format.h>

#include "devices/registry.hpp"

namespace pinfold::cli {

std::string machines_text()
{
    std::string text = "Machines, for pinfold run --machine NAME:\n\n";
    for (auto const& preset : machine::presets())
        text += fmt::format("  {:<18} {}\n", preset.name, preset.summary);
    return text + "\npinfold machines NAME prints one as a file to change.\n";
}

machine::Checked<std::string> machine_text(std::string_view name)
{
    auto const machine = machine::load(name);
    if (!machine) return std::unexpected{machine.error()};
    return machine::to_toml(*machine);
}

std::string devices_text()
{
    std::string text = "Device models, for pinfold run --device MODEL,bdf=BDF[,KEY=VALUE]...:\n";
    for (auto const* const model : devices::models()) {
        text += fmt::format("\n  {:<6} {}\n", model->name(), model->summary());
        for (auto const& option : model->options())
            text += fmt::format("         {:<20} {}{}\n",
                                fmt::format("{}={}", option.key, option.value), option.help,
                                option.required ? " (required)" : "");
        text += fmt::format("         for example: --device {}\n", model->example());
    }
    return text +
           "\nEvery device also takes bdf=DDDD:BB:DD.F (required) and group=N, its IOMMU group.\n";
}

}  // namespace pinfold::cli
