#include "machine/run_processes.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <fstream>
#include <iterator>
#include <string>

#include "machine/run_names.h"

namespace pinfold::machine {
namespace {

namespace fs = std::filesystem;

bool started_in(fs::path const& process, std::string const& variable)
{
    std::ifstream file{process / "environ", std::ios::binary};
    std::string environment{std::istreambuf_iterator<char>{file}, {}};
    environment.insert(environment.begin(), '\0');
    return environment.find('\0' + variable + '\0') != std::string::npos;
}

// A program that writes its title over its environment still has the run's files open.
bool has_open(fs::path const& process, fs::path const& state)
{
    std::error_code error;
    auto const below = state.string() + '/';
    for (auto const& entry : fs::directory_iterator{process / "fd", error})
        if (fs::read_symlink(entry.path(), error).string().starts_with(below)) return true;
    return false;
}

bool keeps(fs::path const& process)
{
    std::string name;
    std::getline(std::ifstream{process / "comm"} >> std::ws, name);
    return name == PINFOLD_KEEPER;
}

template <class Wanted>
std::vector<int> processes(fs::path const& state, Wanted wanted)
{
    std::vector<int> found;
    auto const variable = fmt::format("{}={}", PINFOLD_ENV_STATE, state.string());
    std::error_code error;
    for (auto const& entry : fs::directory_iterator{"/proc", error}) {
        auto const name = entry.path().filename().string();
        int pid = 0;
        auto const end = name.data() + name.size();
        if (std::from_chars(name.data(), end, pid).ptr != end || pid == ::getpid()) continue;
        if (wanted(entry.path()) &&
            (started_in(entry.path(), variable) || has_open(entry.path(), state)))
            found.push_back(pid);
    }
    return found;
}

}  // namespace

std::vector<int> processes_of(fs::path const& state)
{
    return processes(state, [](fs::path const& process) { return !keeps(process); });
}

std::vector<int> keepers_of(fs::path const& state)
{
    return processes(state, [](fs::path const& process) { return keeps(process); });
}

}  // namespace pinfold::machine
