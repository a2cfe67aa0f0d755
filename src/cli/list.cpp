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

namespace {

// A model's name, summary, settings and example. A shared object's author has written them, so
// they are printed without what a terminal acts on.
std::string model_text(pci::Model const& model)
{
    std::string text = fmt::format("\n  {:<6} {}\n", model.name(), model.summary());
    for (auto const& option : model.options())
        text +=
            fmt::format("         {:<20} {}{}\n", fmt::format("{}={}", option.key, option.value),
                        option.help, option.required ? " (required)" : "");
    text += fmt::format("         for example: --device {}\n", model.example());
    std::erase_if(text, [](char c) { return c != '\n' && (c & 0xe0) == 0; });
    return text;
}

constexpr std::string_view kEveryDevice =
    "\nEvery device also takes bdf=DDDD:BB:DD.F (required) and group=N, its IOMMU group.\n";

}  // namespace

std::string devices_text()
{
    std::string text = "Device models, for pinfold run --device MODEL,bdf=BDF[,KEY=VALUE]...:\n";
    for (auto const* const model : devices::models()) text += model_text(*model);
    return text.append(kEveryDevice);
}

machine::Checked<std::string> device_text(std::string const& name)
{
    auto const model = devices::find_or_load(name);
    if (!model) return std::unexpected{model.error()};
    if (*model == nullptr)
        return std::unexpected{
            fmt::format("there is no device model '{}'; pinfold devices lists them, and a shared "
                        "object is named "
                        "by a path with a slash",
                        name)};
    return model_text(**model).substr(1).append(kEveryDevice);
}

}  // namespace pinfold::cli
