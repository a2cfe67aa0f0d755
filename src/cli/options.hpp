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
    std::optional<std::string> memlock;
    bool no_namespace = false;
    bool verbose = false;
    bool report = false;
    std::string report_file;  // empty: standard error
    std::vector<std::string> command;
};
struct ListMachines {
    std::string name;  // empty: all of them
};
struct ListDevices {};
// A text to print as it is: help, or the version.
struct Print {
    std::string text;
};

using Options = std::variant<RunOptions, ListMachines, ListDevices, Print>;

// The sentence says what is wrong and where help is.
machine::Checked<Options> parse_options(std::vector<std::string> const& arguments);

}  // namespace pinfold::cli
