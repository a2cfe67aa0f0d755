// A program that touches nothing of VFIO prints the same under Pinfold as without.
#include "cli/command.hpp"

namespace pinfold::cli {
namespace {

struct Same {
    std::string program;
    std::string without_vfio = "cat";  // takes VFIO's own entries out of the output
};

class SameOutput : public CommandTest {
protected:
    void expect_same(std::string const& become, std::string const& how, Same const& same) const
    {
        auto const at = fmt::format("cd {}; ", dir().string());
        auto const command = fmt::format("{}{} 2>&1 | {}", become, same.program, same.without_vfio);
        auto const under = fmt::format("{}./pinfold run {} -- {} 2>&1 | {}", become, how,
                                       same.program, same.without_vfio);
        EXPECT_EQ(test::shell(at + under).out, test::shell(at + command).out)
            << become << how << ' ' << same.program;
    }
};

constexpr char kNobody[] = "setpriv --reuid=65534 --regid=65534 --clear-groups ";

// Who owns a file is not among them: in a user namespace others' files look like nobody's.
std::vector<Same> for_everybody()
{
    return {
        {"pwd"},
        {"id"},
        {"tty"},
        {"sh -c 'ulimit -a'"},
        {"grep -E '^(Uid|Gid|Cap|NoNewPrivs|Seccomp|SigPnd|SigBlk|SigIgn|SigCgt|ShdPnd|Umask)' "
         "/proc/self/status"},
        {"ls /", "cat"},
        {"ls /dev", "grep -vx vfio"},
        {"stat -c '%n %d %i %a' /dev/shm /dev/pts"},
        {"ls -L /sys/block /sys/class/net"},
        {"sh -c 'cat /sys/class/net/*/address /sys/block/*/size'"},
        {"sh -c 'readlink -e /sys/class/net/* /sys/block/* /sys/class/tty/*'"},
        {"sh -c 'echo x >/dev/null; head -c 3 /dev/zero | wc -c; test -c /dev/tty && echo tty'"},
        {"stat -c '%n %F %t:%T %a' /dev/null /dev/zero /dev/full /dev/random /dev/stdin"},
        {"readlink /dev/fd /dev/stdin /dev/stdout"},
        {"ls /sys /sys/kernel /sys/bus /sys/bus/pci /sys/devices",
         "grep -vE 'iommu_groups|vfio|pinfold'"},
        {"ls /sys/module",
         "grep -vE '^(vfio.*|nvme|virtio_pci|ioatdma|uio_pci_generic|pci_stub)$'"},
        {"sh -c 'cat /sys/module/*/parameters/* 2>/dev/null | wc -l'", "sed 's/.*/some/'"},
        {"env", "grep -vE '^(LD_PRELOAD|PINFOLD_|_=)'"},
        {"date +%Z"},
    };
}

TEST_F(SameOutput, in_a_namespace)
{
    for (auto const& same : for_everybody()) expect_same("", "", same);
}

TEST_F(SameOutput, by_paths)
{
    for (auto const& same : for_everybody()) expect_same("", "--no-namespace", same);
}

TEST_F(SameOutput, as_nobody)
{
    if (!can_be_nobody()) GTEST_SKIP() << "only root can become nobody";
    for (auto const& same : for_everybody()) {
        expect_same(kNobody, "", same);
        expect_same(kNobody, "--no-namespace", same);
    }
}

TEST_F(SameOutput, owners_and_times_stay_where_no_user_namespace_is_needed)
{
    if (!can_be_nobody()) GTEST_SKIP() << "an ordinary user needs one";
    expect_same("", "", {"ls -l /dev", "grep -vE ' vfio$'"});
    expect_same("", "", {"stat -c '%n %u %g %a %y' /dev/pts /dev/net /dev/fd /dev/stdin"});
    expect_same("", "--no-namespace", {"ls -la /dev /sys", "cat"});
}

TEST_F(SameOutput, a_working_directory_under_a_covered_one_is_entered_again)
{
    for (auto const* const directory :
         {"/dev", "/sys/module", "/sys/devices", "/sys/bus/pci/drivers"}) {
        auto const outcome =
            test::shell(fmt::format("cd {}; {} run -- sh -c 'pwd; test . -ef {} && echo same'",
                                    directory, path("pinfold"), directory));
        EXPECT_EQ(outcome.out, fmt::format("{}\nsame\n", directory)) << outcome.err;
    }
}

}  // namespace
}  // namespace pinfold::cli
