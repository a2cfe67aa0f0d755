#include "cli/run.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>

#include "cli/capabilities.hpp"
#include "cli/client_program.hpp"
#include "cli/launch.hpp"
#include "cli/linger.hpp"
#include "cli/report.hpp"
#include "cli/state_directory.hpp"
#include "host/lock_source.hpp"
#include "host/own_process.hpp"
#include "machine/disk_locks.hpp"
#include "machine/machine.hpp"
#include "machine/run_names.h"

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

// The files that the run's results go to, opened before the program runs so that they are known to
// be writable. Empty: not asked for; the report then goes to standard error.
struct ResultFiles {
    File report{nullptr, nullptr};
    File log{nullptr, nullptr};
    File trace{nullptr, nullptr};
};

Checked<File> open_file(std::string_view option, std::string const& name)
{
    if (name.empty()) return File{nullptr, nullptr};
    File file{std::fopen(name.c_str(), "we"), std::fclose};
    if (!file)
        return std::unexpected{fmt::format("{}: {}: {}", option, name, std::strerror(errno))};
    return file;
}

Checked<ResultFiles> open_results(RunOptions const& options)
{
    auto report = open_file("--report", options.report_file);
    if (!report) return std::unexpected{report.error()};
    auto log = open_file("--log", options.log_file);
    if (!log) return std::unexpected{log.error()};
    auto trace = open_file("--trace-iommu", options.trace_file);
    if (!trace) return std::unexpected{trace.error()};
    return ResultFiles{std::move(*report), std::move(*log), std::move(*trace)};
}

void copy_into(File const& to, std::string_view option, std::filesystem::path const& from)
{
    if (!to) return;
    File const in{std::fopen(from.c_str(), "re"), std::fclose};
    std::array<char, 65536> buffer;
    bool good = in != nullptr;
    while (good && std::feof(in.get()) == 0) {
        auto const got = std::fread(buffer.data(), 1, buffer.size(), in.get());
        good = std::ferror(in.get()) == 0 && std::fwrite(buffer.data(), 1, got, to.get()) == got;
    }
    if (!good || std::fflush(to.get()) != 0)
        say(fmt::format("{}: not everything could be written: {}", option, std::strerror(errno)));
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
    auto state = StateDirectory::create(*machine, *faces,
                                        {!options.log_file.empty(), !options.trace_file.empty()});
    if (!state) return std::unexpected{state.error()};
    Launch what{state->path(),     *machine, *faces,         *libraries,
                sample_lock_cap(), *program, options.command};
    return Prepared{std::move(what), std::move(*state), std::move(*locks)};
}

void tell(Prepared const& run, RunOptions const& options, RunOutcome const& outcome,
          ResultFiles const& files)
{
    copy_into(files.log, "--log", run.state.path() / PINFOLD_FILE_KERNEL_LOG);
    copy_into(files.trace, "--trace-iommu", run.state.path() / PINFOLD_FILE_TRACE);
    constexpr std::size_t kMostLines = 20;
    auto lines = run.state.log();
    lines.erase(std::ranges::unique(lines).begin(), lines.end());
    for (std::size_t i = 0; i < std::min(lines.size(), kMostLines); ++i) say(lines[i]);
    if (lines.size() > kMostLines) say(fmt::format("and {} more", lines.size() - kMostLines));
    if (options.report) {
        auto* const out = files.report ? files.report.get() : stderr;
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
        auto const files = open_results(options);
        if (!files) return files.error();
        SignalGate const gate;
        auto prepared = prepare(options);
        if (!prepared) return prepared.error();
        if (gate.interrupted()) return "interrupted";
        auto const start = Clock::now();
        auto const client = launch_somehow(prepared->launch, options, gate);
        if (!client) return client.error();
        status = wait_for(*client);
        std::chrono::duration<double> const elapsed = Clock::now() - start;
        await_keepers(prepared->state.path());
        tell(*prepared, options,
             {options.command.front(), prepared->launch.machine.name, elapsed.count(), status,
              machine::read_counters(prepared->state.path())},
             *files);
        if (linger(prepared->state.path(), prepared->locks)) prepared->state.leave();
    }
    end_like(status);
}

}  // namespace pinfold::cli
