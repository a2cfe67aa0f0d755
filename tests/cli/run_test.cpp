// pinfold run, with programs that know nothing of VFIO, or only look at its files.
#include <unistd.h>

#include <filesystem>

#include "cli/command.hpp"

namespace pinfold::cli {
namespace {

TEST_F(CommandTest, a_run_is_silent_and_passes_the_exit_status_through)
{
    for (int const status : {0, 1, 2, 7, 126, 127, 255}) {
        auto const outcome =
            pinfold(fmt::format("run -- sh -c 'echo out; echo err >&2; exit {}'", status));
        EXPECT_EQ(outcome.status, status);
        EXPECT_EQ(outcome.out, "out\n");
        EXPECT_EQ(outcome.err, "err\n");
    }
}

// The run is over for the user when the program ends; its files stay for what it leaves behind.
TEST_F(CommandTest, a_daemon_keeps_the_runs_files_until_it_ends)
{
    for (auto const* const how : {"", "--no-namespace"}) {
        auto const said = dir() / "said";
        std::filesystem::remove(said);
        auto const outcome = pinfold(fmt::format(
            "run {} -- sh -c 'echo $PINFOLD_STATE; (setsid sh -c \"sleep 1; cat "
            "/sys/bus/pci/devices/0000:00:04.0/vendor; ls /dev/vfio\" >{} 2>&1 </dev/null &)'",
            how, said.string()));
        EXPECT_EQ(outcome.status, 0) << outcome.err;
        auto const state = outcome.out.substr(0, outcome.out.find('\n'));
        EXPECT_TRUE(std::filesystem::exists(state)) << state;
        for (int i = 0; i < 100 && std::filesystem::exists(state); ++i) (void)::usleep(100000);
        EXPECT_FALSE(std::filesystem::exists(state)) << state;
        EXPECT_EQ(test::shell("cat " + said.string()).out, "0x1234\n0\nvfio\n") << how;
    }
}

TEST_F(CommandTest, arguments_arrive_as_they_were_given)
{
    EXPECT_EQ(pinfold("run -- printf '[%s]' a '' 'b c' -- --report '*'").out,
              "[a][][b c][--][--report][*]");
}

TEST_F(CommandTest, standard_input_is_the_programs)
{
    EXPECT_EQ(test::shell("cd " + dir().string() + "; echo hello | ./pinfold run -- cat").out,
              "hello\n");
}

TEST_F(CommandTest, descriptors_that_were_open_stay_and_no_others_come)
{
    auto const list = "sh -c 'cd /proc/self/fd && echo *'";
    auto const without = test::shell(fmt::format("exec 9</dev/null; {}", list)).out;
    auto const with = test::shell(fmt::format("cd {}; exec 9</dev/null; ./pinfold run -- {}",
                                              dir().string(), list))
                          .out;
    EXPECT_EQ(with, without);
}

TEST_F(CommandTest, the_default_machine_has_one_edu)
{
    for (auto const* const how : {"", "--no-namespace"}) {
        auto const outcome =
            pinfold(fmt::format("run {} -- sh -c 'cd /sys/bus/pci/devices 2>/dev/null; cat "
                                "/sys/bus/pci/devices/0000:00:04.0/vendor "
                                "/sys/bus/pci/devices/0000:00:04.0/device'",
                                how));
        EXPECT_EQ(outcome.out, "0x1234\n0x11e8\n") << how << outcome.err;
    }
}

TEST_F(CommandTest, only_the_machines_devices_are_on_the_bus)
{
    for (auto const* const how : {"", "--no-namespace"}) {
        auto const outcome = pinfold(fmt::format(
            "run {} --device edu,bdf=0000:00:04.0 --device edu,bdf=0003:07:1f.5,group=9 -- "
            "ls /sys/bus/pci/devices /sys/kernel/iommu_groups /dev/vfio",
            how));
        EXPECT_EQ(outcome.out,
                  "/dev/vfio:\n0\n9\nvfio\n\n/sys/bus/pci/devices:\n0000:00:04.0\n0003:07:1f.5\n\n"
                  "/sys/kernel/iommu_groups:\n0\n9\n")
            << how << outcome.err;
    }
}

TEST_F(CommandTest, the_namespaces_links_lead_to_the_device)
{
    auto const outcome = pinfold(
        "run --device edu,bdf=0003:07:1f.5,group=9 -- sh -c 'for link in "
        "/sys/bus/pci/devices/0003:07:1f.5 /sys/bus/pci/drivers/vfio-pci/0003:07:1f.5 "
        "/sys/kernel/iommu_groups/9/devices/0003:07:1f.5 "
        "/sys/bus/pci/devices/0003:07:1f.5/iommu_group /sys/bus/pci/devices/0003:07:1f.5/driver; "
        "do "
        "readlink -e $link; done'");
    EXPECT_EQ(outcome.out,
              "/sys/devices/pinfold/pci0003:07/0003:07:1f.5\n/sys/devices/pinfold/pci0003:07/"
              "0003:07:1f.5\n"
              "/sys/devices/pinfold/pci0003:07/0003:07:1f.5\n/sys/kernel/iommu_groups/9\n"
              "/sys/bus/pci/drivers/vfio-pci\n")
        << outcome.err;
}

TEST_F(CommandTest, nodes_answer_nothing_to_whom_pinfold_is_not_in)
{
    // An empty LD_PRELOAD is how a program comes to be without.
    auto const outcome = pinfold("run -- env -u LD_PRELOAD cat /dev/vfio/vfio");
    EXPECT_EQ(outcome.out, "");
    if (::access("/dev/fuse", R_OK | W_OK) == 0) {
        EXPECT_NE(outcome.status, 0);
    }
}

TEST_F(CommandTest, nothing_is_left_behind)
{
    auto const run = [&](std::string const& program) {
        return test::shell(
                   fmt::format("cd {0}; mkdir -p t; TMPDIR={0}/t XDG_RUNTIME_DIR= ./pinfold "
                               "run -- {1}; ls t",
                               dir().string(), program))
            .out;
    };
    EXPECT_EQ(run("true"), "");
    EXPECT_EQ(run("sh -c \"kill -9 \\$\\$\""), "");
    EXPECT_EQ(run("./no-such"), "");
    EXPECT_EQ(run("--no-namespace true"), "");
}

TEST_F(CommandTest, the_host_sees_nothing_of_a_run)
{
    auto const before = test::shell("cat /proc/self/mountinfo; ls -a /dev /sys/module").out;
    EXPECT_EQ(pinfold("run -- true").status, 0);
    EXPECT_EQ(test::shell("cat /proc/self/mountinfo; ls -a /dev /sys/module").out, before);
}

TEST_F(CommandTest, the_report_goes_where_it_was_asked_for)
{
    auto const to_error = pinfold("run --report -- echo x");
    EXPECT_EQ(to_error.out, "x\n");
    EXPECT_TRUE(to_error.err.starts_with("echo on machine vtd: exit status 0, ")) << to_error.err;
    EXPECT_FALSE(to_error.err.contains('\x1b'));
    auto const to_file = pinfold("run --report=page.txt -- echo x");
    EXPECT_EQ(to_file.err, "");
    EXPECT_TRUE(test::slurp(dir() / "page.txt").contains("It opened no VFIO file."));
}

TEST_F(CommandTest, a_program_that_was_killed_is_reported_on_too)
{
    auto const outcome = pinfold("run --report -- sh -c 'kill -9 $$'");
    EXPECT_EQ(outcome.status, 137);
    EXPECT_TRUE(outcome.err.contains("sh on machine vtd: ended by SIGKILL, ")) << outcome.err;
}

TEST_F(CommandTest, a_disk_that_another_run_has_is_busy)
{
    auto const disk = path("disk.raw");
    std::ofstream{disk} << std::string(1 << 20, '\0');
    auto const device = fmt::format("--device nvme,bdf=00:04.0,disk={}", disk);
    auto const outcome = pinfold(fmt::format("run {0} -- ./pinfold run {0} -- echo both", device));
    EXPECT_EQ(outcome.status, 2);
    EXPECT_EQ(outcome.out, "");
    EXPECT_TRUE(outcome.err.contains(disk)) << outcome.err;
    EXPECT_EQ(pinfold(fmt::format("run {} -- echo one", device)).out, "one\n")
        << "it is free again";
}

TEST_F(CommandTest, a_static_program_and_a_setuid_one_are_refused)
{
    if (can_be_nobody()) {
        std::filesystem::copy_file("/bin/true", dir() / "setuid");
        test::shell(fmt::format("chmod 4755 {}", path("setuid")));
        auto const setuid = as_nobody("./pinfold run -- ./setuid");
        EXPECT_EQ(setuid.status, 2);
        EXPECT_TRUE(setuid.err.starts_with("pinfold: ./setuid: it is setuid, ")) << setuid.err;
    }
    auto const built = test::shell(
        fmt::format("cd {} && echo 'int main(void){{return 0;}}' > s.c && cc -static -o static s.c",
                    dir().string()));
    if (built.status != 0) GTEST_SKIP() << "there is no compiler, or no static C library";
    auto const refused = pinfold("run -- ./static");
    EXPECT_EQ(refused.status, 2);
    EXPECT_TRUE(refused.err.starts_with("pinfold: ./static: it is statically linked, "))
        << refused.err;
}

TEST_F(CommandTest, a_run_may_run_another)
{
    auto const outcome =
        pinfold("run -- ./pinfold run --device edu,bdf=0000:00:09.0 -- ls /sys/bus/pci/devices");
    EXPECT_EQ(outcome.out, "0000:00:09.0\n") << outcome.err;
}

TEST_F(CommandTest, namespaces_that_are_forbidden_are_done_without)
{
    if (!can_be_nobody()) GTEST_SKIP() << "only root can forbid namespaces";
    // A PID namespace would do too; the limit on mount namespaces is what unshare(2) meets.
    auto const outcome =
        test::shell(fmt::format("cd {}; unshare --user --map-root-user sh -c 'echo 0 > "
                                "/proc/sys/user/max_mnt_namespaces && "
                                "./pinfold run --verbose -- ls /sys/bus/pci/devices'",
                                dir().string()));
    if (outcome.err.contains("unshare failed") || outcome.err.contains("cannot create"))
        GTEST_SKIP() << outcome.err;
    EXPECT_EQ(outcome.out, "0000:00:04.0\n") << outcome.err;
    EXPECT_TRUE(outcome.err.contains("paths are rewritten instead")) << outcome.err;
}

TEST_F(CommandTest, nobody_runs_programs_too)
{
    if (!can_be_nobody()) GTEST_SKIP() << "only root can become nobody";
    for (auto const* const how : {"", "--no-namespace"}) {
        auto const outcome = as_nobody(fmt::format(
            "./pinfold run {} -- sh -c 'id -u; id -g; cat /sys/bus/pci/devices/*/vendor 2>&1; "
            "cat /sys/bus/pci/devices/0000:00:04.0/vendor; grep CapEff /proc/self/status'",
            how));
        EXPECT_TRUE(outcome.out.starts_with("65534\n65534\n")) << outcome.out << outcome.err;
        EXPECT_TRUE(outcome.out.ends_with("0x1234\nCapEff:\t0000000000000000\n")) << outcome.out;
    }
}

}  // namespace
}  // namespace pinfold::cli
