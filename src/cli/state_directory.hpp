// The run's state directory: made for one run, reachable by its client, removed at the end.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "machine/description.hpp"
#include "machine/face.hpp"

namespace pinfold::cli {

// Which parts of the engine's journal somebody wants.
struct Journals {
    bool log = false;
    bool trace = false;
};

class StateDirectory {
public:
    // Under $XDG_RUNTIME_DIR, $TMPDIR or /tmp, with the machine in it and room for the tree. The
    // sentence says what could not be made.
    static machine::Checked<StateDirectory> create(machine::Description const& machine,
                                                   std::vector<machine::Face> const& faces,
                                                   Journals journals = {});
    ~StateDirectory();
    StateDirectory(StateDirectory&& other) noexcept : path_{std::exchange(other.path_, {})} {}
    StateDirectory& operator=(StateDirectory&&) = delete;

    std::filesystem::path const& path() const { return path_; }
    // It is another process's to remove.
    void leave() { path_.clear(); }
    // What engines wrote for the user, line by line.
    std::vector<std::string> log() const;

private:
    explicit StateDirectory(std::filesystem::path path) : path_{std::move(path)} {}
    machine::Checked<void> fill(machine::Description const& machine,
                                std::vector<machine::Face> const& faces, Journals journals) const;

    std::filesystem::path path_;  // empty: moved from
};

}  // namespace pinfold::cli
