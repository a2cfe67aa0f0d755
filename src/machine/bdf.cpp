#include <fmt/format.h>

#include <charconv>

#include "machine/description.hpp"
#include "machine/text.hpp"

namespace pinfold::machine {

namespace {

// Takes exactly `digits` hexadecimal digits off the front of `text`.
std::optional<unsigned> take_hex(std::string_view& text, std::size_t digits)
{
    unsigned value = 0;
    if (text.size() < digits) return std::nullopt;
    auto const [end, error] = std::from_chars(text.data(), text.data() + digits, value, 16);
    if (error != std::errc{} || end != text.data() + digits) return std::nullopt;
    text.remove_prefix(digits);
    return value;
}

bool take(std::string_view& text, char expected)
{
    if (!text.starts_with(expected)) return false;
    text.remove_prefix(1);
    return true;
}

}  // namespace

Checked<Bdf> Bdf::parse(std::string_view text)
{
    auto rest = text;
    auto const wrong = [&](std::string_view why) {
        return std::unexpected{
            fmt::format("{} is not a PCI address such as 0000:00:04.0{}", in_quotes(text), why)};
    };
    std::optional<unsigned> domain = 0;
    if (text.size() == std::string_view{"0000:00:04.0"}.size()) {
        domain = take_hex(rest, 4);
        if (!domain || !take(rest, ':')) return wrong("");
    }
    auto const bus = take_hex(rest, 2);
    if (!bus || !take(rest, ':')) return wrong("");
    auto const device = take_hex(rest, 2);
    if (!device || !take(rest, '.')) return wrong("");
    auto const function = take_hex(rest, 1);
    if (!function || !rest.empty()) return wrong("");
    if (*device > 0x1f) return wrong(": the device is at most 1f");
    if (*function > 7) return wrong(": the function is at most 7");
    return Bdf{static_cast<std::uint16_t>(*domain), static_cast<std::uint8_t>(*bus),
               static_cast<std::uint8_t>(*device), static_cast<std::uint8_t>(*function)};
}

std::string Bdf::text() const
{
    return fmt::format("{:04x}:{:02x}:{:02x}.{:x}", domain, bus, device, function);
}

}  // namespace pinfold::machine
