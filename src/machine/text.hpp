// Values as people write them: sizes, numbers, and what they may have meant. Values only.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace pinfold::machine {

// "64K", "8M", "1G", "2T" (powers of 1024), "4096", "0x1000". nullopt: none of these, or too large.
std::optional<std::uint64_t> parse_size(std::string_view text);
// The shortest that parse_size() reads back equal: "64K", "4096K" is "4M", 1000 is "1000".
std::string size_text(std::uint64_t bytes);

// Decimal, or hexadecimal after 0x. nullopt: anything else, or too large.
std::optional<std::uint64_t> parse_number(std::string_view text);

// The one of `known` that `word` most likely is a slip of; nullopt: none is near.
std::optional<std::string_view> nearest(std::string_view word,
                                        std::span<std::string_view const> known);
// "; did you mean disk?" or, where nothing is near, "; allowed here are a, b and c".
std::string suggestion(std::string_view word, std::span<std::string_view const> known);
// "a", "a and b", "a, b and c"
std::string listing(std::span<std::string_view const> words);

// `text` in double quotes, with what could garble a terminal made visible, cut where it is long.
std::string in_quotes(std::string_view text);

}  // namespace pinfold::machine
