#include "cli/launch.hpp"

#include "cli/client_program.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <set>

#include "base/unique_fd.hpp"
#include "cli/device_tree.hpp"
#include "cli/mount_namespace.hpp"

namespace pinfold::cli {

namespace {

namespace fs = std::filesystem;
using machine::RunState;
using Mode = RunState::Mode;
using Started = std::expected<void, LaunchFailure>;

// Stands in the tree too where there is no namespace (add_hosts_modules).
constexpr char kModules[] = "/sys/module";

std::unexpected<LaunchFailure> failed(std::string sentence, bool refused = false)
{
    return std::unexpected{LaunchFailure{std::move(sentence), refused}};
}

std::vector<RunState::Node> nodes_of(std::vector<machine::Face> const& faces)
{
    std::set<unsigned> groups;
    for (auto const& face : faces) groups.insert(face.group);
    std::vector<RunState::Node> nodes(1);
    for (auto const group : groups) nodes.push_back({.group = group});
    return nodes;
}

// A file's identity, into anything with st_dev and st_ino.
template <class Named>
Started identify(fs::path const& path, Named& named)
{
    struct stat status{};
    if (::stat(path.c_str(), &status) != 0)
        return failed(fmt::format("{}: {}", path.string(), std::strerror(errno)));
    named.st_dev = status.st_dev;
    named.st_ino = status.st_ino;
    return {};
}

Started identify_placeholders(fs::path const& state, std::vector<RunState::Node>& nodes)
{
    for (auto& node : nodes) {
        auto const name =
            node.group ? fmt::format("{}", *node.group) : std::string{PINFOLD_NODE_CONTAINER};
        auto const path = machine::mirrored(state, fs::path{PINFOLD_NODE_DIR} / name);
        if (auto const known = identify(path, node); !known) return known;
    }
    return {};
}

Started leave_word(Launch const& what, Mode mode, std::vector<RunState::Node> nodes)
{
    RunState run{mode, what.lock_cap, what.libraries.engine, std::move(nodes), {}};
    for (auto const& face : what.faces) {
        auto& file = run.devices.emplace_back(face.bdf, face.group);
        if (auto const known = identify(machine::device_file(what.state, face.bdf), file); !known)
            return known;
    }
    if (auto const written = machine::write_run_state(what.state, run); !written)
        return failed(written.error());
    return {};
}

void set_environment(Launch const& what, Mode mode)
{
    ::setenv(PINFOLD_ENV_STATE, what.state.c_str(), 1);
    ::setenv(PINFOLD_ENV_ENGINE, what.libraries.engine.c_str(), 1);
    ::setenv(PINFOLD_ENV_MODE, mode == Mode::paths ? PINFOLD_MODE_PATHS : PINFOLD_MODE_NAMESPACE,
             1);
    auto const host_page = what.machine.host.page_size;
    if (emulates_page(host_page))
        ::setenv(PINFOLD_ENV_HOST_PAGE, fmt::format("{}", host_page.bytes()).c_str(), 1);
    else
        ::unsetenv(PINFOLD_ENV_HOST_PAGE);
    auto const list = preload_list(what.libraries, mode, host_page, std::getenv("LD_PRELOAD"));
    ::setenv("LD_PRELOAD", list.c_str(), 1);
    if (needs_library(what.program, "libasan.so"))
        ::setenv("ASAN_OPTIONS", sanitizer_options(std::getenv("ASAN_OPTIONS")).c_str(), 1);
}

LaunchFailure as_failure(NamespaceRefused const& refused)
{
    return {fmt::format("no mount namespace can be made: {}: {}", refused.what,
                        std::strerror(number(refused.error))),
            true};
}

bool at_or_below(fs::path const& path, fs::path const& directory)
{
    return std::ranges::mismatch(directory, path).in1 == directory.end();
}

// A working directory that the tree stands for would lead on into the computer's own.
Started leave_hosts_directory(fs::path const& state)
{
    std::error_code error;
    auto const here = fs::current_path(error);
    if (error) return {};
    auto const covered = tree_directories();
    auto const covers = [&](fs::path const& directory) { return at_or_below(here, directory); };
    if (here != kModules && std::ranges::none_of(covered, covers)) return {};
    if (::chdir(machine::mirrored(state, here).c_str()) != 0)
        return failed(fmt::format("{}: the run has no such working directory: {}", here.string(),
                                  std::strerror(errno)));
    return {};
}

// The tree, where the client will find it.
Started lay_out(Launch const& what, Mode mode, std::vector<RunState::Node>& nodes)
{
    if (mode == Mode::namespaced)
        if (auto const entered = enter_mount_namespace(what.state); !entered)
            return std::unexpected{as_failure(entered.error())};
    if (auto const written = write_tree(what.state, what.machine, what.faces); !written)
        return failed(written.error());
    if (mode == Mode::paths) {
        if (auto const added = add_hosts_modules(what.state); !added) return failed(added.error());
        if (auto const left = leave_hosts_directory(what.state); !left) return left;
        return identify_placeholders(what.state, nodes);
    }
    auto const placed = put_tree_in_place(what.state, tree_directories(), nodes);
    if (!placed) return std::unexpected{as_failure(placed.error())};
    return {};
}

// Returns only where the program could not be started.
LaunchFailure become(Launch const& what, Mode mode, SignalGate const& gate, pid_t launcher)
{
    auto nodes = nodes_of(what.faces);
    if (auto const laid_out = lay_out(what, mode, nodes); !laid_out) return laid_out.error();
    if (auto const left = leave_word(what, mode, std::move(nodes)); !left) return left.error();
    set_environment(what, mode);

    std::vector<char*> arguments;
    for (auto const& argument : what.arguments)
        arguments.push_back(const_cast<char*>(argument.c_str()));
    arguments.push_back(nullptr);
    gate.reopen();
    // A launcher that is killed outright can hand nothing on; its client must not be left alone.
    (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != launcher) ::_exit(1);
    ::execv(what.program.c_str(), arguments.data());
    return {fmt::format("{}: {}", what.program, std::strerror(errno)), false};
}

[[noreturn]] void run_child(Launch const& what, Mode mode, SignalGate const& gate, pid_t launcher,
                            int report)
{
    auto const failure = become(what, mode, gate, launcher);
    auto const message = (failure.refused ? 'r' : 'f') + failure.sentence;
    (void)!::write(report, message.data(), message.size());
    ::_exit(1);
}

std::string read_all(int fd)
{
    std::string all;
    char buffer[512];
    for (;;) {
        auto const got = ::read(fd, buffer, sizeof buffer);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return all;
        all.append(buffer, static_cast<std::size_t>(got));
    }
}

}  // namespace

std::expected<pid_t, LaunchFailure> launch(Launch const& what, Mode mode, SignalGate const& gate)
{
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return failed(fmt::format("pipe: {}", std::strerror(errno)));
    UniqueFd const from_child{ends[0]};
    UniqueFd to_parent{ends[1]};
    pid_t const launcher = ::getpid();
    pid_t const child = ::fork();
    if (child < 0) return failed(fmt::format("fork: {}", std::strerror(errno)));
    if (child == 0) run_child(what, mode, gate, launcher, to_parent.get());

    // The pipe closes by itself when the child has become the program.
    to_parent = UniqueFd{};
    auto const message = read_all(from_child.get());
    if (message.empty()) return child;
    (void)::waitpid(child, nullptr, 0);
    return failed(message.substr(1), message.front() == 'r');
}

}  // namespace pinfold::cli
