#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "devices/loaded.hpp"
#include "devices/registry.hpp"
#include "machine/description.hpp"
#include "machine/text.hpp"

namespace pinfold::machine {

namespace {

// A machine file is text that somebody wrote; anything larger is a mistaken name.
constexpr std::streamsize kLargestFile = 1 << 20;

Checked<std::string> contents(std::filesystem::path const& file)
{
    auto const wrong = [&](std::string_view why) {
        return std::unexpected{fmt::format("{}: {}", file.string(), why)};
    };
    std::error_code unused;
    if (std::filesystem::is_directory(file, unused)) return wrong("is a directory");
    std::ifstream in{file, std::ios::binary};
    if (!in) return wrong(std::strerror(errno));
    std::string text(static_cast<std::size_t>(kLargestFile) + 1, '\0');
    in.read(text.data(), static_cast<std::streamsize>(text.size()));
    if (in.bad()) return wrong("cannot be read");
    if (in.gcount() > kLargestFile) return wrong("is too large for a machine file");
    text.resize(static_cast<std::size_t>(in.gcount()));
    return text;
}

bool names_a_file(std::string_view word)
{
    std::error_code unused;
    return word.contains('/') || word.ends_with(".toml") ||
           std::filesystem::exists(std::filesystem::path{word}, unused);
}

}  // namespace

Checked<Description> load(std::string_view preset_or_file)
{
    std::vector<std::string_view> names;
    for (auto const& preset : presets()) {
        if (preset.name == preset_or_file) return preset.make();
        names.push_back(preset.name);
    }
    if (!names_a_file(preset_or_file))
        return std::unexpected{
            fmt::format("there is neither a machine {} nor a file of that name{}",
                        in_quotes(preset_or_file), suggestion(preset_or_file, names))};

    std::filesystem::path const file{preset_or_file};
    auto const text = contents(file);
    if (!text) return std::unexpected{text.error()};
    auto machine = parse_toml(*text, file.string());
    if (machine)
        for (auto& entry : machine->devices) anchor_files(entry, file.parent_path());
    return machine;
}

namespace {

// "disk3" and "readonlyN" are of the families "disk" and "readonly".
std::string_view family(std::string_view key)
{
    auto const end = key.find_last_not_of("0123456789N");
    return key.substr(0, end == std::string_view::npos ? 0 : end + 1);
}

bool names_a_file(pci::Model const& model, std::string_view key)
{
    return std::ranges::any_of(model.options(), [&](pci::Model::Option const& option) {
        return option.value == "FILE" && family(option.key) == family(key);
    });
}

}  // namespace

void anchor_files(DeviceEntry& entry, std::filesystem::path const& directory)
{
    auto const anchor = [&](std::string& file) {
        std::error_code failed;
        auto const whole = std::filesystem::absolute(directory / file, failed);
        if (!failed) file = whole.string();
    };
    if (devices::names_object(entry.spec.model)) anchor(entry.spec.model);
    auto const model = devices::find_or_load(entry.spec.model);
    if (!model || *model == nullptr) return;
    for (auto& setting : entry.spec.settings)
        if (!setting.value.empty() && names_a_file(**model, setting.key)) anchor(setting.value);
}

}  // namespace pinfold::machine
