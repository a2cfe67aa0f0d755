// Frames: out and back, from port to port, and everything that keeps one from arriving.
#include <gtest/gtest.h>

#include <algorithm>

#include "devices/virtio_rig.hpp"

namespace pinfold::devices::virtio_net {
namespace {

using namespace feature;
constexpr Mac kOwn{0x52, 0x54, 0, 0x12, 0x34, 0x56};

class VirtioNetTest : public testing::Test {
protected:
    explicit VirtioNetTest(std::vector<pci::Setting> settings = {{"mac", "52:54:00:12:34:56"}})
        : port_{around_, std::move(settings)}
    {
    }

    std::array<DriverQueue*, 3> queues() { return {&receive_, &transmit_, &control_}; }
    // Buffers of `size` bytes, a page apart.
    void offer_buffers(unsigned count, std::uint32_t size = kPage)
    {
        for (unsigned i = 0; i < count; ++i)
            receive_.add(static_cast<std::uint16_t>(i), {{buffers_ + i * kPage, size, true}});
    }
    // Makes `frame` available behind a header of `header` zeros.
    void offer_frame(Bytes const& frame, std::uint16_t at = 0, std::size_t header = 10)
    {
        Bytes bytes(header);
        bytes.insert(bytes.end(), frame.begin(), frame.end());
        arena_.put_bytes(out_, bytes);
        transmit_.add(at, {{out_, static_cast<std::uint32_t>(bytes.size())}});
    }
    void send(Bytes const& frame)
    {
        offer_frame(frame);
        port_.notify_legacy(kTransmit);
    }
    // One command; the device's answer.
    std::uint8_t command(Bytes const& bytes)
    {
        auto const at = out_ + 2 * kPage;
        arena_.put_bytes(at, bytes);
        arena_.put<std::uint8_t>(at + kPage, 0xaa);
        control_.add(0, {{at, static_cast<std::uint32_t>(bytes.size())}, {at + kPage, 1, true}});
        port_.notify_legacy(kControl);
        EXPECT_EQ(control_.take_used().size(), 1U);
        return arena_.get<std::uint8_t>(at + kPage);
    }
    // Whether a frame to `to` comes back.
    bool comes_back(Bytes const& frame)
    {
        send(frame);
        EXPECT_EQ(transmit_.take_used().size(), 1U);
        return receive_.take_used().size() == 1;
    }
    bool broken() { return (port_.in(0x12, 1) & 0x40) != 0; }

    pci::Surroundings around_;
    Arena arena_{around_};
    DriverQueue receive_{arena_, 256}, transmit_{arena_, 256}, control_{arena_, 64};
    std::uint64_t out_ = arena_.allocate(20), buffers_ = arena_.allocate(24);
    TestPort port_;
};

TEST_F(VirtioNetTest, a_frame_comes_back_with_an_empty_header_before_it)
{
    port_.start_legacy(0, queues());
    offer_buffers(2);
    auto const frame = frame_to(kEverybody, 60);
    send(frame);
    auto const sent = transmit_.take_used();
    ASSERT_EQ(sent.size(), 1U);
    EXPECT_EQ(sent[0].id, 0U);
    EXPECT_EQ(sent[0].length, 0U);
    auto const received = receive_.take_used();
    ASSERT_EQ(received.size(), 1U);
    EXPECT_EQ(received[0].length, 70U);
    EXPECT_EQ(arena_.get_bytes(buffers_, 10), Bytes(10));
    EXPECT_EQ(arena_.get_bytes(buffers_ + 10, 60), frame);
    EXPECT_EQ(port_.function().summary(), "1 frames sent, 1 received");
}

TEST_F(VirtioNetTest, version_1_has_the_long_header_with_a_count_of_buffers)
{
    EXPECT_EQ(port_.start_modern(kVersion1, queues()), 0xfU);
    offer_buffers(1);
    auto const frame = frame_to(kOwn, 1514);
    offer_frame(frame, 0, 12);
    port_.notify_modern(kTransmit);
    auto const received = receive_.take_used();
    ASSERT_EQ(received.size(), 1U);
    EXPECT_EQ(received[0].length, 1526U);
    EXPECT_EQ(arena_.get<std::uint16_t>(buffers_ + 10), 1U);
    EXPECT_EQ(arena_.get_bytes(buffers_ + 12, 1514), frame);
}

TEST_F(VirtioNetTest, header_and_frame_may_lie_in_any_number_of_pieces)
{
    port_.start_legacy(static_cast<std::uint32_t>(kAnyLayout), queues());
    receive_.add(0, {{buffers_, 3, true}, {buffers_ + kPage, 0, true}, {buffers_ + 16, 200, true}});
    auto const frame = frame_to(kEverybody, 100);
    Bytes bytes(10);
    bytes.insert(bytes.end(), frame.begin(), frame.end());
    arena_.put_bytes(out_, bytes);
    transmit_.add(0, {{out_, 4}, {out_ + 4, 0}, {out_ + 4, 7}, {out_ + 11, 99}});
    port_.notify_legacy(kTransmit);
    ASSERT_EQ(receive_.take_used().size(), 1U);
    EXPECT_EQ(arena_.get_bytes(buffers_ + 16 + 7, 100), frame);
}

TEST_F(VirtioNetTest, an_indirect_table_is_as_good_as_a_chain)
{
    port_.start_legacy(static_cast<std::uint32_t>(kIndirect), queues());
    offer_buffers(1);
    auto const frame = frame_to(kEverybody, 64);
    arena_.put_bytes(out_ + kPage, frame);
    auto const table = out_ + 2 * kPage;
    arena_.put(table, Descriptor{out_, 10, kDescriptorNext, 2});
    arena_.put(table + 32, Descriptor{out_ + kPage, 64, 0, 0});
    transmit_.describe(5, {table, 48, kDescriptorIndirect, 0});
    transmit_.offer(5);
    port_.notify_legacy(kTransmit);
    auto const sent = transmit_.take_used();
    ASSERT_EQ(sent.size(), 1U);
    EXPECT_EQ(sent[0].id, 5U);
    ASSERT_EQ(receive_.take_used().size(), 1U);
    EXPECT_EQ(arena_.get_bytes(buffers_ + 10, 64), frame);
}

TEST_F(VirtioNetTest, what_is_no_indirect_table_breaks_the_device)
{
    struct Case {
        char const* what;
        std::uint32_t length;
        std::uint16_t flags, first_flags, first_next;
    };
    for (auto const& one :
         std::vector<Case>{{"empty", 0, kDescriptorIndirect, 0, 0},
                           {"half a descriptor", 24, kDescriptorIndirect, 0, 0},
                           {"longer than a queue", 257 * 16, kDescriptorIndirect, 0, 0},
                           {"with a next", 16, kDescriptorIndirect | kDescriptorNext, 0, 0},
                           {"a table in a table", 16, kDescriptorIndirect, kDescriptorIndirect, 0},
                           {"a next outside", 16, kDescriptorIndirect, kDescriptorNext, 1},
                           {"a loop", 16, kDescriptorIndirect, kDescriptorNext, 0}}) {
        DriverQueue queue{arena_, 16};
        std::array<DriverQueue*, 2> both{nullptr, &queue};
        port_.start_modern(kVersion1 | kIndirect, both);
        arena_.put(out_, Descriptor{out_ + kPage, 80, one.first_flags, one.first_next});
        queue.describe(0, {out_, one.length, one.flags, 1});
        queue.offer(0);
        port_.notify_modern(kTransmit);
        EXPECT_TRUE(broken()) << one.what;
        EXPECT_EQ(queue.used_index(), 0U) << one.what;
    }
}

TEST_F(VirtioNetTest, an_indirect_table_that_was_not_agreed_on_breaks_the_device)
{
    port_.start_legacy(0, queues());
    arena_.put(out_, Descriptor{out_ + kPage, 80, 0, 0});
    transmit_.describe(0, {out_, 16, kDescriptorIndirect, 0});
    transmit_.offer(0);
    port_.notify_legacy(kTransmit);
    EXPECT_TRUE(broken());
}

class BrokenRingTest : public VirtioNetTest {
protected:
    // Nothing is served any more, until the driver resets the device.
    void expect_broken()
    {
        EXPECT_TRUE(broken());
        transmit_.set_index(1);
        transmit_.describe(0, {out_, 80, 0, 0});
        port_.notify_legacy(kTransmit);
        EXPECT_EQ(transmit_.used_index(), 0U);
        transmit_.set_index(0);
        port_.start_legacy(0, queues());
        EXPECT_FALSE(broken());
        send(frame_to(kEverybody, 60));
        EXPECT_EQ(transmit_.used_index(), 1U);
    }
};

TEST_F(BrokenRingTest, more_available_than_the_queue_holds)
{
    port_.start_legacy(0, queues());
    transmit_.set_index(257);
    port_.notify_legacy(kTransmit);
    expect_broken();
}

TEST_F(BrokenRingTest, a_head_outside_of_the_table)
{
    port_.start_legacy(0, queues());
    arena_.put<std::uint16_t>(transmit_.available() + 4, 256);
    transmit_.set_index(1);
    port_.notify_legacy(kTransmit);
    expect_broken();
}

TEST_F(BrokenRingTest, a_next_outside_of_the_table)
{
    port_.start_legacy(0, queues());
    transmit_.describe(0, {out_, 80, kDescriptorNext, 0xffff});
    transmit_.set_index(1);
    port_.notify_legacy(kTransmit);
    expect_broken();
}

TEST_F(BrokenRingTest, a_chain_that_bites_its_tail)
{
    port_.start_legacy(0, queues());
    transmit_.describe(0, {out_, 1, kDescriptorNext, 1});
    transmit_.describe(1, {out_, 1, kDescriptorNext, 0});
    transmit_.set_index(1);
    port_.notify_legacy(kTransmit);
    expect_broken();
}

TEST_F(BrokenRingTest, something_to_read_behind_something_to_write)
{
    port_.start_legacy(0, queues());
    transmit_.describe(0, {out_, 80, kDescriptorNext | kDescriptorWrite, 1});
    transmit_.describe(1, {out_, 80, 0, 0});
    transmit_.set_index(1);
    port_.notify_legacy(kTransmit);
    expect_broken();
}

TEST_F(BrokenRingTest, a_ring_that_is_not_mapped)
{
    port_.start_legacy(0, queues());
    port_.out(0x0e, 2, kTransmit);
    port_.out(0x08, 4, 0x1234567);
    port_.notify_legacy(kTransmit);
    EXPECT_FALSE(port_.faults().empty());
    expect_broken();
}

TEST_F(BrokenRingTest, a_ring_over_the_end_of_the_address_space)
{
    for (std::uint64_t const at : {0x20ULL, 0x28ULL, 0x30ULL}) {
        port_.set(0x14, 1, 0);
        port_.set(0x14, 1, 3);
        port_.set(0x08, 4, 1);
        port_.set(0x0c, 4, 1);
        port_.set(0x14, 1, 0xb);
        port_.set(0x16, 2, kTransmit);
        port_.set(at, 8, ~std::uint64_t{0} - 15);
        port_.set(0x1c, 2, 1);
        port_.set(0x14, 1, 0xf);
        EXPECT_TRUE(broken()) << at;
    }
}

TEST_F(BrokenRingTest, a_device_that_may_not_master_the_bus)
{
    port_.start_legacy(0, queues());
    port_.function().config_write(4, 2, 3);
    port_.notify_legacy(kTransmit);
    port_.function().config_write(4, 2, 7);
    expect_broken();
}

TEST_F(VirtioNetTest, a_broken_device_says_so_with_an_interrupt)
{
    std::vector<pci::TestEvent> events(4);
    port_.enable_msix(events);
    port_.out(0x12, 1, 3);
    port_.out(0x14, 2, 2);  // the vector of configuration changes
    port_.out(0x0e, 2, kTransmit);
    port_.out(0x08, 4, transmit_.descriptors >> 12);
    port_.out(0x12, 1, 7);
    transmit_.set_index(300);
    port_.notify_legacy(kTransmit);
    EXPECT_EQ(events[2].fired(), 1U);
}

TEST_F(VirtioNetTest, what_is_no_frame_is_lost_and_its_buffer_comes_back)
{
    port_.start_legacy(0, queues());
    offer_buffers(4);
    std::uint16_t at = 0;
    // Nothing, less than a header, less than an Ethernet header, more than the longest.
    for (std::uint32_t const size : {0U, 9U, 10U, 23U, 10U + 65536 + 19}) {
        transmit_.add(at++, {{out_, size}});
        port_.notify_legacy(kTransmit);
        EXPECT_EQ(transmit_.take_used().size(), 1U) << size;
    }
    // Bytes that the device cannot reach.
    transmit_.add(at++, {{0xdead000, 80}});
    transmit_.add(at++, {{~std::uint64_t{0} - 3, 80}});
    port_.notify_legacy(kTransmit);
    EXPECT_EQ(transmit_.take_used().size(), 2U);
    EXPECT_EQ(receive_.used_index(), 0U);
    EXPECT_FALSE(broken());
    EXPECT_EQ(port_.function().summary(), "0 frames sent, 0 received, 7 lost");
}

TEST_F(VirtioNetTest, a_frame_without_a_buffer_for_it_is_lost)
{
    port_.start_legacy(0, queues());
    send(frame_to(kEverybody, 60));
    EXPECT_EQ(transmit_.take_used().size(), 1U);
    offer_buffers(1, 69);
    send(frame_to(kEverybody, 60));
    EXPECT_EQ(receive_.used_index(), 0U) << "one byte too small";
    send(frame_to(kEverybody, 59));
    EXPECT_EQ(receive_.used_index(), 1U) << "the same buffer takes a smaller one";
    EXPECT_EQ(port_.function().summary(), "3 frames sent, 1 received, 2 lost");
}

TEST_F(VirtioNetTest, a_buffer_that_cannot_be_written_comes_back_empty)
{
    port_.start_legacy(0, queues());
    receive_.add(0, {{0xdead000, 2000, true}});
    send(frame_to(kEverybody, 60));
    auto const used = receive_.take_used();
    ASSERT_EQ(used.size(), 1U);
    EXPECT_EQ(used[0].length, 0U);
    EXPECT_FALSE(broken());
}

TEST_F(VirtioNetTest, a_long_frame_takes_as_many_mergeable_buffers_as_it_needs)
{
    port_.start_legacy(static_cast<std::uint32_t>(kMergeableBuffers), queues());
    offer_buffers(3, 1000);
    auto const frame = frame_to(kEverybody, 2500);
    offer_frame(frame, 0, 12);
    port_.notify_legacy(kTransmit);
    auto const used = receive_.take_used();
    ASSERT_EQ(used.size(), 3U);
    EXPECT_EQ(used[0].length, 1000U);
    EXPECT_EQ(used[1].length, 1000U);
    EXPECT_EQ(used[2].length, 512U);
    EXPECT_EQ(arena_.get<std::uint16_t>(buffers_ + 10), 3U);
    Bytes got = arena_.get_bytes(buffers_ + 12, 988);
    for (unsigned i : {1U, 2U})
        for (auto const byte : arena_.get_bytes(buffers_ + i * kPage, i == 1 ? 1000 : 512))
            got.push_back(byte);
    EXPECT_EQ(got, frame);
}

TEST_F(VirtioNetTest, mergeable_buffers_that_are_too_few_are_not_taken)
{
    port_.start_legacy(static_cast<std::uint32_t>(kMergeableBuffers), queues());
    offer_buffers(2, 1000);
    offer_frame(frame_to(kEverybody, 2500), 0, 12);
    port_.notify_legacy(kTransmit);
    EXPECT_EQ(receive_.used_index(), 0U);
    offer_frame(frame_to(kEverybody, 1900), 0, 12);
    port_.notify_legacy(kTransmit);
    EXPECT_EQ(receive_.take_used().size(), 2U) << "both were still there";
}

TEST_F(VirtioNetTest, queues_go_round_and_round)
{
    DriverQueue receive{arena_, 8}, transmit{arena_, 4};
    std::array<DriverQueue*, 2> small{&receive, &transmit};
    port_.start_modern(kVersion1, small);
    for (unsigned i = 0; i < 70000; ++i) {
        receive.add(static_cast<std::uint16_t>(i % 8), {{buffers_, 100, true}});
        Bytes bytes(12);
        auto const frame = frame_to(kEverybody, 60, static_cast<std::uint8_t>(i));
        bytes.insert(bytes.end(), frame.begin(), frame.end());
        arena_.put_bytes(out_, bytes);
        transmit.add(static_cast<std::uint16_t>(i % 4), {{out_, 72}});
        port_.notify_modern(kTransmit);
        auto const used = receive.take_used();
        ASSERT_EQ(used.size(), 1U) << i;
        ASSERT_EQ(used[0].id, i % 8) << i;
        ASSERT_EQ(arena_.get_bytes(buffers_ + 12, 60), frame) << i;
        ASSERT_EQ(transmit.take_used().size(), 1U) << i;
    }
}

TEST_F(VirtioNetTest, one_notification_drains_the_queue)
{
    port_.start_legacy(0, queues());
    offer_buffers(20);
    for (std::uint16_t i = 0; i < 200; ++i) offer_frame(frame_to(kEverybody, 60), i);
    port_.notify_legacy(kTransmit);
    EXPECT_EQ(transmit_.take_used().size(), 200U);
    EXPECT_EQ(receive_.take_used().size(), 20U);
    EXPECT_EQ(port_.function().summary(), "200 frames sent, 20 received, 180 lost");
}

TEST_F(VirtioNetTest, frames_wait_until_the_driver_is_ready)
{
    port_.out(0x12, 1, 3);
    for (unsigned i = 0; i < 3; ++i) {
        port_.out(0x0e, 2, i);
        port_.out(0x08, 4, queues()[i]->descriptors >> 12);
    }
    offer_buffers(1);
    send(frame_to(kEverybody, 60));
    EXPECT_EQ(transmit_.used_index(), 0U) << "DRIVER_OK is not set";
    port_.out(0x12, 1, 7);
    EXPECT_EQ(transmit_.used_index(), 1U);
    EXPECT_EQ(receive_.used_index(), 1U);
    port_.out(0x12, 1, 0);
    send(frame_to(kEverybody, 60));
    EXPECT_EQ(transmit_.used_index(), 1U) << "the device was given up";
    for (unsigned const queue : {3U, 0xffffU}) port_.notify_legacy(queue);
}

TEST_F(VirtioNetTest, an_interrupt_comes_with_a_used_buffer_unless_the_driver_wants_none)
{
    std::vector<pci::TestEvent> events(4);
    port_.enable_msix(events);
    port_.start_legacy(0, queues());
    port_.out(0x0e, 2, kReceive);
    port_.out(0x16, 2, 1);
    port_.out(0x0e, 2, kTransmit);
    port_.out(0x16, 2, 2);
    offer_buffers(4);
    send(frame_to(kEverybody, 60));
    EXPECT_EQ(events[1].fired(), 1U);
    EXPECT_EQ(events[2].fired(), 1U);
    EXPECT_EQ(port_.in(0x13, 1), 0U) << "the ISR is of INTx";
    receive_.set_flags(1);
    transmit_.set_flags(1);
    send(frame_to(kEverybody, 60));
    EXPECT_EQ(events[1].fired(), 0U);
    EXPECT_EQ(events[2].fired(), 0U);
    EXPECT_EQ(events[0].fired() + events[3].fired(), 0U);
}

TEST_F(VirtioNetTest, without_MSI_X_the_ISR_tells_and_reading_it_ends_the_interrupt)
{
    pci::TestEvent event;
    port_.enable_intx(event);
    port_.start_legacy(0, queues());
    offer_buffers(2);
    send(frame_to(kEverybody, 60));
    EXPECT_EQ(event.fired(), 1U);
    std::uint16_t status = 0;
    auto const look = [&] {
        port_.function().config_read(6, std::as_writable_bytes(std::span{&status, 1}));
        return (status & 8) != 0;
    };
    EXPECT_TRUE(look());
    EXPECT_EQ(port_.in(0x13, 1), 1U);
    EXPECT_EQ(port_.in(0x13, 1), 0U);
    EXPECT_FALSE(look());
    send(frame_to(kEverybody, 60));
    EXPECT_EQ(port_.get(0x1000, 1), 1U) << "the same ISR, by way of version 1";
    EXPECT_FALSE(look());
}

TEST_F(VirtioNetTest, with_event_indexes_each_side_is_woken_where_it_asked_to_be)
{
    std::vector<pci::TestEvent> events(4);
    port_.enable_msix(events);
    port_.start_legacy(static_cast<std::uint32_t>(kEventIndex), queues());
    port_.out(0x0e, 2, kTransmit);
    port_.out(0x16, 2, 3);
    transmit_.set_used_event(2);
    for (unsigned i = 0; i < 5; ++i) {
        send(frame_to(kEverybody, 60));
        EXPECT_EQ(events[3].fired(), i == 2 ? 1U : 0U) << i;
        EXPECT_EQ(transmit_.avail_event(), i + 1) << i;
    }
    transmit_.set_flags(1);
    transmit_.set_used_event(5);
    send(frame_to(kEverybody, 60));
    EXPECT_EQ(events[3].fired(), 1U) << "the flag means nothing then";
}

TEST_F(VirtioNetTest, a_driver_need_not_notify_of_buffers_and_is_told_so)
{
    auto const flags = [&](DriverQueue const& queue) {
        return arena_.get<std::uint16_t>(queue.used());
    };
    for (int life = 0; life < 2; ++life) {
        port_.out(0x12, 1, 0);
        arena_.put<std::uint16_t>(receive_.used(), 0);
        receive_.restart();
        transmit_.restart();
        port_.start_legacy(0, queues());
        offer_buffers(1);
        EXPECT_TRUE(comes_back(frame_to(kEverybody, 60)));
        EXPECT_EQ(flags(receive_), 1U);
        EXPECT_EQ(flags(transmit_), 0U) << "what is to be sent is notified of";
        offer_buffers(1);
        EXPECT_TRUE(comes_back(frame_to(kEverybody, 60)));
    }
}

TEST_F(VirtioNetTest, where_events_are_agreed_on_the_flag_stays_clear)
{
    port_.start_legacy(static_cast<std::uint32_t>(kEventIndex), queues());
    offer_buffers(1);
    EXPECT_TRUE(comes_back(frame_to(kEverybody, 60)));
    EXPECT_EQ(arena_.get<std::uint16_t>(receive_.used()), 0U);
}

// ---- commands

class VirtioControlTest : public VirtioNetTest {
protected:
    VirtioControlTest()
    {
        port_.start_legacy(0xffffffff & ~static_cast<std::uint32_t>(kMergeableBuffers), queues());
        offer_buffers(20);
    }
    static constexpr Mac kOther{0x02, 1, 2, 3, 4, 5};
    static constexpr Mac kGroup{0x33, 0x33, 0, 0, 0, 1};
};

TEST_F(VirtioControlTest, until_it_says_otherwise_the_driver_gets_every_frame)
{
    for (Mac const& to : {kOwn, kOther, kGroup, kEverybody})
        EXPECT_TRUE(comes_back(frame_to(to, 60)));
}

TEST_F(VirtioControlTest, frames_are_sorted_out_by_their_address)
{
    EXPECT_EQ(command({0, 0, 0}), 0);
    EXPECT_TRUE(comes_back(frame_to(kOwn, 60)));
    EXPECT_TRUE(comes_back(frame_to(kEverybody, 60)));
    EXPECT_FALSE(comes_back(frame_to(kOther, 60)));
    EXPECT_FALSE(comes_back(frame_to(kGroup, 60)));
    EXPECT_EQ(command({0, 1, 1}), 0);
    EXPECT_TRUE(comes_back(frame_to(kGroup, 60)));
    EXPECT_EQ(command({0, 3, 1}), 0);
    EXPECT_FALSE(comes_back(frame_to(kGroup, 60)));
    EXPECT_EQ(command({0, 2, 1}), 0);
    EXPECT_TRUE(comes_back(frame_to(kOther, 60)));
    EXPECT_EQ(command({0, 4, 1}), 0);
    EXPECT_FALSE(comes_back(frame_to(kOwn, 60)));
    EXPECT_EQ(command({0, 5, 1}), 0);
    EXPECT_FALSE(comes_back(frame_to(kEverybody, 60)));
    EXPECT_EQ(command({0, 0, 1}), 0);
    EXPECT_TRUE(comes_back(frame_to(kOther, 60)));
}

TEST_F(VirtioControlTest, the_table_of_addresses_is_taken_as_a_whole)
{
    EXPECT_EQ(command({0, 0, 0}), 0);
    EXPECT_EQ(command({1, 0, 1, 0, 0, 0, 2, 1, 2, 3, 4, 5, 1, 0, 0, 0, 0x33, 0x33, 0, 0, 0, 1}), 0);
    EXPECT_TRUE(comes_back(frame_to(kOther, 60)));
    EXPECT_TRUE(comes_back(frame_to(kGroup, 60)));
    // Tables that say more than there is change nothing.
    EXPECT_EQ(command({1, 0, 2, 0, 0, 0, 2, 9, 9, 9, 9, 9, 0, 0, 0, 0}), 1);
    EXPECT_EQ(command({1, 0, 0xff, 0xff, 0xff, 0xff}), 1);
    EXPECT_EQ(command({1, 0, 0, 0, 0, 0}), 1);
    EXPECT_EQ(command({1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7}), 1);
    EXPECT_TRUE(comes_back(frame_to(kOther, 60)));
    EXPECT_EQ(command({1, 0, 0, 0, 0, 0, 0, 0, 0, 0}), 0);
    EXPECT_FALSE(comes_back(frame_to(kOther, 60)));
    // A table too long to keep takes everything.
    Bytes many{1, 0, 65, 0, 0, 0};
    many.resize(many.size() + 65 * 6 + 4);
    EXPECT_EQ(command(many), 0);
    EXPECT_TRUE(comes_back(frame_to(kOther, 60)));
    EXPECT_FALSE(comes_back(frame_to(kGroup, 60)));
}

TEST_F(VirtioControlTest, a_new_address_shows_in_the_configuration)
{
    auto const generation = port_.get(0x15, 1);
    EXPECT_EQ(command({1, 1, 2, 1, 2, 3, 4, 5}), 0);
    EXPECT_EQ(port_.in(0x14, 4), 0x03020102U);
    EXPECT_EQ(port_.get(0x2000, 4), 0x03020102U);
    EXPECT_NE(port_.get(0x15, 1), generation);
    EXPECT_EQ(command({0, 0, 0}), 0);
    EXPECT_TRUE(comes_back(frame_to(kOther, 60)));
    EXPECT_FALSE(comes_back(frame_to(kOwn, 60)));
    EXPECT_EQ(command({1, 1, 2, 1, 2, 3, 4}), 1);
}

TEST_F(VirtioControlTest, tagged_frames_need_their_tag_to_be_wanted)
{
    auto frame = frame_to(kEverybody, 64);
    frame[12] = 0x81;
    frame[13] = 0x00;
    frame[14] = 0x60;  // priority 3, VLAN 5
    frame[15] = 0x05;
    EXPECT_FALSE(comes_back(frame));
    EXPECT_EQ(command({2, 0, 5, 0}), 0);
    EXPECT_TRUE(comes_back(frame));
    EXPECT_EQ(command({2, 1, 5, 0}), 0);
    EXPECT_FALSE(comes_back(frame));
    EXPECT_EQ(command({2, 0, 0, 0x10}), 1) << "4096";
    EXPECT_TRUE(comes_back(frame_to(kEverybody, 14))) << "without any payload there is no tag";
}

TEST_F(VirtioControlTest, commands_that_are_none_are_refused)
{
    for (Bytes const& bytes : std::vector<Bytes>{{},
                                                 {0},
                                                 {0, 0},
                                                 {0, 6, 1},
                                                 {0, 0, 1, 1},
                                                 {1, 2, 0, 0, 0, 0},
                                                 {2, 2, 0, 0},
                                                 {2, 0, 0},
                                                 {3, 0},
                                                 {4, 0, 1, 0},
                                                 {0xff, 0xff, 0xff}})
        EXPECT_EQ(command(bytes), 1) << bytes.size();
    Bytes const huge(kPage * 2 + 1);
    EXPECT_EQ(command(huge), 1);
}

TEST_F(VirtioControlTest, a_command_without_room_for_the_answer_is_used_all_the_same)
{
    arena_.put_bytes(out_, {0, 0, 0});
    control_.add(0, {{out_, 3}});
    control_.add(4, {{out_, 3}, {0xdead000, 1, true}});
    control_.add(8, {{0xdead000, 3}, {out_ + kPage, 0, true}, {out_ + kPage, 1, true}});
    port_.notify_legacy(kControl);
    auto const used = control_.take_used();
    ASSERT_EQ(used.size(), 3U);
    EXPECT_EQ(used[0].length, 0U);
    EXPECT_EQ(used[1].length, 0U);
    EXPECT_EQ(used[2].length, 1U);
    EXPECT_EQ(arena_.get<std::uint8_t>(out_ + kPage), 1U) << "a command out of reach is refused";
}

}  // namespace
}  // namespace pinfold::devices::virtio_net
