// The run's part of /sys and /dev as programs find it: where paths, working directories and other
// libraries lead, and what the files of drivers do beyond binding.
#include <filesystem>
#include <fstream>
#include <set>

#include "stage.hpp"

namespace pinfold::test {
namespace {

namespace fs = std::filesystem;

class Sysfs : public Stage {
protected:
    void bring_paths_client() const
    {
        bring(fs::path{PINFOLD_CLIENT_DIR} / "paths_client");
        fs::create_symlink("/sys/bus/pci", dir() / "bus");
        fs::create_symlink("/sys/module", dir() / "modules");
    }
    // A Python program in the run.
    Outcome python(std::string const& options, std::string const& program) const
    {
        std::ofstream{dir() / "program.py"} << program;
        return run_pinfold(options, "/usr/bin/python3 program.py");
    }
    // A command in another working directory.
    Outcome run_in(std::string const& directory, std::string const& command) const
    {
        auto const tool = (dir() / "pinfold").string();
        return run(fmt::format("cd {} && {} run {} -- {}", directory, tool,
                               GetParam().with_namespace ? "" : "--no-namespace", command));
    }
};
INSTANTIATE_TEST_SUITE_P(Ways, Sysfs, kWays, name);

TEST_P(Sysfs, paths_are_looked_at_and_changed_into_as_on_Linux)
{
    bring_paths_client();
    auto const ran = run_pinfold("", "./paths_client");
    EXPECT_EQ(ran.status, 0) << ran.out << ran.err;
}

TEST_P(Sysfs, a_library_of_the_users_own_may_wrap_one_call_by_another)
{
    bring_paths_client();
    bring(fs::path{PINFOLD_CLIENT_DIR} / "compat_wrapper.so");
    write_machine("large.toml", "[host]\npage_size = \"64K\"\n");
    for (auto const* const options : {"", "--machine large.toml"}) {
        auto const ran =
            run("LD_PRELOAD=./compat_wrapper.so " + pinfold(options, "./paths_client"));
        EXPECT_EQ(ran.status, 0) << options << ran.out << ran.err;
    }
}

TEST_P(Sysfs, an_inherited_working_directory_is_the_machines)
{
    if (!fs::exists("/sys/bus/pci/drivers")) GTEST_SKIP() << "this kernel has no PCI";
    EXPECT_EQ(run_in("/sys/bus/pci", "ls drivers").out,
              "ioatdma\nnvme\npci-stub\nuio_pci_generic\nvfio-pci\nvirtio-pci\n");
    EXPECT_EQ(run_in("/sys/bus/pci/drivers", "sh -c \"pwd; ls -d vfio-pci/bind\"").out,
              "/sys/bus/pci/drivers\nvfio-pci/bind\n");
    EXPECT_EQ(run_in("/sys/module", "ls -d vfio_pci vfio_iommu_type1").out,
              "vfio_iommu_type1\nvfio_pci\n");
}

// Empty: there is none.
std::string drivers_directory_that_no_machine_has()
{
    std::set<std::string> const machines{"ioatdma",         "nvme",     "pci-stub",
                                         "uio_pci_generic", "vfio-pci", "virtio-pci"};
    std::error_code error;
    for (fs::directory_iterator entry{"/sys/bus/pci/drivers", error}, end; entry != end; ++entry)
        if (!machines.contains(entry->path().filename().string())) return entry->path().string();
    return {};
}

TEST_P(Sysfs, a_working_directory_that_only_the_computer_has_is_refused_without_a_namespace)
{
    if (GetParam().with_namespace) GTEST_SKIP() << "there it stays the computer's";
    auto const directory = drivers_directory_that_no_machine_has();
    if (directory.empty()) GTEST_SKIP() << "this kernel has no other PCI driver";
    auto const ran = run_in(directory, "echo started");
    EXPECT_NE(ran.status, 0);
    EXPECT_EQ(ran.out, "");
    EXPECT_NE(ran.err.find(directory), std::string::npos) << ran.err;
}

TEST_P(Sysfs, files_act_wherever_the_runs_directory_is_by_way_of_a_link)
{
    fs::create_directory(dir() / "real");
    fs::permissions(dir() / "real", fs::perms{0777});
    fs::create_symlink("real", dir() / "link");
    std::ofstream{dir() / "unbind.sh"} << "cd /sys/bus/pci/devices/0000:00:04.0\n"
                                          "echo 0000:00:04.0 > driver/unbind\n"
                                          "test -e driver || echo unbound\n";
    auto const ran = run(fmt::format("export TMPDIR={}/link; unset XDG_RUNTIME_DIR; {}",
                                     dir().string(), pinfold("", "dash ./unbind.sh")));
    EXPECT_EQ(ran.out, "unbound\n") << ran.err;
}

TEST_P(Sysfs, ids_are_added_while_there_is_room_and_all_of_them_can_be_removed)
{
    auto const ran = python("", R"py(
import errno
def put(file, text):
    try:
        with open("/sys/bus/pci/drivers/vfio-pci/" + file, "wb", buffering=0) as f:
            f.write(text.encode())
    except OSError as e:
        return errno.errorcode[e.errno]
added = 0
while added < 1000 and (why := put("new_id", f"8086 {added:x}")) is None:
    added += 1
print(added > 100, why, put("new_id", "8086 0"), put("remove_id", f"8086 {added:x}"))
print({put("remove_id", f"8086 {i:x}") for i in range(added)}, put("remove_id", "8086 0"))
print(put("new_id", "8086 0"), put("remove_id", "8086 0"))
)py");
    EXPECT_EQ(ran.out, "True ENOSPC EEXIST ENODEV\n{None} ENODEV\nNone None\n") << ran.err;
}

constexpr char const* kPut = R"py(
import errno, fcntl, os
D = "/sys/bus/pci/devices/0000:00:04.0/"
def put(file, text):
    try:
        with open("/sys/bus/pci/" + file, "wb", buffering=0) as f:
            f.write(text.encode())
    except OSError as e:
        return errno.errorcode[e.errno]
put("drivers/vfio-pci/unbind", "0000:00:04.0")
)py";

// The lock of another process that binds, and that of a container.
TEST_P(Sysfs, devices_of_a_group_are_bound_at_the_same_moment)
{
    auto const ran = python("", std::string{kPut} + R"py(
put("devices/0000:00:04.0/driver_override", "uio_pci_generic")
def bind_while(kind):
    fd = os.open(os.environ["PINFOLD_STATE"] + "/dma.0", os.O_RDWR)
    fcntl.lockf(fd, kind)
    print(put("drivers/uio_pci_generic/bind", "0000:00:04.0"))
bind_while(fcntl.LOCK_EX)
bind_while(fcntl.LOCK_SH)
)py");
    EXPECT_EQ(ran.out, "EBUSY\nNone\n") << ran.err;
}

TEST_P(Sysfs, a_bind_that_fails_leaves_nothing_behind)
{
    if (!GetParam().as_nobody && ::geteuid() == 0) GTEST_SKIP() << "root may write everywhere";
    auto const ran = python("", std::string{kPut} + R"py(
put("devices/0000:00:04.0/driver_override", "vfio-pci")
os.chmod("/sys/bus/pci/drivers/vfio-pci", 0o555)
print(put("drivers/vfio-pci/bind", "0000:00:04.0"), os.path.lexists(D + "driver"))
os.chmod("/sys/bus/pci/drivers/vfio-pci", 0o755)
print(put("drivers/vfio-pci/bind", "0000:00:04.0"), os.path.lexists(D + "driver"))
)py");
    EXPECT_EQ(ran.out, "EACCES False\nNone True\n") << ran.err;
}

}  // namespace
}  // namespace pinfold::test
