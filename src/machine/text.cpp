#include "machine/text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <numeric>
#include <vector>

namespace pinfold::machine {

namespace {

constexpr std::string_view kSuffixes = "KMGT";

// Characters changed, added, left out, or swapped with their neighbour, to come from a to b.
std::size_t distance(std::string_view a, std::string_view b)
{
    std::vector<std::size_t> before(b.size() + 1);
    std::vector<std::size_t> above(b.size() + 1);
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::swap(before, above);
        std::swap(above, row);
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            std::size_t const changed = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
            row[j] = std::min({changed, above[j] + 1, row[j - 1] + 1});
            bool const swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
        }
    }
    return row.back();
}

}  // namespace

std::optional<std::uint64_t> parse_number(std::string_view text)
{
    int base = 10;
    if (text.starts_with("0x") || text.starts_with("0X")) {
        base = 16;
        text.remove_prefix(2);
    }
    std::uint64_t value = 0;
    auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (text.empty() || error != std::errc{} || end != text.data() + text.size())
        return std::nullopt;
    return value;
}

std::optional<std::uint64_t> parse_size(std::string_view text)
{
    unsigned shift = 0;
    if (!text.empty()) {
        char const last = text.back();
        auto const at = kSuffixes.find(last >= 'a' ? static_cast<char>(last - 'a' + 'A') : last);
        if (at != std::string_view::npos) {
            shift = 10 * (static_cast<unsigned>(at) + 1);
            text.remove_suffix(1);
        }
    }
    auto const value = parse_number(text);
    if (!value || *value > (~std::uint64_t{0} >> shift)) return std::nullopt;
    return *value << shift;
}

std::string size_text(std::uint64_t bytes)
{
    for (std::size_t i = kSuffixes.size(); i > 0; --i) {
        std::uint64_t const unit = std::uint64_t{1} << (10 * i);
        if (bytes >= unit && bytes % unit == 0)
            return fmt::format("{}{}", bytes / unit, kSuffixes[i - 1]);
    }
    return fmt::format("{}", bytes);
}

std::optional<std::string_view> nearest(std::string_view word,
                                        std::span<std::string_view const> known)
{
    if (word.empty() || word.size() > 64) return std::nullopt;
    std::optional<std::string_view> best;
    std::size_t least = std::max<std::size_t>(1, word.size() / 3) + 1;
    for (auto const candidate : known) {
        auto const apart = distance(word, candidate);
        if (apart < least) {
            least = apart;
            best = candidate;
        }
    }
    return best;
}

std::string listing(std::span<std::string_view const> words)
{
    std::string all;
    for (std::size_t i = 0; i < words.size(); ++i) {
        if (i > 0) all += i + 1 == words.size() ? " and " : ", ";
        all += words[i];
    }
    return all;
}

std::string suggestion(std::string_view word, std::span<std::string_view const> known)
{
    if (auto const meant = nearest(word, known)) return fmt::format("; did you mean {}?", *meant);
    if (known.empty()) return "; nothing is allowed here";
    return fmt::format("; allowed here {} {}", known.size() == 1 ? "is" : "are", listing(known));
}

std::string in_quotes(std::string_view text)
{
    constexpr std::size_t kLongest = 80;
    std::string out = "\"";
    for (char const c : text.substr(0, kLongest)) {
        auto const byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\')
            out += {'\\', c};
        else if (byte < 0x20 || byte == 0x7f)
            out += fmt::format("\\x{:02x}", byte);
        else
            out += c;
    }
    out += text.size() > kLongest ? "\"..." : "\"";
    return out;
}

}  // namespace pinfold::machine
