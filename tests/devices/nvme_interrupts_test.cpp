#include "devices/nvme_fixture.hpp"

namespace pinfold::devices::nvme {
namespace {

class NvmeInterrupts : public NvmeTest {
protected:
    void submit_and_ring(NvmeDriver::Pair& queue, unsigned commands = 1)
    {
        for (unsigned i = 0; i < commands; ++i) {
            auto command = rw(IoOpcode::flush, 0, 1);
            driver_.submit(queue, command);
        }
        driver_.ring(queue);
    }
    void take_all(NvmeDriver::Pair& queue)
    {
        while (driver_.reap(queue)) {
        }
        driver_.consume(queue);
    }
};

TEST_F(NvmeInterrupts, each_completion_queue_has_its_own_vector)
{
    std::vector<TestEventfd> vectors(4);
    rig_.enable_msix(vectors);
    std::vector<NvmeDriver::Pair> queues;
    for (unsigned id = 1; id <= 3; ++id) queues.push_back(driver_.make_queues(id, 8, id));
    EXPECT_EQ(vectors[0].take(), 6U) << "the admin queue's: one for each command";
    for (unsigned id = 1; id <= 3; ++id) {
        submit_and_ring(queues[id - 1]);
        for (unsigned vector = 0; vector < 4; ++vector) {
            EXPECT_EQ(vectors[vector].take(), vector == id ? 1U : 0U);
        }
    }
}

TEST_F(NvmeInterrupts, a_batch_of_commands_is_one_message)
{
    std::vector<TestEventfd> vectors(2);
    rig_.enable_msix(vectors);
    auto queue = driver_.make_queues(1, 64, 1);
    submit_and_ring(queue, 63);
    EXPECT_EQ(vectors[1].take(), 1U);
    take_all(queue);
    EXPECT_EQ(vectors[1].take(), 0U) << "taking completions is no reason for an interrupt";
}

TEST_F(NvmeInterrupts, commands_that_waited_for_room_interrupt_when_they_complete)
{
    std::vector<TestEventfd> vectors(2);
    rig_.enable_msix(vectors);
    auto const cq = rig_.allocate(1), sq = rig_.allocate(1);
    ASSERT_EQ(admin(create_cq(1, cq, 3, 1)), Status::success);
    ASSERT_EQ(admin(create_sq(1, sq, 8, 1)), Status::success);
    NvmeDriver::Pair queue{.id = 1, .sq = sq, .cq = cq, .sq_size = 8, .cq_size = 3};
    submit_and_ring(queue, 4);
    EXPECT_EQ(vectors[1].take(), 1U);
    take_all(queue);
    EXPECT_EQ(vectors[1].take(), 1U);
    take_all(queue);
    EXPECT_EQ(vectors[1].take(), 0U);
}

TEST_F(NvmeInterrupts, a_queue_without_interrupts_is_silent)
{
    std::vector<TestEventfd> vectors(2);
    TestEventfd line;
    auto const cq = rig_.allocate(1), sq = rig_.allocate(1);
    auto silent = create_cq(1, cq, 8, 1);
    silent.cdw11 &= ~2U;
    ASSERT_EQ(admin(silent), Status::success);
    ASSERT_EQ(admin(create_sq(1, sq, 8, 1)), Status::success);
    NvmeDriver::Pair queue{.id = 1, .sq = sq, .cq = cq, .sq_size = 8, .cq_size = 8};
    rig_.enable_msix(vectors);
    submit_and_ring(queue);
    EXPECT_EQ(vectors[1].take(), 0U);
    rig_.disable_msix();
    rig_.enable_intx(line);
    submit_and_ring(queue);
    EXPECT_EQ(line.take(), 0U);
}

TEST_F(NvmeInterrupts, intx_is_up_while_completions_wait)
{
    TestEventfd line;
    rig_.enable_intx(line);
    auto queue = driver_.make_queues(1, 8, 5);
    (void)line.take();
    rig_.unmask_intx();
    EXPECT_EQ(line.take(), 0U) << "the admin queue has been drained";

    submit_and_ring(queue, 3);
    EXPECT_EQ(line.take(), 1U);
    EXPECT_TRUE(driver_.reap(queue));
    driver_.consume(queue);
    rig_.unmask_intx();
    EXPECT_EQ(line.take(), 1U) << "two completions still wait";
    take_all(queue);
    rig_.unmask_intx();
    EXPECT_EQ(line.take(), 0U);
}

TEST_F(NvmeInterrupts, intms_and_intmc_mask_the_line)
{
    TestEventfd line;
    rig_.enable_intx(line);
    auto queue = driver_.make_queues(1, 8, 3);
    (void)line.take();
    rig_.unmask_intx();

    rig_.write32(0x0c, 1U << 3);
    EXPECT_EQ(rig_.read32(0x0c), 1U << 3);
    EXPECT_EQ(rig_.read32(0x10), 1U << 3);
    submit_and_ring(queue);
    EXPECT_EQ(line.take(), 0U);
    rig_.write32(0x10, 1U << 3);
    EXPECT_EQ(rig_.read32(0x0c), 0U);
    EXPECT_EQ(line.take(), 1U) << "the level comes through";
    rig_.write32(0x0c, 1U << 3);
    rig_.unmask_intx();
    EXPECT_EQ(line.take(), 0U) << "masking takes it down";
}

TEST_F(NvmeInterrupts, the_line_comes_back_after_messages_were_used)
{
    TestEventfd line;
    std::vector<TestEventfd> vectors(2);
    auto queue = driver_.make_queues(1, 8, 1);
    rig_.enable_intx(line);
    submit_and_ring(queue);
    EXPECT_EQ(line.take(), 1U);
    rig_.disable_intx();
    rig_.enable_msix(vectors);
    submit_and_ring(queue);
    EXPECT_EQ(vectors[1].take(), 1U);
    EXPECT_EQ(line.take(), 0U);
    rig_.disable_msix();
    rig_.enable_intx(line);
    submit_and_ring(queue);
    EXPECT_EQ(line.take(), 1U);
}

TEST_F(NvmeInterrupts, a_reset_takes_the_line_down)
{
    TestEventfd line;
    auto queue = driver_.make_queues(1, 8, 1);
    submit_and_ring(queue);
    rig_.write32(0x14, 0);
    rig_.enable_intx(line);
    rig_.unmask_intx();
    EXPECT_EQ(line.take(), 0U);
}

TEST_F(NvmeInterrupts, an_event_interrupts_through_the_admin_queue)
{
    std::vector<TestEventfd> vectors(1);
    rig_.enable_msix(vectors);
    driver_.submit(driver_.admin_queue(), admin_command(AdminOpcode::async_event_request));
    driver_.ring(driver_.admin_queue());
    EXPECT_EQ(vectors[0].take(), 0U) << "parked";
    rig_.write32(NvmeDriver::tail_doorbell(9), 1);
    EXPECT_EQ(vectors[0].take(), 1U);
}

}  // namespace
}  // namespace pinfold::devices::nvme
