// Resets while other threads keep the queues busy: what returns from a reset has seen the last of
// the device's accesses and interrupts.
#include <functional>

#include "devices/busy.hpp"
#include "devices/nvme_fixture.hpp"

namespace pinfold::devices::nvme {
namespace {

struct WayToReset {
    char const* name;
    std::function<void(NvmeRig&)> reset;
};

std::uint32_t config_read32(pci::Function& function, std::size_t at)
{
    std::uint32_t value = 0;
    function.config_read(at, std::as_writable_bytes(std::span{&value, 1}));
    return value;
}

constexpr std::size_t kExpressControl = 0x58;
constexpr std::uint16_t kFunctionLevelReset = 1 << 15;

std::vector<WayToReset> ways_to_reset()
{
    return {{"VFIO_DEVICE_RESET", [](NvmeRig& rig) { EXPECT_TRUE(rig.function().reset()); }},
            {"FLR",
             [](NvmeRig& rig) {
                 auto& function = rig.function();
                 auto const control =
                     config_read32(function, kExpressControl) | kFunctionLevelReset;
                 function.config_write(kExpressControl, 2, control);
             }},
            {"CC_EN", [](NvmeRig& rig) { rig.write32(NvmeDriver::offset(Register::cc), 0); }},
            {"last_close", [](NvmeRig& rig) {
                 rig.function().close();
                 rig.function().open();
                 rig.set_bus_master(true);
             }}};
}

class NvmeBusyTest : public NvmeTest {
protected:
    static constexpr unsigned kQueues = 3;
    static constexpr std::uint32_t kEntries = 32;
    static constexpr std::byte kUntouched{0x33};

    NvmeBusyTest()
    {
        // Reads and writes of blocks by turns; what is in the queues stays for all rounds.
        for (unsigned id = 1; id <= kQueues; ++id) {
            for (std::uint32_t i = 0; i < kEntries; ++i) {
                auto command = rw(i % 2 == 0 ? IoOpcode::read : IoOpcode::write, i, 8);
                command.prp1 = written(id, 1);
                auto const slot = rig_.memory(submission(id) + i * sizeof command, sizeof command);
                std::memcpy(slot.data(), &command, sizeof command);
            }
        }
    }

    // Pages at the end of the arena, out of the driver's way: what only the device reads, and what
    // it writes.
    static std::uint64_t submission(unsigned id) { return kFixed + (id - 1) * kPage; }
    static std::uint64_t shadow() { return kFixed + kQueues * kPage; }
    static std::uint64_t written(unsigned id, unsigned page)  // 0: completions, 1: data
    {
        return kWritten + (2 * (id - 1) + page) * kPage;
    }
    static std::uint64_t events() { return kWritten + 2 * kQueues * kPage; }
    std::span<std::byte> all_written() const
    {
        return rig_.memory(kWritten, (2 * kQueues + 1) * kPage);
    }

    void set_up()
    {
        driver_.enable();
        for (unsigned id = 1; id <= kQueues; ++id) {
            ASSERT_EQ(admin(create_cq(id, written(id, 0), kEntries, id)), Status::success);
            ASSERT_EQ(admin(create_sq(id, submission(id), kEntries, id)), Status::success);
        }
        auto command = admin_command(AdminOpcode::doorbell_buffer_config);
        command.prp1 = shadow();
        command.prp2 = events();
        if (!with_shadows_) return;
        ASSERT_EQ(admin(command), Status::success);
    }

    Busy keep_busy()
    {
        std::vector<std::function<void()>> works;
        for (unsigned id = 1; id <= kQueues; ++id)
            works.emplace_back([this, id, i = 0U]() mutable {
                // Both doorbells, so that the queues are never full for long.
                rig_.write32(NvmeDriver::tail_doorbell(id), i = (i + 5) % kEntries);
                rig_.write32(NvmeDriver::head_doorbell(id), (i + kEntries - 1) % kEntries);
            });
        return Busy{std::move(works)};
    }

    struct Traffic {
        std::uint64_t reads, writes, interrupts, faults;
        bool operator==(Traffic const&) const = default;
    };
    Traffic traffic()
    {
        auto const now = rig_.function().counters();
        return {now.dma.reads, now.dma.writes, now.interrupts, rig_.endpoint().faults().count()};
    }

    void reset_again_and_again(WayToReset const& way, unsigned rounds)
    {
        std::vector<TestEventfd> vectors(kQueues + 1);
        Busy busy = keep_busy();
        std::uint64_t moved = 0;
        for (unsigned round = 0; busy.goes_on(rounds); ++round) {
            rig_.enable_msix(vectors);
            set_up();
            auto const before = traffic();
            busy.wait_for_a_round();
            way.reset(rig_);
            auto const after = traffic();
            moved += after.writes - before.writes;
            std::ranges::fill(all_written(), kUntouched);
            busy.wait_for_a_round();
            ASSERT_EQ(traffic(), after) << "round " << round;
            ASSERT_TRUE(std::ranges::all_of(all_written(), [](auto b) { return b == kUntouched; }))
                << "round " << round;
            ASSERT_EQ(driver_.csts(), 0U);
        }
        EXPECT_GE(moved, busy.rounds()) << "the device was busy";
        EXPECT_TRUE(rig_.guards_untouched());
    }

    bool with_shadows_ = false;

private:
    static constexpr std::uint64_t kWritten = NvmeRig::kIova + NvmeRig::kSize - 8 * kPage;
    static constexpr std::uint64_t kFixed = kWritten - 8 * kPage;
};

class NvmeReset : public NvmeBusyTest, public testing::WithParamInterface<WayToReset> {};
INSTANTIATE_TEST_SUITE_P(Ways, NvmeReset, testing::ValuesIn(ways_to_reset()),
                         [](auto const& each) { return std::string{each.param.name}; });

TEST_P(NvmeReset, nothing_happens_after_one_that_came_while_queues_were_busy)
{
    reset_again_and_again(GetParam(), 1000);
}

TEST_P(NvmeReset, nothing_happens_after_one_where_doorbells_are_in_memory_too)
{
    with_shadows_ = true;
    reset_again_and_again(GetParam(), 300);
}

// The same from several threads at once, with nothing to see but that it comes to an end.
TEST_F(NvmeBusyTest, resets_of_every_kind_at_once_ends_with_a_controller_that_can_be_enabled)
{
    auto const ways = ways_to_reset();
    std::vector<std::function<void()>> works;
    for (unsigned way = 0; way < 3; ++way) works.emplace_back([&, way] { ways[way].reset(rig_); });
    works.emplace_back([&, i = 0U]() mutable {
        rig_.write32(NvmeDriver::offset(Register::cc), 0x46'0001);
        for (unsigned id = 0; id <= kQueues; ++id)
            rig_.write32(NvmeDriver::tail_doorbell(id), ++i % kEntries);
    });
    {
        Busy busy{std::move(works)};
        while (busy.goes_on(500)) busy.wait_for_a_round();
    }
    set_up();
    EXPECT_TRUE(healthy());
}

}  // namespace
}  // namespace pinfold::devices::nvme
