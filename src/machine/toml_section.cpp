#include "machine/toml_section.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "machine/text.hpp"

namespace pinfold::machine {

std::string Trouble::where(toml::source_region const& source) const
{
    return fmt::format("{}:{}", file_, source.begin.line);
}

void Trouble::report(toml::source_region const& source, std::string_view key, std::string_view why)
{
    if (!sentence_) sentence_ = fmt::format("{}: {}: {}", where(source), key, why);
}

std::optional<std::uint64_t> number_of(toml::node const& node)
{
    if (auto const integer = node.value_exact<std::int64_t>()) {
        if (*integer < 0) return std::nullopt;
        return static_cast<std::uint64_t>(*integer);
    }
    if (auto const text = node.value_exact<std::string_view>()) return parse_number(*text);
    return std::nullopt;
}

std::optional<std::uint64_t> size_of(toml::node const& node)
{
    if (auto const text = node.value_exact<std::string_view>()) return parse_size(*text);
    return number_of(node);
}

toml::node const* Section::take(std::string_view key)
{
    taken_.push_back(key);
    return table_.get(key);
}

void Section::report(toml::node const& node, std::string_view key, std::string_view why)
{
    trouble_.report(node.source(), fmt::format("{}{}", path_, key), why);
}

void Section::missing(std::string_view key, std::string_view such_as)
{
    trouble_.report(table_.source(), fmt::format("{}{}", path_, key),
                    fmt::format("is missing, such as {} = {}", key, such_as));
}

bool Section::text(std::string_view key, std::string& out)
{
    auto const* const node = take(key);
    if (node == nullptr) return false;
    auto const value = node->value_exact<std::string>();
    if (value)
        out = *value;
    else
        report(*node, key, "is not a string");
    return value.has_value();
}

bool Section::flag(std::string_view key, bool& out)
{
    auto const* const node = take(key);
    if (node == nullptr) return false;
    auto const value = node->value_exact<bool>();
    if (value)
        out = *value;
    else
        report(*node, key, "is neither true nor false");
    return value.has_value();
}

bool Section::number(std::string_view key, std::uint64_t least, std::uint64_t most,
                     std::uint64_t& out)
{
    auto const* const node = take(key);
    if (node == nullptr) return false;
    auto const value = number_of(*node);
    if (!value || *value < least || *value > most) {
        report(*node, key, fmt::format("is not a number from {} to {:#x}", least, most));
        return false;
    }
    out = *value;
    return true;
}

bool Section::size(std::string_view key, std::uint64_t& out)
{
    auto const* const node = take(key);
    if (node == nullptr) return false;
    auto const value = size_of(*node);
    if (value)
        out = *value;
    else
        report(*node, key, "is not a size such as 4096, \"64K\" or \"8M\"");
    return value.has_value();
}

std::optional<std::size_t> Section::choice(std::string_view key,
                                           std::span<std::string_view const> words)
{
    auto const* const node = take(key);
    if (node == nullptr) return std::nullopt;
    auto const value = node->value_exact<std::string_view>();
    auto const found = std::ranges::find(words, value.value_or(std::string_view{}));
    if (value && found != words.end()) return static_cast<std::size_t>(found - words.begin());
    report(*node, key,
           value ? fmt::format("{} is unknown{}", in_quotes(*value), suggestion(*value, words))
                 : fmt::format("is not a string; allowed {} {}", words.size() == 1 ? "is" : "are",
                               listing(words)));
    return std::nullopt;
}

void Section::section(std::string_view key, FunctionRef<void(Section&)> use)
{
    auto const* const node = take(key);
    if (node == nullptr) return;
    auto const* const table = node->as_table();
    if (table == nullptr) return report(*node, key, "is not a table");
    Section inner{*table, fmt::format("{}{}.", path_, key), trouble_};
    use(inner);
    inner.finish();
}

bool Section::sections(std::string_view key, FunctionRef<void(Section&)> use)
{
    auto const* const node = take(key);
    if (node == nullptr) return false;
    auto const* const array = node->as_array();
    if (array == nullptr) {
        report(*node, key, fmt::format("is not a list of tables: write [[{}{}]]", path_, key));
        return false;
    }
    for (auto const& element : *array) {
        auto const* const table = element.as_table();
        if (table == nullptr) {
            report(element, key, "holds something that is not a table");
            return false;
        }
        Section inner{*table, fmt::format("{}{}.", path_, key), trouble_};
        use(inner);
        inner.finish();
    }
    return true;
}

std::vector<toml::node const*> Section::values(std::string_view key)
{
    std::vector<toml::node const*> all;
    auto const* const node = take(key);
    if (node == nullptr) return all;
    auto const* const array = node->as_array();
    if (array == nullptr) return {node};
    for (auto const& element : *array) all.push_back(&element);
    return all;
}

std::vector<std::string_view> Section::untaken() const
{
    std::vector<std::pair<toml::source_position, std::string_view>> found;
    for (auto const& [key, value] : table_)
        if (std::ranges::find(taken_, key.str()) == taken_.end())
            found.emplace_back(key.source().begin, key.str());
    std::ranges::sort(found, [](auto const& a, auto const& b) { return a.first < b.first; });
    std::vector<std::string_view> keys;
    for (auto const& [position, key] : found) keys.push_back(key);
    return keys;
}

void Section::finish()
{
    std::ranges::sort(taken_);
    for (auto const key : untaken())
        trouble_.report(
            table_.find(key)->first.source(),
            fmt::format("{}{}", path_, in_quotes(key).substr(1, in_quotes(key).size() - 2)),
            fmt::format("is an unknown key{}", suggestion(key, taken_)));
}

}  // namespace pinfold::machine
