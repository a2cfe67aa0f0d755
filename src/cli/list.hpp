// pinfold machines, pinfold devices: texts for standard output.
#pragma once

#include <string>
#include <string_view>

#include "machine/description.hpp"

namespace pinfold::cli {

std::string machines_text();
// The machine as a file. The sentence says that there is none of that name.
machine::Checked<std::string> machine_text(std::string_view name);
std::string devices_text();
// One model, by its name or by the path of a shared object. The sentence says why there is none.
machine::Checked<std::string> device_text(std::string const& name);

}  // namespace pinfold::cli
