#include "cli/options.hpp"

#include <gtest/gtest.h>

#include "cli/help.hpp"

namespace pinfold::cli {
namespace {

using Arguments = std::vector<std::string>;

template <class T>
T parsed(Arguments const& arguments)
{
    auto const options = parse_options(arguments);
    EXPECT_TRUE(options) << options.error();
    return std::get<T>(options.value());
}

TEST(Options, run_takes_its_options_before_the_mark_and_the_program_after_it)
{
    auto const run =
        parsed<RunOptions>({"run", "--machine", "m.toml", "--device", "edu,bdf=00:04.0",
                            "--device=nvme,disk=a b", "--memlock", "8M", "--no-namespace",
                            "--verbose", "--report=r.txt", "--", "prog", "--report", "--", "x"});
    EXPECT_EQ(run.machine, "m.toml");
    EXPECT_EQ(run.devices, (Arguments{"edu,bdf=00:04.0", "nvme,disk=a b"}));
    EXPECT_EQ(run.memlock, "8M");
    EXPECT_TRUE(run.no_namespace);
    EXPECT_TRUE(run.verbose);
    EXPECT_TRUE(run.report);
    EXPECT_EQ(run.report_file, "r.txt");
    EXPECT_EQ(run.command, (Arguments{"prog", "--report", "--", "x"}));
}

TEST(Options, what_is_said_on_top_of_a_machine_is_handed_on)
{
    auto const run =
        parsed<RunOptions>({"run", "--kernel", "6.1", "--policy=subpage", "--host-page", "64K",
                            "--iommu-pages", "4K,2M", "--aperture", "48", "--allow-coarse", "--log",
                            "k.log", "--trace-iommu", "t", "--", "p"});
    EXPECT_EQ(run.kernel, "6.1");
    EXPECT_EQ(run.policy, "subpage");
    EXPECT_EQ(run.host_page, "64K");
    EXPECT_EQ(run.iommu_pages, "4K,2M");
    EXPECT_EQ(run.aperture, "48");
    EXPECT_TRUE(run.allow_coarse);
    EXPECT_EQ(run.log_file, "k.log");
    EXPECT_EQ(run.trace_file, "t");
    for (auto const* const option : {"--kernel", "--policy", "--aperture", "--log"})
        EXPECT_EQ(parse_options({"run", option, "a", option, "b", "--", "p"}).error(),
                  std::string{option} + " is there twice; see pinfold run --help");
}

TEST(Options, a_plain_run_is_on_vtd_and_silent)
{
    auto const run = parsed<RunOptions>({"run", "--", "prog"});
    EXPECT_EQ(run.machine, "vtd");
    EXPECT_TRUE(run.devices.empty());
    EXPECT_FALSE(run.memlock);
    EXPECT_FALSE(run.no_namespace || run.verbose || run.report);
}

TEST(Options, report_without_a_file_goes_to_standard_error)
{
    for (auto const& arguments : {Arguments{"run", "--report", "--", "p"},
                                  Arguments{"run", "--report", "--verbose", "--", "p"}}) {
        auto const run = parsed<RunOptions>(arguments);
        EXPECT_TRUE(run.report);
        EXPECT_EQ(run.report_file, "");
    }
}

TEST(Options, help_is_printed_wherever_it_is_asked_for)
{
    EXPECT_EQ(parsed<Print>({"--help"}).text, main_help());
    EXPECT_EQ(parsed<Print>({"-h"}).text, main_help());
    EXPECT_EQ(parsed<Print>({"help"}).text, main_help());
    EXPECT_EQ(parsed<Print>({"run", "--help"}).text, run_help());
    EXPECT_EQ(parsed<Print>({"run", "--machine", "x", "-h"}).text, run_help());
    EXPECT_EQ(parsed<Print>({"machines", "--help"}).text, machines_help());
    EXPECT_EQ(parsed<Print>({"devices", "--help"}).text, devices_help());
    EXPECT_EQ(parsed<Print>({"--version"}).text, version_text());
}

TEST(Options, help_after_the_mark_is_the_programs)
{
    EXPECT_EQ(parsed<RunOptions>({"run", "--", "prog", "--help"}).command.back(), "--help");
}

TEST(Options, help_texts_fit_a_terminal)
{
    for (auto const text : {main_help(), run_help(), machines_help(), devices_help()}) {
        std::size_t at = 0;
        while (at < text.size()) {
            auto const end = text.find('\n', at);
            ASSERT_NE(end, std::string_view::npos);
            EXPECT_LE(end - at, 80U) << text.substr(at, end - at);
            at = end + 1;
        }
    }
}

struct Wrong {
    Arguments arguments;
    std::string sentence;
};
class WrongOptions : public testing::TestWithParam<Wrong> {};

TEST_P(WrongOptions, are_refused_with_a_sentence_that_leads_to_help)
{
    auto const options = parse_options(GetParam().arguments);
    ASSERT_FALSE(options);
    EXPECT_EQ(options.error(), GetParam().sentence);
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, WrongOptions,
    testing::Values(
        Wrong{{}, "there is no command; see pinfold --help"},
        Wrong{{"rnu"}, "\"rnu\" is no command of pinfold; did you mean run?; see pinfold --help"},
        Wrong{
            {"--zebra"},
            "\"--zebra\" is no command of pinfold; allowed here are run, machines and devices; see "
            "pinfold --help"},
        Wrong{{"run"},
              "there is no program to run: pinfold run [OPTION]... -- PROGRAM [ARGUMENT]...; see "
              "pinfold run --help"},
        Wrong{{"run", "--"},
              "there is no program to run: pinfold run [OPTION]... -- PROGRAM [ARGUMENT]...; see "
              "pinfold run --help"},
        Wrong{
            {"run", "ls", "/dev"},
            "\"ls\" is no option of run; -- goes before the program, as in pinfold run -- ls /dev; "
            "see pinfold run --help"},
        Wrong{{"run", "--zebra", "--", "ls"},
              "The following argument was not expected: --zebra; see pinfold run --help"},
        Wrong{{"run", "--device", "--", "ls"},
              "--device: 1 required TEXT missing; see pinfold run --help"},
        Wrong{{"run", "--machine", "a", "--machine", "b", "--", "ls"},
              "--machine is there twice; see pinfold run --help"},
        Wrong{{"machines", "a", "b"},
              "The following argument was not expected: b; see pinfold machines --help"},
        Wrong{{"devices", "a", "b"},
              "The following argument was not expected: b; see pinfold devices --help"}));

}  // namespace
}  // namespace pinfold::cli
