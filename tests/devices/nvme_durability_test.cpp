// What a controller asks of the kernel so that data is on the medium when a command is done: this
// program has pwritev2() and fdatasync() of its own, which count and go on to the kernel.
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "devices/nvme_fixture.hpp"

namespace {

struct Asked {
    unsigned plain = 0, synchronous = 0, flushes = 0;
    bool operator==(Asked const&) const = default;
};
Asked asked;

}  // namespace

extern "C" ssize_t pwritev2(int fd, iovec const* segments, int count, off_t at, int flags)
{
    ++((flags & RWF_DSYNC) != 0 ? asked.synchronous : asked.plain);
    return ::syscall(SYS_pwritev2, fd, segments, count, at, 0, flags);
}

extern "C" int fdatasync(int fd)
{
    ++asked.flushes;
    return static_cast<int>(::syscall(SYS_fdatasync, fd));
}

namespace pinfold::devices::nvme {
namespace {

class NvmeDurability : public NvmeTest {
protected:
    static constexpr std::uint32_t kForce = 1U << 30;

    NvmeDurability() : queue_{driver_.make_queues(1, 16)}, data_{rig_.allocate(1)} {}

    // What the command has the kernel do. It succeeds.
    Asked run(IoOpcode opcode, std::uint32_t cdw12 = 0)
    {
        auto command = rw(opcode, 0, 1, 1);
        driver_.point(command, data_, 512);
        command.cdw12 |= cdw12;
        asked = {};
        EXPECT_EQ(status_of(driver_.run(queue_, command)), Status::success);
        return asked;
    }
    void write_cache(unsigned on)
    {
        ASSERT_EQ(admin(admin_command(AdminOpcode::set_features, 6, on)), Status::success);
    }

    NvmeDriver::Pair queue_;
    std::uint64_t data_;
};

TEST_F(NvmeDurability, with_the_write_cache_only_forced_commands_wait_for_the_medium)
{
    write_cache(1);
    EXPECT_EQ(run(IoOpcode::write), (Asked{.plain = 1}));
    EXPECT_EQ(run(IoOpcode::write, kForce), (Asked{.synchronous = 1}));
    EXPECT_EQ(run(IoOpcode::write_zeroes), (Asked{}));
    EXPECT_EQ(run(IoOpcode::write_zeroes, kForce), (Asked{.flushes = 1}));
    EXPECT_EQ(run(IoOpcode::read), (Asked{}));
    EXPECT_EQ(run(IoOpcode::read, kForce), (Asked{.flushes = 1}));
}

TEST_F(NvmeDurability, without_the_write_cache_every_write_waits_for_the_medium)
{
    write_cache(0);
    EXPECT_EQ(run(IoOpcode::write), (Asked{.synchronous = 1}));
    EXPECT_EQ(run(IoOpcode::write_zeroes), (Asked{.flushes = 1}));
    EXPECT_EQ(run(IoOpcode::read), (Asked{}));
}

TEST_F(NvmeDurability, flush_and_the_end_of_a_controller_reach_the_medium)
{
    EXPECT_EQ(run(IoOpcode::flush), (Asked{.flushes = 1}));
    asked = {};
    auto const cc = NvmeDriver::offset(Register::cc);
    rig_.write32(cc, rig_.read32(cc) | 1U << 14);  // SHN: a normal shutdown
    EXPECT_EQ(asked, (Asked{.flushes = 1}));
}

}  // namespace
}  // namespace pinfold::devices::nvme
