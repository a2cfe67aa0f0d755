// The lines that the kernel's log would get from Type1, for whoever wants to see them.
#pragma once

#include <fmt/format.h>

#include <array>
#include <cstddef>
#include <string_view>
#include <utility>

namespace pinfold::type1 {

class Log {
public:
    virtual ~Log() = default;
    // One line, without a line end. Called with the container's mutex held; keeps no reference.
    virtual void line(std::string_view text) = 0;
};

// Writes a line to `log`, if there is one. Allocates nothing; cuts what is too long.
template <class... Args>
void write_line(Log* log, fmt::format_string<Args...> format, Args&&... args)
{
    if (log == nullptr) return;
    std::array<char, 256> text{};
    auto const end =
        fmt::format_to_n(text.data(), text.size(), format, std::forward<Args>(args)...).out;
    log->line({text.data(), static_cast<std::size_t>(end - text.data())});
}

}  // namespace pinfold::type1
