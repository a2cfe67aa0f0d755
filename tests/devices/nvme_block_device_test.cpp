// Block devices as disks: a loop device, where the machine lets us have one.
#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>

#include "devices/nvme/disk.hpp"
#include "devices/nvme/model.hpp"
#include "devices/nvme_fixture.hpp"

namespace pinfold::devices::nvme {
namespace {

class LoopDevice {
public:
    explicit LoopDevice(std::string const& file)
    {
        UniqueFd const control{::open("/dev/loop-control", O_RDWR | O_CLOEXEC)};
        UniqueFd const backing{::open(file.c_str(), O_RDWR | O_CLOEXEC)};
        auto const number = control ? ::ioctl(control.get(), LOOP_CTL_GET_FREE) : -1;
        if (number < 0 || !backing) return;
        path_ = "/dev/loop" + std::to_string(number);
        fd_ = UniqueFd{::open(path_.c_str(), O_RDWR | O_CLOEXEC)};
        loop_config config{};
        config.fd = static_cast<std::uint32_t>(backing.get());
        config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
        if (fd_ && ::ioctl(fd_.get(), LOOP_CONFIGURE, &config) != 0) fd_ = UniqueFd{};
    }
    bool usable() const { return static_cast<bool>(fd_); }
    std::string const& path() const { return path_; }

private:
    std::string path_;
    UniqueFd fd_;
};

TEST(NvmeBlockDevice, is_a_disk_like_a_file)
{
    TestDisk const file{4 << 20, std::filesystem::temp_directory_path()};
    LoopDevice const device{file.path()};
    if (!device.usable()) GTEST_SKIP() << "no loop device for us";

    NvmeRig rig{{{"disk", device.path()}}};
    NvmeDriver driver{rig};
    driver.enable();
    auto queue = driver.make_queues(1, 8);
    auto const data = rig.allocate(4);
    auto const run = [&](IoOpcode opcode, std::uint32_t blocks, std::uint32_t flags = 0) {
        auto command = rw(opcode, 8, blocks);
        driver.point(command, data, blocks * 512);
        command.cdw12 |= flags;
        return status_of(driver.run(queue, command));
    };
    auto const first_after = [&](IoOpcode opcode, std::uint32_t flags) {
        std::ranges::fill(rig.memory(data, kPage), std::byte{0x5c});
        EXPECT_EQ(run(IoOpcode::write, 8), Status::success);
        EXPECT_EQ(run(opcode, 5, flags), Status::success);
        EXPECT_EQ(run(IoOpcode::read, 8), Status::success);
        EXPECT_EQ(rig.memory(data, kPage).back(), std::byte{0x5c}) << "not beyond its blocks";
        return rig.memory(data, 1)[0];
    };
    EXPECT_EQ(first_after(IoOpcode::flush, 0), std::byte{0x5c});
    EXPECT_EQ(file.read(8 * 512, 1)[0], std::byte{0x5c}) << "Flush reached the file";
    EXPECT_EQ(first_after(IoOpcode::write_zeroes, 0), std::byte{0});
    EXPECT_EQ(first_after(IoOpcode::write_zeroes, 1U << 25), std::byte{0});
    EXPECT_THAT(rig.function().summary(), testing::HasSubstr(" 4 MiB: "));
}

TEST(NvmeBlockDevice, one_that_is_claimed_is_busy)
{
    TestDisk const file{4 << 20, std::filesystem::temp_directory_path()};
    LoopDevice const device{file.path()};
    if (!device.usable()) GTEST_SKIP() << "no loop device for us";
    pci::DeviceSpec const spec{.model = "nvme", .settings = {{"disk", device.path()}}};
    EXPECT_TRUE(model().check(spec));
    {
        UniqueFd const claim{::open(device.path().c_str(), O_RDONLY | O_EXCL | O_CLOEXEC)};
        ASSERT_TRUE(claim);
        auto const checked = model().check(spec);
        ASSERT_FALSE(checked) << "as if it were mounted";
        EXPECT_THAT(checked.error(), testing::HasSubstr("is busy"));
    }
    auto const held = lock_disks(spec);
    ASSERT_TRUE(held) << held.error();
    EXPECT_FALSE(model().check(spec));
    EXPECT_NO_THROW(NvmeRig{spec.settings});
}

}  // namespace
}  // namespace pinfold::devices::nvme
