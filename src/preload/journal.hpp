// The run's journal: lines in <state>/kernel-log and <state>/iommu-trace, each only if the launcher
// has made the file. Thread safe.
#pragma once

#include <filesystem>

#include "base/unique_fd.hpp"
#include "machine/journal.hpp"

namespace pinfold::preload {

class FileJournal final : public machine::Journal {
public:
    explicit FileJournal(std::filesystem::path const& state);

    // Whether somebody wants to read any of it.
    bool wanted() const { return log_ || trace_; }

    void log(std::string_view line) override;
    void trace(std::string_view line) override;

private:
    UniqueFd log_;
    UniqueFd trace_;
};

}  // namespace pinfold::preload
