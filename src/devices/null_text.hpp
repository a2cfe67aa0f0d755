// Words of the null device's settings.
#pragma once

#include <fmt/format.h>

#include <charconv>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pinfold::devices {

template <class... Args>
std::unexpected<std::string> refuse(fmt::format_string<Args...> text, Args&&... args)
{
    return std::unexpected{"null: " + fmt::format(text, std::forward<Args>(args)...)};
}

// Decimal, or hexadecimal behind 0x.
inline std::optional<std::uint64_t> parse_number(std::string_view text)
{
    int base = 10;
    if (text.starts_with("0x")) {
        text.remove_prefix(2);
        base = 16;
    }
    std::uint64_t number = 0;
    auto const* const end = text.data() + text.size();
    auto const parsed = std::from_chars(text.data(), end, number, base);
    if (parsed.ec != std::errc{} || parsed.ptr != end) return std::nullopt;
    return number;
}

inline std::vector<std::string_view> split(std::string_view text, char at)
{
    std::vector<std::string_view> pieces;
    for (std::size_t start = 0;;) {
        auto const end = text.find(at, start);
        pieces.push_back(text.substr(start, end - start));
        if (end == std::string_view::npos) return pieces;
        start = end + 1;
    }
}

}  // namespace pinfold::devices
