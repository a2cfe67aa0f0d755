#include "cli/options.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <deque>

#include "cli/help.hpp"
#include "machine/text.hpp"

namespace pinfold::cli {

namespace {

using Arguments = std::vector<std::string>;
using machine::Checked;

constexpr std::array<std::string_view, 3> kVerbs{"run", "machines", "devices"};

std::unexpected<std::string> wrong(std::string_view sentence, std::string_view help)
{
    return std::unexpected{fmt::format("{}; see {}", sentence, help)};
}

// CLI11's own sentences, without its line breaks.
std::string sentence_of(CLI::ParseError const& error)
{
    std::string text = error.what();
    std::ranges::replace(text, '\n', ' ');
    while (text.ends_with(' ') || text.ends_with('.')) text.pop_back();
    return text;
}

// Parses `arguments` (without the program's name and the verb) by `app`. False: help was asked for.
Checked<bool> parse(CLI::App& app, Arguments arguments, std::string const& help_command)
{
    app.set_help_flag();
    bool help = false;
    app.add_flag("-h,--help", help);
    std::ranges::reverse(arguments);  // as CLI11 wants them
    try {
        app.parse(std::move(arguments));
    } catch (CLI::ParseError const& error) {
        return wrong(sentence_of(error), help_command);
    }
    return !help;
}

// Options that may be there once, with a value.
class Singles {
public:
    explicit Singles(CLI::App& app) : app_{app} {}

    void add(std::string const& name, std::optional<std::string>& into)
    {
        auto& single = singles_.emplace_back(name, &into);
        app_.add_option(name, single.given)->expected(1)->take_all();
    }
    // After the parse.
    Checked<void> hand_over() const
    {
        for (auto const& single : singles_) {
            if (single.given.size() > 1)
                return wrong(single.name + " is there twice", "pinfold run --help");
            if (!single.given.empty()) *single.into = single.given.front();
        }
        return {};
    }

private:
    struct Single {
        Single(std::string called, std::optional<std::string>* where)
            : name{std::move(called)}, into{where}
        {
        }
        std::string name;
        std::optional<std::string>* into;
        Arguments given;
    };
    CLI::App& app_;
    std::deque<Single> singles_;  // CLI11 keeps their addresses
};

Checked<Options> parse_run(Arguments const& arguments)
{
    RunOptions options;
    auto const mark = std::ranges::find(arguments, "--");
    CLI::App app;
    Arguments stray;
    std::optional<std::string> machine, log, trace;
    Singles singles{app};
    singles.add("--machine", machine);
    singles.add("--kernel", options.kernel);
    singles.add("--policy", options.policy);
    singles.add("--host-page", options.host_page);
    singles.add("--iommu-pages", options.iommu_pages);
    singles.add("--aperture", options.aperture);
    singles.add("--memlock", options.memlock);
    singles.add("--log", log);
    singles.add("--trace-iommu", trace);
    app.add_option("--device", options.devices)->expected(1)->take_all();
    app.add_flag("--allow-coarse", options.allow_coarse);
    app.add_flag("--no-namespace", options.no_namespace);
    app.add_flag("--verbose", options.verbose);
    auto* const report = app.add_option("--report", options.report_file)->expected(0, 1);
    app.add_option("program", stray);
    auto const parsed = parse(app, {arguments.begin(), mark}, "pinfold run --help");
    if (!parsed) return std::unexpected{parsed.error()};
    if (!*parsed) return Print{std::string{run_help()}};
    if (auto const fine = singles.hand_over(); !fine) return std::unexpected{fine.error()};
    options.machine = machine.value_or(options.machine);
    options.log_file = log.value_or("");
    options.trace_file = trace.value_or("");
    options.report = report->count() > 0;

    if (!stray.empty())
        return wrong(fmt::format("{} is no option of run; -- goes before the program, as in "
                                 "pinfold run -- {}",
                                 machine::in_quotes(stray.front()), fmt::join(stray, " ")),
                     "pinfold run --help");
    if (mark != arguments.end()) options.command.assign(mark + 1, arguments.end());
    if (options.command.empty())
        return wrong("there is no program to run: pinfold run [OPTION]... -- PROGRAM [ARGUMENT]...",
                     "pinfold run --help");
    return options;
}

Checked<Options> parse_machines(Arguments const& arguments)
{
    ListMachines options;
    CLI::App app;
    app.add_option("name", options.name);
    auto const parsed = parse(app, arguments, "pinfold machines --help");
    if (!parsed) return std::unexpected{parsed.error()};
    if (!*parsed) return Print{std::string{machines_help()}};
    return options;
}

Checked<Options> parse_devices(Arguments const& arguments)
{
    ListDevices options;
    CLI::App app;
    app.add_option("name", options.name);
    auto const parsed = parse(app, arguments, "pinfold devices --help");
    if (!parsed) return std::unexpected{parsed.error()};
    if (!*parsed) return Print{std::string{devices_help()}};
    return options;
}

}  // namespace

Checked<Options> parse_options(Arguments const& arguments)
{
    if (arguments.empty()) return wrong("there is no command", "pinfold --help");
    auto const& verb = arguments.front();
    Arguments const rest{arguments.begin() + 1, arguments.end()};
    if (verb == "run") return parse_run(rest);
    if (verb == "machines") return parse_machines(rest);
    if (verb == "devices") return parse_devices(rest);
    if (verb == "-h" || verb == "--help" || verb == "help") return Print{std::string{main_help()}};
    if (verb == "--version") return Print{version_text()};
    return wrong(fmt::format("{} is no command of pinfold{}", machine::in_quotes(verb),
                             machine::suggestion(verb, kVerbs)),
                 "pinfold --help");
}

}  // namespace pinfold::cli
