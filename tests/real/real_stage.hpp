// Where the tests of real clients run: the stage of the small ones, with what tests/real/prepare
// has fetched and built. A client that is not there is a failure.
#pragma once

#include <string>

#include "client/stage.hpp"
#include "client/works_with.hpp"

namespace pinfold::test {

// Real clients take their time, so they are left out of one way: as root without a namespace, which
// has nothing that the others lack. As nobody the namespace is in a user namespace.
inline auto const kRealWays = testing::Values(Way{true, false}, Way{true, true}, Way{false, true});

class RealStage : public Stage {
protected:
    // A file that tests/real/prepare has made.
    void bring_prepared(std::string const& file) const
    {
        auto const from = std::filesystem::path{PINFOLD_PREPARED_DIR} / file;
        ASSERT_TRUE(std::filesystem::exists(from))
            << from << " is not there: `ctest -R real_prepare` makes it";
        bring(from);
    }

    // `pinfold run OPTIONS -- PROGRAM`, ended as a failure after so many seconds.
    Outcome run_for(unsigned seconds, std::string const& options, std::string const& program) const
    {
        return run(fmt::format("timeout --kill-after=5 {} {}", seconds, pinfold(options, program)));
    }
};

}  // namespace pinfold::test
