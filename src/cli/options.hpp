// The command line, understood but not yet acted on.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "machine/description.hpp"

namespace pinfold::cli {

struct RunOptions {
    std::string machine = "vtd";
    std::vector<std::string> devices;
    // What is said on top of the machine, as text; describe() understands it.
    std::optional<std::string> kernel, policy, host_page, iommu_pages, aperture, memlock;
    bool allow_coarse = false;
    std::string log_file, trace_file;  // empty: not asked for
    bool no_namespace = false;
    bool verbose = false;
    bool report = false;
    std::string report_file;  // empty: standard error
    std::vector<std::string> command;
};
struct ListMachines {
    std::string name;  // empty: all of them
};
struct ListDevices {
    std::string name;  // a model, or the path of a shared object; empty: all of ours
};
// A text to print as it is: help, or the version.
struct Print {
    std::string text;
};

using Options = std::variant<RunOptions, ListMachines, ListDevices, Print>;

// The machine that the options of a run describe, checked.
machine::Checked<machine::Description> describe(RunOptions const& options);

// The sentence says what is wrong and where help is.
machine::Checked<Options> parse_options(std::vector<std::string> const& arguments);

}  // namespace pinfold::cli
