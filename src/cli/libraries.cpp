#include "cli/libraries.hpp"

#include <fmt/format.h>

#include <unistd.h>

#include <string_view>

namespace pinfold::cli {

namespace {

namespace fs = std::filesystem;

// The dynamic loader parts LD_PRELOAD at these, and knows no way to quote them.
bool sayable(fs::path const& library)
{
    return library.string().find_first_of(" :") == std::string::npos;
}

}  // namespace

machine::Checked<Libraries> find_libraries()
{
    std::error_code error;
    auto const self = fs::read_symlink("/proc/self/exe", error);
    if (error) return std::unexpected{fmt::format("/proc/self/exe: {}", error.message())};
    auto const beside = self.parent_path();
    for (auto const& directory : {beside, beside.parent_path() / "lib/pinfold"}) {
        Libraries found{directory / "libpinfold.so", directory / "libpinfold-paths.so",
                        directory / "libpinfold-page.so", directory / "libpinfold-engine.so"};
        if (!fs::exists(found.stub, error) || !fs::exists(found.paths, error) ||
            !fs::exists(found.page, error) || !fs::exists(found.engine, error))
            continue;
        if (!sayable(found.stub))
            return std::unexpected{fmt::format(
                "{}: a path with a space or a colon cannot be preloaded; install Pinfold elsewhere",
                directory.string())};
        return found;
    }
    return std::unexpected{fmt::format(
        "libpinfold.so, libpinfold-paths.so, libpinfold-page.so and libpinfold-engine.so are "
        "neither in {} nor in {}",
        beside.string(), (beside.parent_path() / "lib/pinfold").string())};
}

bool emulates_page(PageSize host_page)
{
    return static_cast<long>(host_page.bytes()) > ::sysconf(_SC_PAGESIZE);
}

std::string preload_list(Libraries const& libraries, machine::RunState::Mode mode,
                         PageSize host_page, char const* inherited)
{
    auto list = libraries.stub.string();
    if (emulates_page(host_page)) list = libraries.page.string() + ':' + list;
    if (mode == machine::RunState::Mode::paths) list = libraries.paths.string() + ':' + list;
    if (inherited != nullptr && *inherited != '\0') list = fmt::format("{}:{}", inherited, list);
    return list;
}

std::string sanitizer_options(char const* inherited)
{
    constexpr std::string_view kOrder = "verify_asan_link_order";
    std::string options = inherited != nullptr ? inherited : "";
    if (options.contains(kOrder)) return options;
    if (!options.empty()) options += ':';
    return options + fmt::format("{}=0", kOrder);
}

}  // namespace pinfold::cli
