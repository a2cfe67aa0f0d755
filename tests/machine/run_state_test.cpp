#include "machine/run_state.hpp"

#include <gtest/gtest.h>

#include "support/command.hpp"

namespace pinfold::machine {
namespace {

RunState some_run()
{
    RunState run;
    run.mode = RunState::Mode::paths;
    run.lock_cap = host::LockCap::yes;
    run.engine = "/some where/libpinfold-engine.so";
    run.nodes = {{.group = std::nullopt, .mount_id = 71, .st_dev = 5, .st_ino = 90},
                 {.group = 12, .mount_id = ~std::uint64_t{0}, .st_dev = 6, .st_ino = 91}};
    run.devices = {{Bdf{0, 0, 4, 0}, 12, 7, 8}};
    return run;
}

TEST(RunState, the_engine_reads_what_the_launcher_wrote)
{
    test::Scratch const scratch;
    auto const written = some_run();
    ASSERT_TRUE(write_run_state(scratch.path(), written));
    auto const read = read_run_state(scratch.path());
    ASSERT_TRUE(read) << read.error();
    EXPECT_EQ(read->mode, written.mode);
    EXPECT_EQ(read->lock_cap, written.lock_cap);
    EXPECT_EQ(read->engine, written.engine);
    ASSERT_EQ(read->nodes.size(), 2U);
    EXPECT_EQ(read->nodes[0].group, std::nullopt);
    EXPECT_EQ(read->nodes[0].mount_id, 71U);
    EXPECT_EQ(read->nodes[1].group, 12U);
    EXPECT_EQ(read->nodes[1].mount_id, ~std::uint64_t{0});
    EXPECT_EQ(read->nodes[1].st_ino, 91U);
    ASSERT_EQ(read->devices.size(), 1U);
    EXPECT_EQ(read->devices[0].bdf, (Bdf{0, 0, 4, 0}));
    EXPECT_EQ(read->devices[0].st_dev, 7U);
}

TEST(RunState, a_line_that_is_malformed_is_named)
{
    test::Scratch const scratch;
    auto const file = scratch.path() / PINFOLD_FILE_RUN;
    for (auto const* const line : {"", "zebra 1", "mode", "mode x", "lock_cap maybe", "engine",
                                   "node", "node x 1 2 3", "node 1 2 3", "node 9999 1 2 3",
                                   "device 0000:00:04.0", "device x 1 2 3", "node 1 2 3 x"}) {
        std::ofstream{file} << "mode paths\n" << line << '\n';
        auto const read = read_run_state(scratch.path());
        ASSERT_FALSE(read) << line;
        EXPECT_EQ(read.error(), file.string() + ":2: \"" + line + "\" is malformed");
    }
    EXPECT_FALSE(read_run_state(scratch.path() / "missing"));
}

TEST(RunState, the_tree_mirrors_absolute_paths)
{
    EXPECT_EQ(mirrored("/s", "/sys/bus"), "/s/root/sys/bus");
    EXPECT_EQ(device_file("/s", Bdf{0, 0, 4, 0}), "/s/devices/0000:00:04.0");
}

}  // namespace
}  // namespace pinfold::machine
