#include "cli/linger.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>

#include "machine/run_processes.hpp"

namespace pinfold::cli {
namespace {

namespace fs = std::filesystem;

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

bool anybody_of(fs::path const& state)
{
    return !machine::processes_of(state).empty() || !machine::keepers_of(state).empty();
}

}  // namespace

void await_keepers(fs::path const& state)
{
    constexpr int kRounds = 1000;
    constexpr unsigned kInterval = 2'000;  // us
    for (int i = 0; i < kRounds && !machine::keepers_of(state).empty(); ++i) {
        if (!machine::processes_of(state).empty()) return;
        (void)::usleep(kInterval);
    }
}

bool linger(fs::path const& state, std::vector<UniqueFd> const& locks)
{
    if (!anybody_of(state)) return false;
    pid_t const child = ::fork();
    if (child != 0) return child > 0;
    withdraw(locks);
    constexpr unsigned kInterval = 500'000;  // us
    while (anybody_of(state)) (void)::usleep(kInterval);
    std::error_code nobody_to_tell;
    fs::remove_all(state, nobody_to_tell);
    ::_exit(0);
}

}  // namespace pinfold::cli
