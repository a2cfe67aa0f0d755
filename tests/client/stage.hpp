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

class ClientTest : public testing::TestWithParam<Way> {
protected:
    void SetUp() override
    {
        if (GetParam().as_nobody && ::geteuid() != 0) GTEST_SKIP() << "only root can become nobody";
        namespace fs = std::filesystem;
        fs::path const build{PINFOLD_BUILD_DIR};
        fs::path const clients{PINFOLD_CLIENT_DIR};
        for (auto const& file :
             {build / "pinfold", build / "libpinfold.so", build / "libpinfold-paths.so",
              build / "libpinfold-page.so", build / "libpinfold-engine.so",
              build / "examples/edu_dma", clients / "interposed_client", clients / "page_client",
              clients / "locked_client", clients / "peer_client", clients / "read_pin_client",
              clients / "edu_dma_static"})
            fs::copy_file(file, dir() / file.filename());
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

}  // namespace pinfold::test
