// --device MODEL,bdf=BDF[,group=N][,iommu=NAME][,driver=NAME][,KEY=VALUE]...; a comma inside a
// value is written twice.
#include <fmt/format.h>

#include "machine/description.hpp"
#include "machine/text.hpp"

namespace pinfold::machine {

namespace {

// The pieces between single commas.
std::vector<std::string> split(std::string_view argument)
{
    std::vector<std::string> pieces(1);
    for (std::size_t i = 0; i < argument.size(); ++i) {
        if (argument[i] != ',') {
            pieces.back() += argument[i];
        } else if (i + 1 < argument.size() && argument[i + 1] == ',') {
            pieces.back() += ',';
            ++i;
        } else {
            pieces.emplace_back();
        }
    }
    return pieces;
}

}  // namespace

Checked<unsigned> parse_group(std::string_view text)
{
    auto const number = parse_number(text);
    if (!number || *number >= kMostGroups)
        return std::unexpected{
            fmt::format("group {} is not a number from 0 to {}", in_quotes(text), kMostGroups - 1)};
    return static_cast<unsigned>(*number);
}

Checked<DeviceEntry> parse_device(std::string_view argument)
{
    DeviceEntry entry;
    entry.where = fmt::format("--device {}", in_quotes(argument));
    auto const wrong = [&](std::string_view why) {
        return std::unexpected{fmt::format("{}: {}", entry.where, why)};
    };

    auto const pieces = split(argument);
    entry.spec.model = pieces.front();
    if (entry.spec.model.empty() || entry.spec.model.contains('='))
        return wrong("it must start with a model, as in edu,bdf=0000:00:04.0");

    bool placed = false, driven = false;
    for (auto const& piece : std::span{pieces}.subspan(1)) {
        auto const equals = piece.find('=');
        if (equals == std::string::npos || equals == 0)
            return wrong(fmt::format("{} is not KEY=VALUE", in_quotes(piece)));
        auto const key = piece.substr(0, equals);
        auto const value = piece.substr(equals + 1);
        if (key == "bdf") {
            if (placed) return wrong("bdf is there twice");
            auto const bdf = Bdf::parse(value);
            if (!bdf) return wrong(bdf.error());
            entry.bdf = *bdf;
            placed = true;
        } else if (key == "group") {
            if (entry.group) return wrong("group is there twice");
            auto const group = parse_group(value);
            if (!group) return wrong(group.error());
            entry.group = *group;
        } else if (key == "iommu") {
            if (!entry.iommu.empty()) return wrong("iommu is there twice");
            entry.iommu = value;
        } else if (key == "driver") {
            if (driven) return wrong("driver is there twice");
            entry.driver = value;
            driven = true;
        } else {
            entry.spec.settings.push_back({key, value});
        }
    }
    if (!placed)
        return wrong(fmt::format("bdf is missing, as in {},bdf=0000:00:04.0", entry.spec.model));
    return entry;
}

}  // namespace pinfold::machine
