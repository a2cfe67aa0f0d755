#include "cli/run.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>

#include "cli/capabilities.hpp"
#include "cli/client_program.hpp"
#include "cli/launch.hpp"
#include "cli/report.hpp"
#include "cli/state_directory.hpp"
#include "host/lock_source.hpp"
#include "host/own_process.hpp"
#include "machine/disk_locks.hpp"
#include "machine/machine.hpp"

namespace pinfold::cli {

namespace {

using machine::Checked;
using machine::Description;
using Mode = machine::RunState::Mode;
using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

void say(std::string_view sentence) { fmt::print(stderr, "pinfold: {}\n", sentence); }

// Builds the machine once, to see that it can be and how its functions look; the client's engine
// builds its own.
Checked<std::vector<machine::Face>> look_at(Description const& description)
{
    host::FixedLockSource nothing_locked{0};
    host::OwnProcess process{nothing_locked, description.host.page_size};
    auto const machine = machine::Machine::build(description, process);
    if (!machine) return std::unexpected{machine.error()};
    return (*machine)->faces();
}

// Standard error, or the file, opened before the program runs so that it is known to be writable.
Checked<File> open_report(RunOptions const& options)
{
    if (options.report_file.empty()) return File{nullptr, nullptr};
    File file{std::fopen(options.report_file.c_str(), "we"), std::fclose};
    if (!file)
        return std::unexpected{
            fmt::format("--report: {}: {}", options.report_file, std::strerror(errno))};
    return file;
}

Checked<pid_t> launch_somehow(Launch const& what, RunOptions const& options, SignalGate const& gate)
{
    if (!options.no_namespace) {
        auto const client = launch(what, Mode::namespaced, gate);
        if (client) return *client;
        if (!client.error().refused) return std::unexpected{client.error().sentence};
        if (options.verbose) say(client.error().sentence + "; paths are rewritten instead");
    }
    auto const client = launch(what, Mode::paths, gate);
    if (!client) return std::unexpected{client.error().sentence};
    return *client;
}

// Everything up to the program's end. The state directory and the locks are gone afterwards.
struct Prepared {
    Launch launch;
    StateDirectory state;
    std::vector<UniqueFd> locks;
};

Checked<Prepared> prepare(RunOptions const& options)
{
    auto machine = describe(options);
    if (!machine) return std::unexpected{machine.error()};
    auto const program = find_program(options.command.front());
    if (!program) return std::unexpected{program.error()};
    auto const libraries = find_libraries();
    if (!libraries) return std::unexpected{libraries.error()};
    auto const faces = look_at(*machine);
    if (!faces) return std::unexpected{faces.error()};
    auto locks = machine::lock_disks(*machine);
    if (!locks) return std::unexpected{locks.error()};
    auto state = StateDirectory::create(*machine, *faces);
    if (!state) return std::unexpected{state.error()};
    Launch what{state->path(),     *machine, *faces,         *libraries,
                sample_lock_cap(), *program, options.command};
    return Prepared{std::move(what), std::move(*state), std::move(*locks)};
}

void tell(Prepared const& run, RunOptions const& options, RunOutcome const& outcome,
          std::FILE* report_file)
{
    constexpr std::size_t kMostLines = 20;
    auto const lines = run.state.log();
    for (std::size_t i = 0; i < std::min(lines.size(), kMostLines); ++i) say(lines[i]);
    if (lines.size() > kMostLines) say(fmt::format("and {} more", lines.size() - kMostLines));
    if (options.report) {
        auto* const out = report_file != nullptr ? report_file : stderr;
        auto const colour = ::isatty(::fileno(out)) == 1 && std::getenv("NO_COLOR") == nullptr;
        fmt::print(out, "{}", report(outcome, colour ? Colour::yes : Colour::no));
    }
    if (auto const hint = memlock_hint(outcome)) say(*hint);
}

}  // namespace

std::string run(RunOptions const& options)
{
    using Clock = std::chrono::steady_clock;
    int status = 0;
    {
        auto const report_file = open_report(options);
        if (!report_file) return report_file.error();
        SignalGate const gate;
        auto const prepared = prepare(options);
        if (!prepared) return prepared.error();
        if (gate.interrupted()) return "interrupted";
        auto const start = Clock::now();
        auto const client = launch_somehow(prepared->launch, options, gate);
        if (!client) return client.error();
        status = wait_for(*client);
        std::chrono::duration<double> const elapsed = Clock::now() - start;
        tell(*prepared, options,
             {options.command.front(), prepared->launch.machine.name, elapsed.count(), status,
              machine::read_counters(prepared->state.path())},
             report_file->get());
    }
    end_like(status);
}

}  // namespace pinfold::cli
