// Where client tests run: a copy of the tool that any user can reach, and the ways to run it: with
// a mount namespace and without, as the user of the test and as nobody.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "support/command.hpp"

namespace pinfold::test {

struct Way {
    bool with_namespace;
    bool as_nobody;
};

inline std::string name(testing::TestParamInfo<Way> const& info)
{
    return fmt::format("{}_{}", info.param.with_namespace ? "namespace" : "paths",
                       info.param.as_nobody ? "nobody" : "self");
}

inline auto const kWays =
    testing::Values(Way{true, false}, Way{true, true}, Way{false, false}, Way{false, true});

class Stage : public testing::TestWithParam<Way> {
protected:
    void SetUp() override
    {
        if (GetParam().as_nobody && ::geteuid() != 0) GTEST_SKIP() << "only root can become nobody";
        std::filesystem::path const build{PINFOLD_BUILD_DIR};
        for (auto const* const file : {"pinfold", "libpinfold.so", "libpinfold-paths.so",
                                       "libpinfold-page.so", "libpinfold-engine.so"})
            bring(build / file);
    }

    // Copies a file into the stage's directory, under its own name.
    void bring(std::filesystem::path const& file) const
    {
        std::filesystem::copy_file(file, dir() / file.filename());
    }

    std::filesystem::path const& dir() const { return scratch_.path(); }

    // `command` as the user of this way, in the stage's directory.
    Outcome run(std::string const& command) const
    {
        std::string const become =
            GetParam().as_nobody ? "setpriv --reuid=65534 --regid=65534 --clear-groups " : "";
        return shell(fmt::format("cd {} && {}sh -c '{}'", dir().string(), become, command));
    }
    // `pinfold run OPTIONS -- PROGRAM` this way. What nobody may lock is another test's business.
    std::string pinfold(std::string const& options, std::string const& program,
                        std::string const& memlock = "--memlock unlimited") const
    {
        return fmt::format("./pinfold run {} {} {} -- {}",
                           GetParam().with_namespace ? "" : "--no-namespace", memlock, options,
                           program);
    }
    Outcome run_pinfold(std::string const& options, std::string const& program) const
    {
        return run(pinfold(options, program));
    }

    // A machine file in the stage's directory.
    void write_machine(std::string const& name, std::string const& text) const
    {
        std::ofstream{dir() / name} << text;
    }

private:
    Scratch scratch_;
};

// With the small clients of this folder.
class ClientTest : public Stage {
protected:
    void SetUp() override
    {
        Stage::SetUp();
        if (IsSkipped()) return;
        bring(std::filesystem::path{PINFOLD_BUILD_DIR} / "examples/edu_dma");
        std::filesystem::path const clients{PINFOLD_CLIENT_DIR};
        for (auto const* const file :
             {"interposed_client", "page_client", "locked_client", "peer_client", "read_pin_client",
              "shared_client", "exec_client", "faults_client", "edu_dma_asan", "edu_dma_static"})
            bring(clients / file);
    }
};

}  // namespace pinfold::test
