// The Keep Alive Timer, NVM Express 1.4, 7.12. Times are lower bounds, or long enough for a machine
// that has much else to do.
#include <chrono>
#include <thread>

#include "devices/nvme/log_pages.hpp"
#include "devices/nvme_fixture.hpp"

namespace pinfold::devices::nvme {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

class NvmeKeepAlive : public NvmeTest {
protected:
    Status set_timer(std::uint32_t milliseconds)
    {
        return admin(admin_command(AdminOpcode::set_features, 0x0f, milliseconds));
    }
    Status keep_alive() { return admin(admin_command(AdminOpcode::keep_alive)); }
    bool failed() { return (driver_.csts() & 2) != 0; }
    bool fails_in_the_end()
    {
        for (auto const begun = Clock::now(); Clock::now() - begun < 20s;) {
            if (failed()) return true;
            std::this_thread::sleep_for(5ms);
        }
        return false;
    }
    bool stays_healthy()
    {
        std::this_thread::sleep_for(400ms);
        return !failed();
    }
};

TEST_F(NvmeKeepAlive, its_granularity_is_told_and_without_a_timer_nothing_runs_out)
{
    ASSERT_EQ(admin_data(admin_command(AdminOpcode::identify, 1)), Status::success);
    EXPECT_EQ(field<std::uint16_t>(320), 1U) << "100 ms";
    EXPECT_EQ(keep_alive(), Status::success);
    EXPECT_TRUE(stays_healthy());
}

TEST_F(NvmeKeepAlive, a_host_that_is_silent_for_too_long_finds_a_controller_that_has_failed)
{
    auto const begun = Clock::now();
    ASSERT_EQ(set_timer(150), Status::success);
    ASSERT_TRUE(fails_in_the_end());
    EXPECT_GE(Clock::now() - begun, 200ms) << "rounded up";

    auto& queue = driver_.admin_queue();
    driver_.submit(queue, admin_command(AdminOpcode::keep_alive));
    driver_.ring(queue);
    EXPECT_FALSE(driver_.reap(queue)) << "no command is carried out";

    driver_.enable();
    EXPECT_TRUE(healthy());
    auto command = admin_command(AdminOpcode::get_log_page, 1 | 15U << 16);
    command.nsid = kBroadcastNsid;
    ASSERT_EQ(admin_data(command, 64), Status::success);
    EXPECT_EQ(field<std::uint16_t>(8), 0xffffU);
    EXPECT_EQ(field<std::uint16_t>(12) >> 1, number(Status::keep_alive_expired));
    EXPECT_TRUE(stays_healthy()) << "a controller reset ends the timer";
}

TEST_F(NvmeKeepAlive, each_keep_alive_begins_the_time_anew)
{
    constexpr auto kTime = 1500ms;
    ASSERT_EQ(set_timer(1500), Status::success);
    auto last = Clock::now();
    for (auto const begun = last; Clock::now() - begun < 2 * kTime;) {
        std::this_thread::sleep_for(20ms);
        if (Clock::now() - last > kTime - 100ms) GTEST_SKIP() << "this thread came too late itself";
        ASSERT_EQ(keep_alive(), Status::success);
        last = Clock::now();
    }
    EXPECT_FALSE(failed());
    EXPECT_TRUE(fails_in_the_end());
}

TEST_F(NvmeKeepAlive, a_timer_of_zero_a_shutdown_and_a_function_reset_end_it)
{
    ASSERT_EQ(set_timer(100), Status::success);
    ASSERT_EQ(set_timer(0), Status::success);
    EXPECT_TRUE(stays_healthy());

    ASSERT_EQ(set_timer(100), Status::success);
    ASSERT_TRUE(rig_.function().reset());
    rig_.set_bus_master(true);
    driver_.enable();
    EXPECT_TRUE(stays_healthy());

    ASSERT_EQ(set_timer(200), Status::success);
    auto const cc = NvmeDriver::offset(Register::cc);
    rig_.write32(cc, rig_.read32(cc) | 1U << 14);
    EXPECT_TRUE(stays_healthy());
}

TEST_F(NvmeKeepAlive, namespace_management_is_neither_claimed_nor_there)
{
    ASSERT_EQ(admin_data(admin_command(AdminOpcode::identify, 1)), Status::success);
    EXPECT_EQ(field<std::uint16_t>(256) & 8, 0) << "OACS";
    for (std::uint32_t cns = 0x10; cns <= 0x13; ++cns)
        EXPECT_EQ(admin_data(admin_command(AdminOpcode::identify, cns)), Status::invalid_field);
    ASSERT_EQ(admin_data(admin_command(AdminOpcode::get_log_page, 5 | 1023U << 16)),
              Status::success);
    for (unsigned const opcode : {0x0dU, 0x15U}) {
        EXPECT_EQ(field<std::uint32_t>(std::size_t{4} * opcode), 0U);
        EXPECT_EQ(admin(admin_command(AdminOpcode{static_cast<std::uint8_t>(opcode)})),
                  Status::invalid_opcode);
    }
}

}  // namespace
}  // namespace pinfold::devices::nvme
