#include "machine/counters.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "machine/run_names.h"
#include "support/command.hpp"

namespace pinfold::machine {
namespace {

TEST(Counters, what_a_killed_process_counted_can_be_read)
{
    test::Scratch const scratch;
    std::filesystem::create_directory(scratch.path() / PINFOLD_DIR_COUNTERS);
    pid_t const child = ::fork();
    if (child == 0) {
        auto const counters = create_counters(scratch.path());
        counters->maps = 7;
        add(counters->mmio_traps, 3);
        add(counters->mmio_traps, 4);
        (void)::raise(SIGKILL);
    }
    (void)::waitpid(child, nullptr, 0);
    auto const all = read_counters(scratch.path());
    ASSERT_EQ(all.size(), 1U);
    EXPECT_EQ(all[0].maps, 7U);
    EXPECT_EQ(all[0].mmio_traps, 7U);
    EXPECT_EQ(all[0].pid, static_cast<std::uint64_t>(child));
}

TEST(Counters, each_engine_of_a_process_has_its_own)
{
    test::Scratch const scratch;
    std::filesystem::create_directory(scratch.path() / PINFOLD_DIR_COUNTERS);
    auto const first = create_counters(scratch.path());
    auto const second = create_counters(scratch.path());
    ASSERT_TRUE(first && second);
    first->maps = 1;
    second->maps = 2;
    EXPECT_EQ(read_counters(scratch.path()).size(), 2U);
}

TEST(Counters, a_file_of_another_kind_is_passed_over)
{
    test::Scratch const scratch;
    auto const directory = scratch.path() / PINFOLD_DIR_COUNTERS;
    std::filesystem::create_directory(directory);
    std::ofstream{directory / "short"} << "x";
    std::ofstream{directory / "zeros"} << std::string(sizeof(Counters), '\0');
    std::filesystem::create_symlink("/etc/passwd", directory / "link");
    EXPECT_TRUE(read_counters(scratch.path()).empty());
    EXPECT_TRUE(read_counters(scratch.path() / "missing").empty());
    EXPECT_EQ(create_counters(scratch.path() / "missing"), nullptr);
}

}  // namespace
}  // namespace pinfold::machine
