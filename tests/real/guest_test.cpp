// Debian's QEMU gives emulated devices to a guest that runs Debian's kernel: qemu-system's
// vfio-pci, and its NVMe driver as the guest's disk.
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "real_stage.hpp"

namespace pinfold::test {
namespace {

constexpr std::uint64_t kMiB = 1024 * 1024;
constexpr char const* kNvme = "--device nvme,bdf=0000:00:04.0,disk=disk --report";

class Guest : public RealStage {
protected:
    void SetUp() override
    {
        RealStage::SetUp();
        if (IsSkipped() || HasFatalFailure()) return;
        bring_prepared("vmlinuz");
        bring_prepared("initramfs");
        std::ofstream{dir() / "disk"};
        std::filesystem::resize_file(dir() / "disk", 64 * kMiB);
        std::filesystem::permissions(dir() / "disk", std::filesystem::perms{0666});
    }

    // Boots the guest to do `what` with QEMU's options `devices`, until it turns itself off.
    Outcome boot(std::string const& options, std::string const& what,
                 std::string const& devices) const
    {
        return run_for(
            150, options,
            fmt::format(
                "qemu-system-x86_64 -M q35 -accel tcg -cpu max -m 192M -nodefaults -nic none "
                "-display none -serial stdio -kernel vmlinuz -initrd initramfs "
                "-append \"console=ttyS0 quiet panic=-1 do={}\" {}",
                what, devices));
    }

    // The guest sends frames out of a port of this mode, and waits for each to come back.
    Outcome loop_frames(std::string const& mode, std::string const& more) const
    {
        return boot(fmt::format("--report --device virtio-net,bdf=0000:00:04.0,mode={}", mode),
                    "frames:eth0:eth0:1600", "-device vfio-pci,host=0000:00:04.0" + more);
    }

    // What the guest wrote is in the host's file: a partition table, and ext4 behind it.
    void expect_a_filesystem() const
    {
        constexpr std::uint64_t kPartition = 2048 * 512;
        constexpr std::uint64_t kSuperblock = 1024;
        constexpr std::uint64_t kMagic = 56;
        auto const disk = slurp(dir() / "disk");
        EXPECT_EQ(disk.substr(510, 2), "\x55\xaa");
        EXPECT_EQ(disk.substr(kPartition + kSuperblock + kMagic, 2), "\x53\xef");
    }
};
INSTANTIATE_TEST_SUITE_P(Ways, Guest, kRealWays, name);

void expect_written_and_read_back(Outcome const& ran)
{
    EXPECT_EQ(ran.status, 0);
    for (auto const* const line : {"guest: wrote", "guest: read back the same", "guest: done"})
        EXPECT_NE(ran.out.find(line), std::string::npos) << line << " is missing:\n"
                                                         << ran.out << ran.err;
    EXPECT_NE(ran.err.find("faults      none"), std::string::npos) << ran.err;
}

void expect_frames(Outcome const& ran)
{
    EXPECT_EQ(ran.status, 0);
    for (auto const* const line : {"guest: 1600 frames came back the same", "guest: done"})
        EXPECT_NE(ran.out.find(line), std::string::npos) << line << " is missing:\n"
                                                         << ran.out << ran.err;
    EXPECT_NE(ran.out.find("PCI-MSI"), std::string::npos) << ran.out;
    EXPECT_NE(ran.err.find("faults      none"), std::string::npos) << ran.err;
}

// The number before `what` in the report; its thousands have commas.
std::uint64_t count_of(std::string const& report, std::string_view what)
{
    auto const end = report.find(what);
    EXPECT_NE(end, std::string::npos) << what << " is missing:\n" << report;
    if (end == std::string::npos) return 0;
    auto const begin = report.find_last_not_of("0123456789,", end - 1) + 1;
    auto digits = report.substr(begin, end - begin);
    std::erase(digits, ',');
    return std::stoull(digits);
}

// The guest's driver keeps its doorbells in memory, and so rings for new commands and not for the
// completions that it has taken, of which there is at least one for each interrupt.
void expect_doorbells_in_memory(std::string const& report)
{
    EXPECT_NE(report.find("; doorbells in memory"), std::string::npos) << report;
    auto const commands = count_of(report, " reads ") + count_of(report, " writes ");
    auto const interrupts = count_of(report, " interrupts; ");
    EXPECT_LT(count_of(report, " mapped accesses trapped"), commands + interrupts / 2) << report;
}

PINFOLD_WORKS_WITH("qemu-system-x86 7.2 (Debian) with a Linux guest, `vfio-pci` of `nvme`",
                   "the guest partitions the disk, makes a filesystem, writes, restarts, and reads "
                   "back what it wrote; with mapped BARs and with `x-no-mmap=on`")

TEST_P(Guest, writes_a_filesystem_to_an_NVMe_disk_restarts_and_reads_it_back)
{
    auto const ran = boot(kNvme, "disk:nvme0n1", "-device vfio-pci,host=0000:00:04.0");
    expect_written_and_read_back(ran);
    EXPECT_NE(ran.out.find("PCI-MSI"), std::string::npos) << ran.out;
    EXPECT_EQ(ran.err.find(" 0 mapped accesses trapped"), std::string::npos) << ran.err;
    EXPECT_NE(ran.out.find("guest: 0x010802 reports errors"), std::string::npos) << ran.out;
    expect_doorbells_in_memory(ran.err);
    expect_a_filesystem();
}

TEST_P(Guest, does_the_same_where_QEMU_does_not_map_the_registers)
{
    auto const nvme = "--device nvme,bdf=0000:00:04.0,disk=disk,aer=no --report";
    auto const ran = boot(nvme, "disk:nvme0n1", "-device vfio-pci,host=0000:00:04.0,x-no-mmap=on");
    EXPECT_EQ(ran.out.find("reports errors"), std::string::npos) << ran.out;
    expect_written_and_read_back(ran);
    EXPECT_NE(ran.err.find(" 0 mapped accesses trapped"), std::string::npos) << ran.err;
    expect_a_filesystem();
}

PINFOLD_WORKS_WITH("qemu-system-x86 7.2 (Debian) with a Linux guest, `-drive file=nvme://`",
                   "the same guest on a virtio disk that QEMU keeps on the emulated NVMe disk")

TEST_P(Guest, has_its_disk_on_an_NVMe_disk_that_QEMU_drives)
{
    auto const ran = boot(kNvme, "disk:vda",
                          "-drive file=nvme://0000:00:04.0/1,format=raw,if=none,id=disk "
                          "-device virtio-blk-pci,drive=disk");
    expect_written_and_read_back(ran);
    expect_a_filesystem();
}

PINFOLD_WORKS_WITH("qemu-system-x86 7.2 (Debian) with a Linux guest, `vfio-pci` of `virtio-net`",
                   "the guest sends frames of every size out and has them back, through one port "
                   "that loops or through two that are cross-connected; legacy and modern, with "
                   "mapped BARs and with `x-no-mmap=on`")

TEST_P(Guest, has_its_frames_back_from_a_virtio_port_that_loops)
{
    for (auto const* const mode : {"legacy", "modern"}) {
        SCOPED_TRACE(mode);
        expect_frames(loop_frames(mode, ""));
    }
}

TEST_P(Guest, has_them_back_where_QEMU_does_not_map_the_registers)
{
    for (auto const* const mode : {"legacy", "modern"}) {
        SCOPED_TRACE(mode);
        auto const ran = loop_frames(mode, ",x-no-mmap=on");
        expect_frames(ran);
        EXPECT_NE(ran.err.find(" 0 mapped accesses trapped"), std::string::npos) << ran.err;
    }
}

TEST_P(Guest, has_frames_from_one_port_at_the_other)
{
    auto const ran = boot(
        "--report --device virtio-net,bdf=0000:00:04.0,peer=0000:00:05.0 "
        "--device virtio-net,bdf=0000:00:05.0,peer=0000:00:04.0,mode=modern",
        "frames:eth0:eth1:1600",
        "-device vfio-pci,host=0000:00:04.0,x-no-mmap=on -device vfio-pci,host=0000:00:05.0");
    expect_frames(ran);
}

}  // namespace
}  // namespace pinfold::test
