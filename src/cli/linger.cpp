#include "cli/linger.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>

#include "machine/run_names.h"

namespace pinfold::cli {
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

// Nothing of the user's: no terminal, no pipe that somebody waits to see closed, no directory.
void withdraw(std::vector<UniqueFd> const& locks)
{
    (void)::setsid();
    (void)!::chdir("/");
    for (int const signal : {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE})
        (void)::signal(signal, SIG_IGN);
    int const null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int const fd : {0, 1, 2}) (void)(null < 0 ? ::close(fd) : ::dup2(null, fd));
    unsigned first = 3;
    std::vector<int> kept;
    for (auto const& lock : locks) kept.push_back(lock.get());
    std::ranges::sort(kept);
    for (int const fd : kept) {
        auto const number = static_cast<unsigned>(fd);
        if (first < number) (void)::close_range(first, number - 1, 0);
        first = number + 1;
    }
    (void)::close_range(first, ~0U, 0);
}

}  // namespace

std::vector<int> processes_of(fs::path const& state)
{
    std::vector<int> found;
    auto const variable = fmt::format("{}={}", PINFOLD_ENV_STATE, state.string());
    std::error_code error;
    for (auto const& entry : fs::directory_iterator{"/proc", error}) {
        auto const name = entry.path().filename().string();
        int pid = 0;
        auto const end = name.data() + name.size();
        if (std::from_chars(name.data(), end, pid).ptr != end || pid == ::getpid()) continue;
        if (started_in(entry.path(), variable) || has_open(entry.path(), state))
            found.push_back(pid);
    }
    return found;
}

bool linger(fs::path const& state, std::vector<UniqueFd> const& locks)
{
    if (processes_of(state).empty()) return false;
    pid_t const child = ::fork();
    if (child != 0) return child > 0;
    withdraw(locks);
    constexpr unsigned kInterval = 500'000;  // us
    while (!processes_of(state).empty()) (void)::usleep(kInterval);
    std::error_code nobody_to_tell;
    fs::remove_all(state, nobody_to_tell);
    ::_exit(0);
}

}  // namespace pinfold::cli
