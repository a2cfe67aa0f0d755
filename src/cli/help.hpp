// The texts of --help, as a manual page would have them.
#pragma once

#include <string>
#include <string_view>

namespace pinfold::cli {

std::string_view main_help();
std::string_view run_help();
std::string_view machines_help();
std::string_view devices_help();
std::string version_text();

}  // namespace pinfold::cli
