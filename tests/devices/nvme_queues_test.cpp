#include "devices/nvme_fixture.hpp"

namespace pinfold::devices::nvme {
namespace {

class NvmeQueues : public NvmeTest {
protected:
    Command read_block(std::uint64_t lba)
    {
        auto command = rw(IoOpcode::read, lba, 1);
        command.prp1 = page_;
        return command;
    }
    // Requests that wait for events, so that one can be seen.
    void park_event_request()
    {
        driver_.submit(driver_.admin_queue(), admin_command(AdminOpcode::async_event_request));
        driver_.ring(driver_.admin_queue());
    }
    // The event that the last doorbell has caused; 0: none.
    std::uint32_t event()
    {
        auto const entry = driver_.reap(driver_.admin_queue());
        return entry ? entry->result : 0;
    }
};

TEST_F(NvmeQueues, creating_a_completion_queue_checks_each_of_its_fields)
{
    auto const memory = rig_.allocate(1);
    auto const create = [&](unsigned id, std::uint32_t entries, unsigned vector) {
        return admin(create_cq(id, memory, entries, vector));
    };
    EXPECT_EQ(create(0, 4, 0), Status::invalid_queue_identifier);
    EXPECT_EQ(create(kIoQueues + 1, 4, 0), Status::invalid_queue_identifier);
    EXPECT_EQ(create(0xffff, 4, 0), Status::invalid_queue_identifier);
    EXPECT_EQ(create(1, 1, 0), Status::invalid_queue_size);
    EXPECT_EQ(create(1, kMaxQueueSize + 1, 0), Status::invalid_queue_size);
    EXPECT_EQ(create(1, 4, kVectors), Status::invalid_interrupt_vector);
    EXPECT_EQ(admin(create_cq(1, memory + 8, 4, 0)), Status::prp_offset_invalid);
    auto scattered = create_cq(1, memory, 4, 0);
    scattered.cdw11 = 2;  // interrupts, but not physically contiguous
    EXPECT_EQ(admin(scattered), Status::invalid_field);
    EXPECT_EQ(admin(create_cq(1, ~std::uint64_t{0} << 12, 4096, 0)), Status::invalid_field)
        << "a queue that passes 2^64";
    EXPECT_EQ(create(1, 4, 0), Status::success);
    EXPECT_EQ(create(1, 4, 0), Status::invalid_queue_identifier) << "it exists";
}

TEST_F(NvmeQueues, creating_a_submission_queue_checks_each_of_its_fields)
{
    auto const memory = rig_.allocate(2);
    ASSERT_EQ(admin(create_cq(1, memory, 4, 0)), Status::success);
    auto const create = [&](unsigned id, std::uint32_t entries, unsigned cq) {
        return admin(create_sq(id, memory + kPage, entries, cq));
    };
    EXPECT_EQ(create(0, 4, 1), Status::invalid_queue_identifier);
    EXPECT_EQ(create(kIoQueues + 1, 4, 1), Status::invalid_queue_identifier);
    EXPECT_EQ(create(1, 4, 0), Status::invalid_queue_identifier) << "the admin queue's";
    EXPECT_EQ(create(1, 4, kIoQueues + 1), Status::invalid_queue_identifier);
    EXPECT_EQ(create(1, 4, 2), Status::completion_queue_invalid);
    EXPECT_EQ(create(1, 1, 1), Status::invalid_queue_size);
    EXPECT_EQ(create(1, kMaxQueueSize + 1, 1), Status::invalid_queue_size);
    EXPECT_EQ(admin(create_sq(1, memory + 64, 4, 1)), Status::prp_offset_invalid);
    auto scattered = create_sq(1, memory, 4, 1);
    scattered.cdw11 &= ~1U;
    EXPECT_EQ(admin(scattered), Status::invalid_field);
    EXPECT_EQ(create(1, 4, 1), Status::success);
    EXPECT_EQ(create(1, 4, 1), Status::invalid_queue_identifier) << "it exists";
    EXPECT_EQ(create(2, 4, 1), Status::success) << "two may share a completion queue";
}

TEST_F(NvmeQueues, entry_sizes_must_be_configured_before_a_queue_is_made)
{
    rig_.write32(0x14, 0);
    rig_.write32(0x14, 0x00'0001);
    auto& queue = driver_.admin_queue();
    queue.tail = queue.head = 0;
    EXPECT_EQ(admin(create_cq(1, page_, 4, 0)), Status::invalid_queue_size);
    rig_.write32(0x14, 0x46'0001);
    EXPECT_EQ(admin(create_cq(1, page_, 4, 0)), Status::success);
}

TEST_F(NvmeQueues, queues_go_in_the_right_order_only)
{
    (void)driver_.make_queues(1, 4);
    EXPECT_EQ(admin(admin_command(AdminOpcode::delete_cq, 1)), Status::invalid_queue_deletion);
    EXPECT_EQ(admin(admin_command(AdminOpcode::delete_sq, 0)), Status::invalid_queue_identifier);
    EXPECT_EQ(admin(admin_command(AdminOpcode::delete_cq, 0)), Status::invalid_queue_identifier);
    EXPECT_EQ(admin(admin_command(AdminOpcode::delete_sq, 2)), Status::invalid_queue_identifier);
    EXPECT_EQ(admin(admin_command(AdminOpcode::delete_sq, 0xffff)),
              Status::invalid_queue_identifier);
    EXPECT_EQ(admin(admin_command(AdminOpcode::delete_sq, 1)), Status::success);
    EXPECT_EQ(admin(admin_command(AdminOpcode::delete_sq, 1)), Status::invalid_queue_identifier);
    EXPECT_EQ(admin(admin_command(AdminOpcode::delete_cq, 1)), Status::success);
    EXPECT_EQ(admin(admin_command(AdminOpcode::delete_cq, 1)), Status::invalid_queue_identifier);
}

TEST_F(NvmeQueues, every_queue_that_was_granted_can_be_made_and_no_more)
{
    auto const set = driver_.admin(admin_command(AdminOpcode::set_features, 7, 0x0002'0001));
    ASSERT_EQ(status_of(set), Status::success);
    EXPECT_EQ(set.result, 0x0002'0001U);
    for (unsigned id = 1; id <= 3; ++id) {
        EXPECT_EQ(admin(create_cq(id, rig_.allocate(1), 4, id)), Status::success);
    }
    EXPECT_EQ(admin(create_cq(4, page_, 4, 0)), Status::invalid_queue_identifier);
    for (unsigned id = 1; id <= 2; ++id) {
        EXPECT_EQ(admin(create_sq(id, rig_.allocate(1), 4, id)), Status::success);
    }
    EXPECT_EQ(admin(create_sq(3, page_, 4, 3)), Status::invalid_queue_identifier);
    EXPECT_EQ(admin(create_sq(3, page_, 4, 4)), Status::invalid_queue_identifier);
}

TEST_F(NvmeQueues, all_queues_work_side_by_side)
{
    std::vector<NvmeDriver::Pair> queues;
    for (unsigned id = 1; id <= kIoQueues; ++id) queues.push_back(driver_.make_queues(id, 4, id));
    for (unsigned round = 0; round < 9; ++round) {
        for (auto& queue : queues) {
            auto const entry = driver_.run(queue, read_block(round));
            EXPECT_EQ(status_of(entry), Status::success);
            EXPECT_EQ(entry.sq_id, queue.id);
        }
    }
}

class NvmeQueueSizes : public NvmeQueues, public testing::WithParamInterface<std::uint32_t> {};
INSTANTIATE_TEST_SUITE_P(Entries, NvmeQueueSizes, testing::Values(2, 3, 1024, kMaxQueueSize));

TEST_P(NvmeQueueSizes, wrap_around_turns_the_phase_and_keeps_every_command)
{
    auto const entries = GetParam();
    auto queue = driver_.make_queues(1, entries);
    std::mt19937 random{entries};
    for (std::uint32_t done = 0; done < entries * 5 + 7;) {
        auto const batch = 1 + random() % (entries - 1);
        std::vector<std::uint16_t> ids;
        for (std::uint32_t i = 0; i < batch; ++i)
            ids.push_back(driver_.submit(queue, read_block(i)));
        driver_.ring(queue);
        for (auto const id : ids) {
            auto const entry = driver_.reap(queue);
            ASSERT_TRUE(entry) << "command " << done << " of batch " << batch;
            EXPECT_EQ(entry->command_id, id);
            EXPECT_EQ(status_of(*entry), Status::success);
            EXPECT_EQ(entry->reserved, 0U);
            ++done;
        }
        EXPECT_EQ(queue.sq_head, queue.tail) << "the last completion tells that all were fetched";
        EXPECT_FALSE(driver_.reap(queue)) << "no completion but those";
        driver_.consume(queue);
    }
}

TEST_F(NvmeQueues, a_full_completion_queue_holds_commands_back_until_the_host_takes_some)
{
    auto const cq = rig_.allocate(1), sq = rig_.allocate(1);
    ASSERT_EQ(admin(create_cq(1, cq, 4, 0)), Status::success);
    ASSERT_EQ(admin(create_sq(1, sq, 16, 1)), Status::success);
    NvmeDriver::Pair queue{.id = 1, .sq = sq, .cq = cq, .sq_size = 16, .cq_size = 4};
    std::vector<std::uint16_t> ids;
    for (unsigned i = 0; i < 15; ++i) ids.push_back(driver_.submit(queue, read_block(i)));
    driver_.ring(queue);

    for (std::size_t next = 0; next < ids.size();) {
        std::size_t seen = 0;
        while (auto const entry = driver_.reap(queue)) {
            EXPECT_EQ(entry->command_id, ids[next++]);
            ++seen;
        }
        ASSERT_EQ(seen, 3U) << "a queue of 4 holds 3";
        driver_.consume(queue);
    }
    EXPECT_FALSE(driver_.reap(queue));
}

TEST_F(NvmeQueues, commands_held_back_die_with_their_queue)
{
    auto const cq = rig_.allocate(1), sq = rig_.allocate(1);
    ASSERT_EQ(admin(create_cq(1, cq, 2, 0)), Status::success);
    ASSERT_EQ(admin(create_sq(1, sq, 16, 1)), Status::success);
    NvmeDriver::Pair queue{.id = 1, .sq = sq, .cq = cq, .sq_size = 16, .cq_size = 2};
    for (unsigned i = 0; i < 5; ++i) driver_.submit(queue, read_block(i));
    driver_.ring(queue);
    EXPECT_TRUE(driver_.reap(queue));
    EXPECT_EQ(admin(admin_command(AdminOpcode::delete_sq, 1)), Status::success);
    driver_.consume(queue);
    EXPECT_FALSE(driver_.reap(queue));
    EXPECT_EQ(admin(admin_command(AdminOpcode::delete_cq, 1)), Status::success);
}

TEST_F(NvmeQueues, submission_queues_that_share_a_completion_queue_all_go_on)
{
    auto const cq = rig_.allocate(1);
    ASSERT_EQ(admin(create_cq(1, cq, 3, 0)), Status::success);
    std::vector<NvmeDriver::Pair> queues;
    for (unsigned id = 1; id <= 3; ++id) {
        auto const sq = rig_.allocate(1);
        ASSERT_EQ(admin(create_sq(id, sq, 8, 1)), Status::success);
        queues.push_back({.id = id, .sq = sq, .cq = cq, .sq_size = 8, .cq_size = 3});
        for (unsigned i = 0; i < 7; ++i) driver_.submit(queues.back(), read_block(i));
    }
    for (auto& queue : queues) driver_.ring(queue);
    NvmeDriver::Pair completions{.id = 1, .sq = 0, .cq = cq, .sq_size = 8, .cq_size = 3};
    unsigned done = 0;
    std::array<unsigned, 4> by_queue{};
    for (unsigned round = 0; round < 21; ++round) {
        while (auto const entry = driver_.reap(completions)) {
            ++done;
            ++by_queue.at(entry->sq_id);
        }
        driver_.consume(completions);
    }
    EXPECT_EQ(done, 21U);
    EXPECT_THAT(by_queue, testing::ElementsAre(0, 7, 7, 7));
}

TEST_F(NvmeQueues, a_doorbell_of_no_queue_is_an_event_and_nothing_else)
{
    for (auto const doorbell :
         {NvmeDriver::tail_doorbell(1), NvmeDriver::head_doorbell(1),
          NvmeDriver::tail_doorbell(kIoQueues + 1), NvmeDriver::head_doorbell(511)}) {
        driver_.enable();
        park_event_request();
        rig_.write32(doorbell, 1);
        EXPECT_EQ(event(), 0x01'0000U) << "doorbell " << doorbell;
        EXPECT_TRUE(healthy());
    }
}

TEST_F(NvmeQueues, a_doorbell_value_that_cannot_be_is_an_event_and_moves_nothing)
{
    auto const bad_values = [&](bool head) {
        return head ? std::vector<std::uint32_t>{1, 3, 4, 5, 0xffff, 0x1'0001, ~0U}
                    : std::vector<std::uint32_t>{4, 5, 0xffff, 0x1'0001, ~0U};
    };
    for (bool const head : {false, true}) {
        for (auto const value : bad_values(head)) {
            driver_.enable();
            auto queue = driver_.make_queues(1, 4);
            park_event_request();
            rig_.write32(head ? NvmeDriver::head_doorbell(1) : NvmeDriver::tail_doorbell(1), value);
            EXPECT_EQ(event(), 0x01'0100U) << (head ? "head " : "tail ") << value;
            driver_.consume(driver_.admin_queue());
            EXPECT_EQ(status_of(driver_.run(queue, read_block(0))), Status::success);
        }
    }
}

TEST_F(NvmeQueues, a_tail_that_passes_commands_still_waiting_is_refused)
{
    auto const cq = rig_.allocate(1), sq = rig_.allocate(1);
    ASSERT_EQ(admin(create_cq(1, cq, 2, 0)), Status::success);
    ASSERT_EQ(admin(create_sq(1, sq, 8, 1)), Status::success);
    NvmeDriver::Pair queue{.id = 1, .sq = sq, .cq = cq, .sq_size = 8, .cq_size = 2};
    for (unsigned i = 0; i < 6; ++i) driver_.submit(queue, read_block(i));
    driver_.ring(queue);  // one completes, five wait at 1 to 5
    park_event_request();
    rig_.write32(NvmeDriver::tail_doorbell(1), 3);
    EXPECT_EQ(event(), 0x01'0100U);
    unsigned done = 0;
    for (int round = 0; round < 10; ++round) {
        while (driver_.reap(queue)) ++done;
        driver_.consume(queue);
    }
    EXPECT_EQ(done, 6U);
}

TEST_F(NvmeQueues, doorbells_before_the_controller_is_ready_are_lost)
{
    rig_.write32(0x14, 0);
    for (unsigned id = 0; id < 512; ++id) {
        rig_.write32(NvmeDriver::tail_doorbell(id), id);
        rig_.write32(NvmeDriver::head_doorbell(id), id);
    }
    driver_.enable();
    EXPECT_EQ(admin(admin_command(AdminOpcode::abort)), Status::success);
}

TEST_F(NvmeQueues, an_io_queue_whose_memory_has_gone_is_fatal)
{
    auto queue = driver_.make_queues(1, 64);
    rig_.unmap(queue.sq, 1);
    driver_.submit(queue, read_block(0));
    driver_.ring(queue);
    EXPECT_FALSE(healthy());
    EXPECT_FALSE(driver_.reap(queue));
}

TEST_F(NvmeQueues, queues_do_not_outlive_a_controller_reset)
{
    auto queue = driver_.make_queues(1, 4);
    driver_.enable();
    park_event_request();
    driver_.ring(queue);
    EXPECT_EQ(event(), 0x01'0000U);
}

}  // namespace
}  // namespace pinfold::devices::nvme
