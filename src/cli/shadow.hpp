// Adds entries to a directory that nobody can write to, such as one of sysfs: a tmpfs takes its
// place, into which every original entry is mounted back (links are made again), so that all of it
// looks and works as before, and new entries can be made. Needs CAP_SYS_ADMIN over a mount
// namespace of one's own.
#pragma once

#include <cstdint>
#include <filesystem>

#include "base/result.hpp"

namespace pinfold::cli {

// `stage` is a directory to build in; it is empty again afterwards. Errors are those of mount(2)
// and mkdir(2); the directory is as before then.
Result<> shadow(std::filesystem::path const& directory, std::filesystem::path const& stage);

// The nearest of `path`'s ancestors, or it itself, that is a directory already.
std::filesystem::path existing_ancestor(std::filesystem::path const& path);

// An empty tmpfs of `size` bytes (0: no limit, which keeps it out of df(1)); `source` is what the
// table of mounts calls it. Errors are those of mount(2).
Result<> mount_tmpfs(std::filesystem::path const& target, char const* source, std::uint64_t size);

// mount --rbind
Result<> bind(std::filesystem::path const& source, std::filesystem::path const& target);

}  // namespace pinfold::cli
