// Where the preloaded libraries are: beside the tool in a build, in ../lib/pinfold when installed.
#pragma once

#include <filesystem>
#include <string>

#include "machine/run_state.hpp"

namespace pinfold::cli {

struct Libraries {
    std::filesystem::path stub;    // libpinfold.so
    std::filesystem::path paths;   // libpinfold-paths.so
    std::filesystem::path page;    // libpinfold-page.so
    std::filesystem::path engine;  // libpinfold-engine.so
};
// The sentence names what is missing.
machine::Checked<Libraries> find_libraries();

// LD_PRELOAD for a run: ours behind `inherited` (nullptr: the user has none), whose wrappers see
// the program's calls and hand them on to us, as to the kernel. The page library only where the
// machine's host page is another than the real one.
std::string preload_list(Libraries const& libraries, machine::RunState::Mode mode,
                         PageSize host_page, char const* inherited);
// Whether the client is to see another page than the real one.
bool emulates_page(PageSize host_page);

// ASAN_OPTIONS for a program that may be built with AddressSanitizer, whose runtime insists on
// being the first library otherwise; `inherited` is what the user has set, or nullptr.
std::string sanitizer_options(char const* inherited);

}  // namespace pinfold::cli
