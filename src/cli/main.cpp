// pinfold: the command. Standard output is the program's; what Pinfold has to say goes to standard
// error, except for what was asked for: help and lists.
#include <fmt/format.h>

#include <cstdio>
#include <new>
#include <string>
#include <vector>

#include "cli/list.hpp"
#include "cli/options.hpp"
#include "cli/run.hpp"

namespace {

using namespace pinfold;

constexpr int kCannot = 2;

int refuse(std::string_view sentence)
{
    fmt::print(stderr, "pinfold: {}\n", sentence);
    return kCannot;
}

int print(std::string_view text)
{
    std::fwrite(text.data(), 1, text.size(), stdout);
    return std::fflush(stdout) == 0 ? 0 : refuse("standard output cannot be written");
}

int act(cli::RunOptions const& options) { return refuse(cli::run(options)); }

int act(cli::ListMachines const& options)
{
    if (options.name.empty()) return print(cli::machines_text());
    auto const text = cli::machine_text(options.name);
    return text ? print(*text) : refuse(text.error());
}

int act(cli::ListDevices const& options)
{
    if (options.name.empty()) return print(cli::devices_text());
    auto const text = cli::device_text(options.name);
    return text ? print(*text) : refuse(text.error());
}

int act(cli::Print const& what) { return print(what.text); }

}  // namespace

int main(int argc, char** argv)  // NOLINT(bugprone-exception-escape): what is left has no memory
{
    try {
        auto const options = cli::parse_options({argv + (argc > 0 ? 1 : 0), argv + argc});
        if (!options) return refuse(options.error());
        return std::visit([](auto const& what) { return act(what); }, *options);
    } catch (std::bad_alloc const&) {
        return refuse("there is not enough memory");
    }
}
