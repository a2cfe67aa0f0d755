// Writes files, links and directories below one root, and keeps the first failure as a sentence, so
// that whoever lists a tree need not look after each entry.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "machine/description.hpp"

namespace pinfold::cli {

class TreeWriter {
public:
    explicit TreeWriter(std::filesystem::path root) : root_{std::move(root)} {}

    // Parents are made as needed. Paths are absolute, as seen from the root.
    void directory(std::filesystem::path const& path, mode_t mode = 0755);
    void file(std::filesystem::path const& path, std::string_view contents, mode_t mode = 0444);
    void link(std::filesystem::path const& path, std::filesystem::path const& target);

    machine::Checked<void> result() const;

private:
    std::filesystem::path below(std::filesystem::path const& path) const;
    void failed(std::filesystem::path const& path, int error);

    std::filesystem::path root_;
    std::optional<std::string> failure_;
};

}  // namespace pinfold::cli
