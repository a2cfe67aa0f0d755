#include "pci/bar_window.hpp"

#include <span>

namespace pinfold::pci {

std::optional<WindowAccess> window_access(ConfigSpace const& config, std::uint8_t window)
{
    std::uint8_t bar = 0;
    std::uint32_t offset = 0, length = 0;
    config.read(window + 4U, std::as_writable_bytes(std::span{&bar, 1}));
    config.read(window + 8U, std::as_writable_bytes(std::span{&offset, 1}));
    config.read(window + 12U, std::as_writable_bytes(std::span{&length, 1}));
    bool const is_width = length == 1 || length == 2 || length == 4;
    if (bar >= 6 || !is_width || offset % length != 0) return std::nullopt;
    return WindowAccess{bar, offset, length};
}

}  // namespace pinfold::pci
