// One table of a machine file, read key by key. The first thing found wrong is kept as a sentence
// with file, line and key; later ones are dropped, so a reader need not look after each key. Keys
// that nobody asked for are unknown, which finish() reports.
#pragma once

// toml++ 3.3 asserts what a table header such as "[=" breaks and then reports it in order; with
// NDEBUG it would promise the compiler the opposite.
#ifdef NDEBUG
#error "toml++ must not be built with NDEBUG: it takes its checks of the input for granted then"
#endif
#define TOML_ASSERT(expr) static_cast<void>(0)
#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/function_ref.hpp"
#include "machine/words.hpp"

namespace pinfold::machine {

// The first sentence wins.
class Trouble {
public:
    explicit Trouble(std::string_view file) : file_{file} {}
    void report(toml::source_region const& source, std::string_view key, std::string_view why);
    std::string where(toml::source_region const& source) const;
    std::optional<std::string> const& sentence() const { return sentence_; }

private:
    std::string file_;
    std::optional<std::string> sentence_;
};

class Section {
public:
    // `path` is how a key is named in full: "iommu." before its keys.
    Section(toml::table const& table, std::string path, Trouble& trouble)
        : table_{table}, path_{std::move(path)}, trouble_{trouble}
    {
    }

    // Each leaves `out` as it is where the key is absent; true where it is there and right.
    bool text(std::string_view key, std::string& out);
    bool flag(std::string_view key, bool& out);
    bool number(std::string_view key, std::uint64_t least, std::uint64_t most, std::uint64_t& out);
    bool size(std::string_view key, std::uint64_t& out);
    template <class E, std::size_t N>
    bool word(std::string_view key, std::array<Word<E>, N> const& words, E& out)
    {
        std::array<std::string_view, N> known;
        for (std::size_t i = 0; i < N; ++i) known[i] = words[i].text;
        auto const chosen = choice(key, known);
        if (chosen) out = words[*chosen].value;
        return chosen.has_value();
    }
    std::optional<std::size_t> choice(std::string_view key,
                                      std::span<std::string_view const> words);

    // Calls `use` with the table, or with each table of the array, that `key` names.
    void section(std::string_view key, FunctionRef<void(Section&)> use);
    bool sections(std::string_view key, FunctionRef<void(Section&)> use);
    // The elements of an array, or the one value that stands for it.
    std::vector<toml::node const*> values(std::string_view key);

    toml::node const* take(std::string_view key);
    std::vector<std::string_view> untaken() const;  // in the order of the file
    void report(toml::node const& node, std::string_view key, std::string_view why);
    void missing(std::string_view key, std::string_view such_as);
    void finish();
    std::string where() const { return trouble_.where(table_.source()); }

private:
    toml::table const& table_;
    std::string path_;
    Trouble& trouble_;
    std::vector<std::string_view> taken_;
};

// A number as TOML has it, or as a string where TOML's 63 bits do not reach. nullopt: neither.
std::optional<std::uint64_t> number_of(toml::node const& node);
// "64K" or a number of bytes.
std::optional<std::uint64_t> size_of(toml::node const& node);

}  // namespace pinfold::machine
