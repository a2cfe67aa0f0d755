// The built command, copied to where any user can reach it.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "support/command.hpp"

namespace pinfold::cli {

class CommandTest : public testing::Test {
protected:
    void SetUp() override
    {
        namespace fs = std::filesystem;
        for (auto const* const file : {"pinfold", "libpinfold.so", "libpinfold-paths.so",
                                       "libpinfold-page.so", "libpinfold-engine.so"}) {
            auto const built = fs::path{PINFOLD_BUILD_DIR} / file;
            if (fs::exists(built)) fs::copy_file(built, dir() / file);
        }
    }
    std::filesystem::path const& dir() const { return scratch_.path(); }
    std::string path(std::string_view name) const { return (dir() / name).string(); }

    // `arguments` as the shell reads them, by the test's user or by nobody.
    test::Outcome pinfold(std::string const& arguments) const
    {
        return test::shell(fmt::format("cd {}; ./pinfold {}", dir().string(), arguments));
    }
    test::Outcome as_nobody(std::string const& command) const
    {
        return test::shell(
            fmt::format("cd {}; exec setpriv --reuid=65534 --regid=65534 --clear-groups {}",
                        dir().string(), command));
    }
    static bool can_be_nobody() { return ::geteuid() == 0; }

private:
    test::Scratch scratch_;
};

}  // namespace pinfold::cli
