// Doorbell Buffer Config: the host's side of it as Linux has it.
#include "devices/nvme_fixture.hpp"

namespace pinfold::devices::nvme {
namespace {

class NvmeDoorbells : public NvmeTest {
protected:
    NvmeDoorbells()
    {
        queue_ = driver_.make_queues(1, 4);
        shadow_ = rig_.allocate(1);
        events_ = rig_.allocate(1);
        data_ = rig_.allocate(1);
    }
    Status set(std::uint64_t shadow, std::uint64_t events)
    {
        auto command = admin_command(AdminOpcode::doorbell_buffer_config);
        command.prp1 = shadow;
        command.prp2 = events;
        return admin(command);
    }
    std::uint32_t get(std::uint64_t iova) const
    {
        std::uint32_t value = 0;
        std::memcpy(&value, rig_.memory(iova, 4).data(), 4);
        return value;
    }
    void put(std::uint64_t iova, std::uint32_t value)
    {
        std::memcpy(rig_.memory(iova, 4).data(), &value, 4);
    }
    // Writes the new value to memory. True: and the register is to be written.
    bool moved(unsigned slot, std::uint32_t from, std::uint32_t to)
    {
        put(shadow_ + slot * 4, to);
        auto const event = get(events_ + slot * 4);
        return static_cast<std::uint16_t>(to - event - 1) < static_cast<std::uint16_t>(to - from);
    }
    void submit()
    {
        auto command = rw(IoOpcode::read, 0, 1);
        command.prp1 = data_;
        driver_.submit(queue_, command);
    }

    NvmeDriver::Pair queue_;
    std::uint64_t shadow_, events_, data_;
};

TEST_F(NvmeDoorbells, every_new_tail_is_rung_and_taken_completions_are_not)
{
    std::vector<TestEventfd> events(2);
    rig_.enable_msix(events);
    ASSERT_EQ(set(shadow_, events_), Status::success);
    unsigned heads_rung = 0;
    std::uint32_t tail = 0, head = 0;
    for (unsigned i = 0; i < 40; ++i) {
        submit();
        ASSERT_TRUE(moved(2, tail, queue_.tail)) << i;
        tail = queue_.tail;
        driver_.ring(queue_);
        ASSERT_TRUE(driver_.reap(queue_)) << i;
        if (moved(3, head, queue_.head)) {
            ++heads_rung;
            driver_.consume(queue_);
        }
        head = queue_.head;
    }
    EXPECT_LE(heads_rung, 11U) << "at the first, and once a round";
    EXPECT_THAT(rig_.function().summary(), testing::EndsWith("; doorbells in memory"));
    EXPECT_TRUE(healthy());
}

TEST_F(NvmeDoorbells, room_in_a_completion_queue_is_found_in_memory)
{
    // The queue of 4 entries holds 3.
    std::vector<TestEventfd> events(2);
    rig_.enable_msix(events);
    ASSERT_EQ(set(shadow_, events_), Status::success);
    for (unsigned i = 0; i < 3; ++i) submit();
    put(shadow_ + 2 * 4, queue_.tail);
    driver_.ring(queue_);
    for (unsigned i = 0; i < 3; ++i) ASSERT_TRUE(driver_.reap(queue_));
    // Not told to the register: the controller sees it in memory when it needs the room.
    put(shadow_ + 3 * 4, queue_.head);
    submit();
    put(shadow_ + 2 * 4, queue_.tail);
    driver_.ring(queue_);
    EXPECT_TRUE(driver_.reap(queue_)) << "there was room, by what memory says";
}

TEST_F(NvmeDoorbells, what_was_added_without_ringing_is_done_with_what_was_rung)
{
    ASSERT_EQ(set(shadow_, events_), Status::success);
    submit();
    auto const first = queue_.tail;
    submit();
    put(shadow_ + 2 * 4, queue_.tail);
    rig_.write32(NvmeDriver::tail_doorbell(1), first);
    EXPECT_TRUE(driver_.reap(queue_));
    EXPECT_TRUE(driver_.reap(queue_));
    EXPECT_EQ(get(events_ + 2 * 4), queue_.tail);
}

TEST_F(NvmeDoorbells, values_that_are_none_do_no_harm)
{
    ASSERT_EQ(set(shadow_, events_), Status::success);
    for (std::uint32_t const wrong : {4U, 0xffffU, 0xffffffffU}) {
        submit();
        put(shadow_ + 2 * 4, wrong);
        put(shadow_ + 3 * 4, wrong);
        driver_.ring(queue_);
        EXPECT_TRUE(driver_.reap(queue_));
        driver_.consume(queue_);
    }
    EXPECT_TRUE(healthy());
}

TEST_F(NvmeDoorbells, buffers_out_of_reach_are_given_up)
{
    ASSERT_EQ(set(0xdead000, 0xdead000), Status::success);
    for (unsigned i = 0; i < 6; ++i) {
        submit();
        driver_.ring(queue_);
        ASSERT_TRUE(driver_.reap(queue_));
        driver_.consume(queue_);
    }
    EXPECT_TRUE(healthy());
    EXPECT_EQ(set(shadow_ + 8, events_), Status::invalid_field);
    EXPECT_EQ(set(shadow_, events_ + 4), Status::invalid_field);
    EXPECT_EQ(set(~std::uint64_t{0} << 12, ~std::uint64_t{0} << 12), Status::success);
    submit();
    driver_.ring(queue_);
    EXPECT_TRUE(driver_.reap(queue_));
}

TEST_F(NvmeDoorbells, a_reset_forgets_them)
{
    ASSERT_EQ(set(shadow_, events_), Status::success);
    driver_.enable();
    queue_ = driver_.make_queues(1, 4);
    put(events_ + 2 * 4, 77);
    submit();
    driver_.ring(queue_);
    EXPECT_TRUE(driver_.reap(queue_));
    EXPECT_EQ(get(events_ + 2 * 4), 77U);
}

}  // namespace
}  // namespace pinfold::devices::nvme
