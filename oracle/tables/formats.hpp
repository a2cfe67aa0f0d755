// The formats, each with the reader that reads it.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "arena.hpp"
#include "readers.hpp"
#include "subject.hpp"

namespace pinfold::tables {

struct Format {
    char const* name;
    Reader const* reader;
    unsigned table_lg2;  // bytes of the smallest table
    // nullptr: no memory.
    std::unique_ptr<Subject> (*make)(Arena&);
    // What the reader is told beside the window.
    void (*settings)(Subject const&, std::uint64_t (&setting)[8]);
    // The bits of a word that the reader may set or clear.
    std::uint64_t hardware_bits = 0;
    // The root's slot that the reader takes for itself.
    std::optional<std::uint64_t> taken_slot = std::nullopt;
    // IOVAs that it cannot look at.
    std::optional<IovaRange> taken = std::nullopt;
};

std::span<Format const> formats();
Format const* find_format(std::string_view name);

}  // namespace pinfold::tables
