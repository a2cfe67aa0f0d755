// Small VFIO programs, and programs that have nothing to do with VFIO, under `pinfold run`.
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "stage.hpp"
#include "works_with.hpp"

namespace pinfold::test {
namespace {

using namespace std::chrono_literals;

class Client : public ClientTest {};
INSTANTIATE_TEST_SUITE_P(Ways, Client, kWays, name);

constexpr char const* kEduSays =
    "identification 010000ed\n"
    "liveness edcba987\n"
    "10! is 3628800\n"
    "4096 bytes to the device and back\n"
    "unmapped 8192 bytes\n";

PINFOLD_WORKS_WITH("`examples/edu_dma.c`",
                   "a driver in one page: DMA both ways, MSI; the same source runs on a real "
                   "kernel with QEMU's edu")

TEST_P(Client, a_driver_in_one_page_does_DMA_both_ways_and_takes_its_interrupt)
{
    auto const ran = run_pinfold("", "./edu_dma");
    EXPECT_EQ(ran.status, 0) << ran.err;
    EXPECT_EQ(ran.out, kEduSays);
}

TEST_P(Client, a_device_is_where_the_command_line_put_it)
{
    auto const ran = run_pinfold("--device edu,bdf=0000:3b:1f.5", "./edu_dma 0000:3b:1f.5");
    EXPECT_EQ(ran.status, 0) << ran.err;
    EXPECT_EQ(ran.out, kEduSays);
}

PINFOLD_WORKS_WITH("`tests/client/interposed_client.cpp`",
                   "each interposed call, its errnos, threads, signals, forks, memory that goes "
                   "away while pinned")

TEST_P(Client, the_interposed_calls_do_what_the_kernels_do_one_by_one)
{
    auto const ran = run_pinfold("", "./interposed_client");
    EXPECT_EQ(ran.status, 0) << ran.out << ran.err;
}

TEST_P(Client, open_files_travel_to_other_processes_and_live_as_long_as_anybody_holds_them)
{
    auto const ran = run_pinfold("", "./shared_client");
    EXPECT_EQ(ran.status, 0) << ran.out << ran.err;
}

TEST_P(Client, VFIO_descriptors_are_files_as_the_kernels_are)
{
    bring(std::filesystem::path{PINFOLD_CLIENT_DIR} / "files_client");
    auto const ran = run_pinfold("", "./files_client");
    EXPECT_EQ(ran.status, 0) << ran.out << ran.err;
}

PINFOLD_WORKS_WITH("`examples/edu_dma.py`",
                   "the same driver in Python, of the standard library alone: `os.read`, "
                   "`os.pread`, `fcntl.ioctl` and `mmap` of a device")

TEST_P(Client, a_driver_in_Python_does_what_one_in_C_does)
{
    constexpr char const* kPython = "/usr/bin/python3";
    bring(std::filesystem::path{PINFOLD_SOURCE_DIR} / "examples/edu_dma.py");
    auto const ran = run_pinfold("", fmt::format("{} edu_dma.py", kPython));
    EXPECT_EQ(ran.status, 0) << ran.err;
    EXPECT_EQ(ran.out, kEduSays);
}

// The line about the refused instruction shows that the log outlives the sweep.
TEST_P(Client, the_programs_descriptors_are_dense_and_nothing_of_ours_is_among_them)
{
    bring(std::filesystem::path{PINFOLD_CLIENT_DIR} / "descriptors_client");
    auto const ran = run_pinfold("", "./descriptors_client");
    EXPECT_EQ(ran.status, 0) << ran.out << ran.err;
    EXPECT_NE(ran.err.find("cannot carry out 'xsave"), std::string::npos) << ran.err;
}

// Processes of a run, by a variable in its environment. Zombies, which not every first process of a
// container reaps, have none.
bool anybody_has(std::string const& variable)
{
    std::error_code gone;
    for (auto const& entry : std::filesystem::directory_iterator{"/proc", gone}) {
        std::ifstream file{entry.path() / "environ", std::ios::binary};
        std::string const environment{std::istreambuf_iterator<char>{file}, {}};
        if (environment.find(variable) != std::string::npos) return true;
    }
    return false;
}

class Succession : public Client {
protected:
    // As run_pinfold(); and nobody of the run is left in the end.
    Outcome run_to_the_last(std::string const& program) const
    {
        auto const variable = fmt::format("PINFOLD_TEST_RUN={}", dir().string());
        auto const ran = run(fmt::format("{} {}", variable, pinfold("", program)));
        for (int i = 0; i < 500 && anybody_has(variable); ++i) std::this_thread::sleep_for(10ms);
        EXPECT_FALSE(anybody_has(variable));
        return ran;
    }
};
INSTANTIATE_TEST_SUITE_P(Ways, Succession, kWays, name);

PINFOLD_WORKS_WITH("`tests/client/exec_client.cpp`",
                   "a program that executes itself with its files open, and what it starts by "
                   "posix_spawn, vfork, system; daemons")

TEST_P(Succession, open_files_go_over_exec_and_outlive_the_process_that_opened_them)
{
    auto const ran = run_to_the_last("./exec_client");
    EXPECT_EQ(ran.status, 0) << ran.out << ran.err;
    EXPECT_EQ(ran.err.find("EIO"), std::string::npos) << ran.err;
}

PINFOLD_WORKS_WITH(
    "Python's `subprocess`",
    "hands open VFIO files on to other programs (`pass_fds`), and to the one that takes "
    "its place")

TEST_P(Succession, pythons_subprocess_hands_files_on)
{
    bring(PINFOLD_SOURCE_DIR "/tests/client/hand_on.py");
    auto const ran = run_to_the_last("/usr/bin/python3 hand_on.py");
    EXPECT_EQ(ran.status, 0) << ran.err;
    EXPECT_EQ(ran.out,
              "0 3412e811\nvfork 0\n0 3412e811\nfork 0\nclosed 1\n0 3412e811\ninherited 0\n"
              "0 3412e811\nspawn 0\n0 3412e811\n")
        << ran.err;
}

TEST_P(Client, handlers_masks_and_stacks_are_the_programs_own)
{
    auto const ran = run_pinfold("", "./faults_client");
    EXPECT_EQ(ran.status, 0) << ran.out << ran.err;
}

TEST_P(Client, masks_block_faults_for_the_program_and_never_its_registers)
{
    bring(std::filesystem::path{PINFOLD_CLIENT_DIR} / "masks_client");
    auto const ran = run_pinfold("", "./masks_client");
    EXPECT_EQ(ran.status, 0) << ran.out << ran.err;
}

TEST_P(Client, devices_work_on_a_stack_of_their_own_however_small_the_programs_is)
{
    bring(std::filesystem::path{PINFOLD_CLIENT_DIR} / "stack_client");
    std::ofstream{dir() / "disk"} << "";
    std::filesystem::resize_file(dir() / "disk", 1 << 20);
    std::filesystem::permissions(dir() / "disk", std::filesystem::perms{0666});
    auto const ran = run_pinfold("--device nvme,bdf=0000:00:04.0,disk=disk", "./stack_client");
    EXPECT_EQ(ran.status, 0) << ran.out << ran.err;
}

TEST_P(Client, a_program_with_AddressSanitizer_runs)
{
    auto const ran = run_pinfold("", "./edu_dma_asan");
    EXPECT_EQ(ran.status, 0) << ran.err;
    EXPECT_EQ(ran.out, kEduSays);
}

TEST_P(Client, a_program_with_libraries_and_an_environment_of_its_own_keeps_pinfold)
{
    auto const clean = run_pinfold("", "env -i ./edu_dma");
    EXPECT_EQ(clean.status, 0) << clean.err;
    EXPECT_EQ(clean.out, kEduSays);
    auto const own =
        run_pinfold("", "env LD_PRELOAD=libm.so.6 sh -c \"./edu_dma; echo \\$LD_PRELOAD\"");
    EXPECT_EQ(own.status, 0) << own.err;
    EXPECT_NE(own.out.find("identification 010000ed"), std::string::npos) << own.out;
    EXPECT_NE(own.out.find("libm.so.6:"), std::string::npos) << own.out;
}

// As on Linux: each of the program's calls, and none of Pinfold's own.
TEST_P(Client, a_library_of_the_users_own_sees_the_calls_that_it_wraps)
{
    for (auto const* const file : {"counting_wrapper.so", "wrapped_client"})
        bring(std::filesystem::path{PINFOLD_CLIENT_DIR} / file);
    constexpr char const* kSeen = "wrapper: 3 ioctl, 1 open, 1 mmap, 2 sigaction\n";
    auto const later = run_pinfold("", "env LD_PRELOAD=./counting_wrapper.so ./wrapped_client");
    EXPECT_EQ(later.out, "all answered\n") << later.err;
    EXPECT_EQ(later.err, kSeen);
    auto const first = run("LD_PRELOAD=./counting_wrapper.so " + pinfold("", "./wrapped_client"));
    EXPECT_EQ(first.out, "all answered\n") << first.err;
    EXPECT_NE(first.err.find(kSeen), std::string::npos) << first.err;
}

TEST_P(Client, who_asks_the_C_library_for_its_functions_gets_those_that_know_VFIO)
{
    std::ofstream{dir() / "look_up.py"} << R"py(
import ctypes
c = ctypes.CDLL("libc.so.6", use_errno=True)
fd = c.open(b"/dev/vfio/vfio", 2)
print(c.ioctl(fd, 0x3b64), c.ioctl(fd, 0x3b65, 3), ctypes.CDLL(None).ioctl(fd, 0x3b64))
print(c.getpid() > 0, c.close(fd), c.ioctl(fd, 0x3b64), ctypes.get_errno())
)py";
    auto const ran = run_pinfold("", "/usr/bin/python3 look_up.py");
    EXPECT_EQ(ran.out, "0 1 0\nTrue 0 -1 9\n") << ran.err;
}

TEST_P(Client, names_in_proc_are_those_that_Linux_gives)
{
    bring(std::filesystem::path{PINFOLD_CLIENT_DIR} / "names_client");
    auto const ran = run_pinfold("", "./names_client");
    EXPECT_EQ(ran.status, 0) << ran.out << ran.err;
    EXPECT_EQ(ran.err, "");
}

// The computer may have devices, and drivers, of the same names.
TEST_P(Client, the_runs_files_are_found_by_any_spelling_of_their_paths)
{
    std::ofstream{dir() / "spell.sh"} << R"sh(
D=0000:00:04.0
cd /sys/bus/pci/devices/$D; cat vendor; /bin/pwd; cat ../$D/vendor driver/$D/vendor
cat /sys/bus/pci/drivers/../devices/$D/vendor /sys//bus/./pci/devices/$D/driver/../../devices/$D/vendor
cd /sys/bus; cat pci/devices/$D/vendor; ls pci/drivers | grep -c .
cd /; cat sys/bus/pci/devices/$D/vendor
cd /sys/class; cat ../bus/pci/devices/$D/vendor; cd ../bus/pci; cat devices/$D/vendor
cd /sys/bus/pci/drivers/vfio-pci; test -e $D && echo bound
echo $D > unbind; test -e $D || echo unbound
echo $D > /sys/class/../bus/pci/drivers/vfio-pci/bind; test -e $D && echo bound
cd ../../../../class; test -d net && echo the rest is the computers; cat net/lo/mtu | grep -c .
ls /sys/module | grep -c -x -e vfio -e vfio_pci -e vfio_iommu_type1 -e uio_pci_generic
)sh";
    auto const ran = run_pinfold("", "dash ./spell.sh");
    EXPECT_EQ(ran.out,
              "0x1234\n/sys/devices/pinfold/pci0000:00/0000:00:04.0\n0x1234\n0x1234\n0x1234\n"
              "0x1234\n0x1234\n6\n0x1234\n0x1234\n0x1234\nbound\nunbound\nbound\n"
              "the rest is the computers\n1\n4\n")
        << ran.err;
    EXPECT_EQ(ran.err, "");
    std::ofstream{dir() / "creat.py"} << R"py(
import ctypes, os
bound = lambda: os.path.exists("/sys/bus/pci/drivers/vfio-pci/0000:00:04.0")
fd = ctypes.CDLL(None).creat(b"/sys/bus/pci/drivers/vfio-pci/unbind", 0o644)
print(bound(), os.write(fd, b"0000:00:04.0"), bound())
)py";
    EXPECT_EQ(run_pinfold("", "/usr/bin/python3 creat.py").out, "True 12 False\n");
}

// By whatever writes to the files: a shell that calls write(2), one whose echo is a stream's, tee.
TEST_P(Client, devices_are_bound_and_unbound_by_the_files_of_their_driver)
{
    std::ofstream{dir() / "bind.sh"} << R"sh(
D=/sys/bus/pci/drivers/vfio-pci; S=/sys/bus/pci/devices/0000:00:04.0
driver() { basename "$(readlink $S/driver || echo none)"; }
driver
echo 0000:00:04.0 > $D/unbind; driver; test -e $D/0000:00:04.0 || echo gone
./edu_dma 2>&1
echo > $S/driver_override; cat $S/driver_override
echo 0000:00:04.0 > $D/bind 2>&1; driver
echo 1234 11e8 > $D/new_id; driver; cat $D/0000:00:04.0/vendor
./edu_dma | head -1
echo 0000:00:04.0 | tee $D/unbind; driver
echo 1234 11e8 > $D/remove_id
echo vfio-pci > $S/driver_override; cat $S/driver_override
echo 0000:00:04.0 > $D/bind; driver
./edu_dma | head -1
echo 0000:00:04.0 > $D/unbind; driver
echo > $S/driver_override; echo 0000:00:04.0 > /sys/bus/pci/drivers_probe; driver
echo vfio-pci > $S/driver_override; echo 0000:00:04.0 > /sys/bus/pci/drivers_probe; driver
./edu_dma | head -1
)sh";
    for (auto const* const shell : {"dash", "bash"}) {
        auto const ran = run_pinfold("", fmt::format("{} ./bind.sh", shell));
        EXPECT_EQ(ran.status, 0) << ran.err;
        EXPECT_EQ(ran.out,
                  "vfio-pci\nnone\ngone\nedu_dma: /dev/vfio/0: No such file or directory\n"
                  "(null)\nnone\nvfio-pci\n0x1234\nidentification 010000ed\n0000:00:04.0\nnone\n"
                  "vfio-pci\nvfio-pci\nidentification 010000ed\n"
                  "none\nnone\nvfio-pci\nidentification 010000ed\n")
            << shell << ran.err;
    }
    auto const complaint = [&](std::string const& what, std::string const& file) {
        return run_pinfold("", fmt::format("dash -c \"echo {} > /sys/bus/pci/drivers/vfio-pci/{}\"",
                                           what, file))
            .err;
    };
    EXPECT_NE(complaint("0000:00:1f.7", "unbind"), "");
    EXPECT_NE(complaint("0000:00:1f.7", "bind"), "");
    EXPECT_NE(complaint("0000:00:04.0", "bind"), "");
    EXPECT_NE(complaint("nonsense", "new_id"), "");
    EXPECT_NE(complaint("1234 11e8", "remove_id"), "");
    EXPECT_EQ(complaint("0000:00:04.0", "unbind"), "");
}

TEST_P(Client, a_group_gives_only_those_of_its_devices_that_are_bound)
{
    auto const ran = run_pinfold(
        "--device edu,bdf=0000:00:04.0,group=0 --device edu,bdf=0000:00:05.0,group=0",
        "dash -c \"echo 0000:00:04.0 > /sys/bus/pci/drivers/vfio-pci/unbind; ./edu_dma; ./edu_dma "
        "0000:00:05.0\"");
    EXPECT_NE(ran.err.find("No such device"), std::string::npos) << ran.err;
    EXPECT_EQ(ran.out, kEduSays) << ran.err;
}

// Of devices that start with the driver that Linux would bind.
TEST_P(Client, a_group_is_viable_when_no_driver_of_the_kernels_has_a_device_of_it)
{
    bring(std::filesystem::path{PINFOLD_CLIENT_DIR} / "viable_client");
    std::ofstream{dir() / "disk.raw"} << std::string(1 << 20, '\0');
    std::filesystem::permissions(dir() / "disk.raw", std::filesystem::perms{0666});
    auto const ran = run_pinfold(
        "--device edu,bdf=0000:00:04.0,group=0 "
        "--device nvme,bdf=0000:00:05.0,group=0,disk=disk.raw,driver=host",
        "./viable_client");
    EXPECT_EQ(ran.status, 0) << ran.out << ran.err;
}

PINFOLD_WORKS_WITH(
    "qemu-system-x86 7.2 (Debian), `vfio-pci` of a device whose neighbour has another driver",
    "says that the group is not viable, as it does on Linux")

TEST_P(Client, QEMU_says_that_a_group_is_not_viable)
{
    auto const ran = run_pinfold(
        "--device edu,bdf=0000:00:04.0,group=0 --device ioat,bdf=0000:00:05.0,group=0,driver=host",
        "qemu-system-x86_64 -M q35 -display none -nodefaults -device vfio-pci,host=0000:00:04.0");
    EXPECT_EQ(ran.status, 1);
    EXPECT_NE(ran.err.find("group 0 is not viable"), std::string::npos) << ran.err;
}

TEST_P(Client, devices_start_with_the_driver_that_the_machine_says)
{
    for (auto const& [driver, said] :
         {std::pair{"vfio-pci", "vfio-pci\nvfio-pci\nDRIVER=vfio-pci\n"},
          {"uio_pci_generic", "uio_pci_generic\nuio_pci_generic\nDRIVER=uio_pci_generic\n"},
          {"host", "ioatdma\n(null)\nDRIVER=ioatdma\n"},
          {"none", "none\n(null)\n"}}) {
        std::ofstream{dir() / "driver.sh"} << "cd /sys/bus/pci/devices/0000:00:04.0\n"
                                              "basename $(readlink driver || echo none)\n"
                                              "cat driver_override; grep DRIVER uevent; true\n";
        auto const ran = run_pinfold(
            fmt::format("--device ioat,bdf=0000:00:04.0,driver={}", driver), "sh ./driver.sh");
        EXPECT_EQ(ran.out, said) << driver << ran.err;
    }
    auto const wrong = run_pinfold("--device edu,bdf=0000:00:04.0,driver=vfio", "true");
    EXPECT_EQ(wrong.status, 2);
    EXPECT_NE(wrong.err.find("there is no driver"), std::string::npos) << wrong.err;
}

TEST_P(Client, remove_takes_a_number_and_what_it_removes_is_gone)
{
    std::ofstream{dir() / "remove.sh"} << R"sh(
S=/sys/bus/pci/devices/0000:00:04.0
there() { test -e $S && echo there || echo gone; }
echo 0 > $S/remove; there
echo x > $S/remove || echo refused; there
: > $S/remove; there
./edu_dma | head -1
echo 1 > $S/remove; there
test -e /sys/bus/pci/drivers/vfio-pci/0000:00:04.0 || echo unbound
test -e /sys/kernel/iommu_groups/0/devices/0000:00:04.0 || echo in no group
sh -c "exec 3< /dev/vfio/0" 2>&1 | grep -o "No such file"
echo 0000:00:04.0 > /sys/bus/pci/drivers/vfio-pci/bind || echo refused
)sh";
    auto const ran = run_pinfold("", "dash ./remove.sh");
    EXPECT_EQ(ran.out,
              "there\nrefused\nthere\nthere\nidentification 010000ed\ngone\nunbound\nin no "
              "group\nNo such file\nrefused\n")
        << ran.err;
}

TEST_P(Client, nothing_of_the_computers_own_devices_is_among_the_machines)
{
    auto const ran = run_pinfold(
        "", "sh -c \"ls /sys/bus/pci/drivers; find /sys/bus/pci/devices/*/ -mindepth 1 -type d\"");
    EXPECT_EQ(ran.out, "ioatdma\nnvme\npci-stub\nuio_pci_generic\nvfio-pci\nvirtio-pci\n")
        << ran.err;
}

TEST_P(Client, a_host_with_large_pages_is_seen_as_one)
{
    for (auto const& [size, bytes] : {std::pair{"64K", 65536}, {"16K", 16384}}) {
        write_machine("large.toml", fmt::format("[host]\npage_size = \"{}\"\n", size));
        auto const ran =
            run_pinfold("--machine large.toml", fmt::format("./page_client {}", bytes));
        EXPECT_EQ(ran.status, 0) << size << "\n" << ran.out << ran.err;
        auto const said = run_pinfold("--machine large.toml", "getconf PAGESIZE");
        EXPECT_EQ(said.out, fmt::format("{}\n", bytes)) << said.err;
    }
    EXPECT_EQ(run_pinfold("", "getconf PAGESIZE").out, "4096\n");
}

PINFOLD_WORKS_WITH("anything without VFIO", "prints what it prints without Pinfold")

TEST_P(Client, a_program_without_VFIO_prints_what_it_prints_without_pinfold)
{
    // In a user namespace of an ordinary user, other users' files belong to nobody: no owners,
    // then.
    for (std::string const program :
         {"ls -go /dev/null /dev/zero /usr/bin/env",
          "ls /dev/pts /dev/shm /sys/class/net /sys/block", "id -u", "id -g", "cat /proc/cpuinfo",
          "pwd", "echo x > /dev/null && echo written", "sh -c \"exit 0\"",
          "readlink -f /proc/self/exe", "cat /sys/class/net/lo/mtu",
          "echo hi > 2024 && cat 2024 && rm 2024", "mkdir 7 && ls -a 7 && rmdir 7",
          "echo x > vfio && cat vfio && rm vfio", "ls -l /proc/self/fd/0 --time-style=+"}) {
        auto const plain = run("sh -c \"" + program + "\" | cut -c1-200");
        auto const under = run(pinfold("", "sh -c \"" + program + "\"") + " | cut -c1-200");
        EXPECT_EQ(under.status, plain.status) << program;
        if (program.starts_with("ls -l /proc")) continue;
        EXPECT_EQ(under.out, plain.out) << program << under.err;
        EXPECT_EQ(under.err, plain.err) << program;
    }
}

TEST_P(Client, exit_statuses_and_deaths_pass_through)
{
    EXPECT_EQ(run_pinfold("", "sh -c \"exit 37\"").status, 37);
    EXPECT_EQ(run_pinfold("", "sh -c \"kill -TERM \\$\\$\"").status, 128 + 15);
    EXPECT_EQ(run_pinfold("", "true").status, 0);
}

TEST_P(Client, a_static_program_is_refused_and_a_static_grandchild_fails_loudly)
{
    auto const refused = run_pinfold("", "./edu_dma_static");
    EXPECT_EQ(refused.status, 2);
    EXPECT_NE(refused.err.find("static"), std::string::npos) << refused.err;
    auto const grandchild = run_pinfold("", "sh -c ./edu_dma_static");
    EXPECT_EQ(grandchild.status, 1);
    EXPECT_EQ(grandchild.out, "");
    EXPECT_NE(grandchild.err.find("edu_dma: "), std::string::npos) << grandchild.err;
    EXPECT_NE(grandchild.err.find("./edu_dma_static is statically linked"), std::string::npos)
        << grandchild.err;
}

TEST_P(Client, a_run_that_dies_of_RLIMIT_MEMLOCK_says_what_it_needed)
{
    auto const ran = run(pinfold("", "./edu_dma", "--memlock 4K"));
    EXPECT_EQ(ran.status, 1);
    EXPECT_NE(ran.err.find("VFIO_IOMMU_MAP_DMA: Cannot allocate memory"), std::string::npos)
        << ran.err;
    EXPECT_NE(ran.err.find("8.0 KiB"), std::string::npos) << ran.err;
    EXPECT_NE(ran.err.find("--memlock"), std::string::npos) << ran.err;
    EXPECT_EQ(run(pinfold("", "./edu_dma", "--memlock 8K")).status, 0);
}

TEST_P(Client, the_users_own_limit_binds_an_ordinary_user_and_not_CAP_IPC_LOCK)
{
    auto const ran = run("ulimit -l 4; " + pinfold("", "./edu_dma", ""));
    EXPECT_EQ(ran.status, GetParam().as_nobody ? 1 : 0) << ran.err;
    if (GetParam().as_nobody) {
        EXPECT_NE(ran.err.find("8.0 KiB"), std::string::npos) << ran.err;
    }
    EXPECT_EQ(run("ulimit -l 8; " + pinfold("", "./edu_dma", "")).status, 0);
}

TEST_P(Client, what_a_pin_for_read_finds_depends_on_the_kernel)
{
    for (std::string const kernel : {"6.1", "6.12", "7.3"}) {
        auto const ran = run_pinfold("--kernel " + kernel, "./read_pin_client " + kernel);
        EXPECT_EQ(ran.status, 0) << kernel << '\n' << ran.out << ran.err;
    }
}

TEST_P(Client, a_device_that_is_removed_asks_to_be_closed_and_is_gone_then)
{
    bring(std::filesystem::path{PINFOLD_CLIENT_DIR} / "unplug_client");
    auto const ran = run_pinfold("", "./unplug_client");
    EXPECT_EQ(ran.status, 0) << ran.out << ran.err;
}

TEST_P(Client, nothing_arrives_after_a_reset_that_came_while_threads_had_the_device_copy)
{
    bring(std::filesystem::path{PINFOLD_CLIENT_DIR} / "reset_client");
    auto const ran = run_pinfold("--device ioat,bdf=0000:00:04.0", "./reset_client");
    EXPECT_EQ(ran.status, 0) << ran.out << ran.err;
}

TEST_P(Client, a_device_from_a_shared_object_is_one_like_any_other)
{
    bring(std::filesystem::path{PINFOLD_BUILD_DIR} / "examples/checksum_device.so");
    bring(std::filesystem::path{PINFOLD_CLIENT_DIR} / "loaded_client");
    auto const ran = run(pinfold(
        "--report --device ./checksum_device.so,bdf=0000:00:04.0,limit=6000", "./loaded_client"));
    EXPECT_EQ(ran.status, 0) << ran.out << ran.err;
    EXPECT_NE(ran.err.find("checksum_device: "), std::string::npos) << ran.err;
    EXPECT_NE(ran.err.find("2000 bytes summed up"), std::string::npos) << ran.err;

    write_machine("own.toml",
                  "[[device]]\nmodel = \"./checksum_device.so\"\nbdf = \"0000:00:04.0\"\n"
                  "limit = 6000\n");
    EXPECT_EQ(run_pinfold("--machine own.toml", "./loaded_client").status, 0);

    auto const wrong =
        run_pinfold("--device ./checksum_device.so,bdf=0000:00:04.0,limits=1", "true");
    EXPECT_EQ(wrong.status, 2);
    EXPECT_NE(wrong.err.find("checksum: there is no setting 'limits'; it has limit"),
              std::string::npos)
        << wrong.err;
    EXPECT_EQ(run_pinfold("--device ./no_such.so,bdf=0000:00:04.0", "true").status, 2);
}

TEST_P(Client, a_device_reaches_the_memory_of_another)
{
    auto const ran =
        run_pinfold("--device edu,bdf=0000:00:04.0,group=0 --device edu,bdf=0000:00:05.0,group=1",
                    "./peer_client");
    EXPECT_EQ(ran.status, 0) << ran.out << ran.err;
}

TEST_P(Client, mlock_and_DMA_share_one_account)
{
    auto const ran = run("ulimit -l 256; " + pinfold("", "./locked_client", ""));
    EXPECT_EQ(ran.status, 0) << ran.out << ran.err;
}

TEST_P(Client, the_report_tells_what_happened)
{
    auto const ran = run_pinfold("--report", "./edu_dma");
    EXPECT_EQ(ran.status, 0) << ran.err;
    auto const all = ran.out + ran.err;
    for (auto const* const part : {"1 ", "8.0 KiB", "interrupts", "0000:00:04.0"})
        EXPECT_NE(all.find(part), std::string::npos) << part << " is not in\n" << all;
}

TEST_P(Client, nothing_of_a_run_stays_behind)
{
    // In a place of its own: others may run at the same time.
    auto const place = dir() / "runs";
    std::filesystem::create_directory(place);
    std::filesystem::permissions(place, std::filesystem::perms::all);
    auto const under = [&](std::string const& program) {
        return run(fmt::format("export TMPDIR={0}; unset XDG_RUNTIME_DIR; {1}", place.string(),
                               pinfold("", program)));
    };
    auto const left = [&] { return run("ls -A " + place.string()).out; };
    EXPECT_NE(under("ls -A " + place.string()).out.find("pinfold."), std::string::npos);
    EXPECT_EQ(left(), "");
    EXPECT_EQ(under("./edu_dma").status, 0);
    EXPECT_EQ(left(), "");
    EXPECT_EQ(under("sh -c \"kill -KILL \\$\\$\"").status, 128 + 9);
    EXPECT_EQ(left(), "");
    EXPECT_EQ(under("sh -c \"echo 1 > /sys/bus/pci/devices/0000:00:04.0/remove\"").status, 0);
    EXPECT_EQ(left(), "");
}

}  // namespace
}  // namespace pinfold::test
