#include <algorithm>
#include <array>

#include "pci/device.hpp"

namespace pinfold::pci {

std::optional<bool> as_flag(std::string_view value)
{
    static constexpr std::array<std::string_view, 5> kYes{"yes", "on", "true", "1", ""};
    static constexpr std::array<std::string_view, 4> kNo{"no", "off", "false", "0"};
    if (std::ranges::find(kYes, value) != kYes.end()) return true;
    if (std::ranges::find(kNo, value) != kNo.end()) return false;
    return std::nullopt;
}

}  // namespace pinfold::pci
