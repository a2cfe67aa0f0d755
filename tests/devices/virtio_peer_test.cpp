// Two ports that are each other's far end.
#include <gtest/gtest.h>

#include <thread>

#include "devices/edu.hpp"
#include "devices/virtio_net/inbox.hpp"
#include "devices/virtio_rig.hpp"

namespace pinfold::devices::virtio_net {
namespace {

class VirtioPeerTest : public testing::Test {
protected:
    struct Queues {
        explicit Queues(Arena& arena)
            : receive{arena, 256},
              transmit{arena, 256},
              out{arena.allocate()},
              in{arena.allocate(8)}
        {
        }
        DriverQueue receive, transmit;
        std::uint64_t out, in;
    };

    void start(TestPort& port, Queues& queues)
    {
        std::array<DriverQueue*, 2> const both{&queues.receive, &queues.transmit};
        port.start_legacy(0, both);
        for (std::uint16_t i = 0; i < 8; ++i)
            queues.receive.add(i, {{queues.in + i * kPage, 2000, true}});
    }
    void send(TestPort& port, Queues& queues, Bytes const& frame)
    {
        Bytes bytes(10);
        bytes.insert(bytes.end(), frame.begin(), frame.end());
        arena_.put_bytes(queues.out, bytes);
        queues.transmit.add(0, {{queues.out, static_cast<std::uint32_t>(bytes.size())}});
        port.notify_legacy(kTransmit);
    }

    pci::Surroundings around_;
    Arena arena_{around_};
    TestPort left_{around_, {{"peer", "00:05.0"}}, "0000:00:04.0"};
    TestPort right_{around_, {{"peer", "0000:00:04.0"}}, "0000:00:05.0"};
    Queues left_queues_{arena_}, right_queues_{arena_};
};

TEST_F(VirtioPeerTest, what_one_sends_the_other_receives)
{
    ASSERT_TRUE(meet(left_, &right_.function()));
    ASSERT_TRUE(meet(right_, &left_.function()));
    start(left_, left_queues_);
    start(right_, right_queues_);
    auto const frame = frame_to(kEverybody, 60);
    send(left_, left_queues_, frame);
    EXPECT_EQ(left_queues_.receive.used_index(), 0U) << "nothing comes back";
    auto const used = right_queues_.receive.take_used();
    ASSERT_EQ(used.size(), 1U);
    EXPECT_EQ(used[0].length, 70U);
    EXPECT_EQ(arena_.get_bytes(right_queues_.in + 10, 60), frame);
    auto const answer = frame_to(kEverybody, 90, 7);
    send(right_, right_queues_, answer);
    ASSERT_EQ(left_queues_.receive.take_used().size(), 1U);
    EXPECT_EQ(arena_.get_bytes(left_queues_.in + 10, 90), answer);
    EXPECT_EQ(left_.function().summary(), "1 frames sent, 1 received");
}

TEST_F(VirtioPeerTest, a_peer_without_a_driver_loses_what_it_is_sent)
{
    ASSERT_TRUE(meet(left_, &right_.function()));
    ASSERT_TRUE(meet(right_, &left_.function()));
    start(left_, left_queues_);
    send(left_, left_queues_, frame_to(kEverybody, 60));
    EXPECT_EQ(left_queues_.transmit.take_used().size(), 1U);
    start(right_, right_queues_);
    EXPECT_EQ(right_queues_.receive.used_index(), 0U);
    EXPECT_EQ(right_.function().summary(), "0 frames sent, 0 received, 1 lost");
}

TEST_F(VirtioPeerTest, both_may_send_at_once)
{
    ASSERT_TRUE(meet(left_, &right_.function()));
    ASSERT_TRUE(meet(right_, &left_.function()));
    start(left_, left_queues_);
    start(right_, right_queues_);
    constexpr unsigned kFrames = 3000;
    auto const talk = [&](TestPort& port, Queues& queues) {
        for (unsigned i = 0; i < kFrames; ++i) {
            send(port, queues, frame_to(kEverybody, 60));
            (void)queues.transmit.take_used();
        }
    };
    std::thread other{[&] { talk(right_, right_queues_); }};
    talk(left_, left_queues_);
    other.join();
    // Eight buffers each, and all other frames are lost.
    EXPECT_EQ(left_queues_.receive.take_used().size(), 8U);
    EXPECT_EQ(right_queues_.receive.take_used().size(), 8U);
    EXPECT_EQ(left_.function().summary(), "3000 frames sent, 8 received, 2992 lost");
    EXPECT_EQ(right_.function().summary(), "3000 frames sent, 8 received, 2992 lost");
}

TEST_F(VirtioPeerTest, a_peer_that_breaks_down_leaves_the_sender_alone)
{
    ASSERT_TRUE(meet(left_, &right_.function()));
    ASSERT_TRUE(meet(right_, &left_.function()));
    start(left_, left_queues_);
    start(right_, right_queues_);
    right_queues_.receive.set_index(1000);
    for (unsigned i = 0; i < 9; ++i) send(left_, left_queues_, frame_to(kEverybody, 60));
    EXPECT_EQ(right_.in(0x12, 1) & 0x40, 0x40U);
    EXPECT_EQ(left_.in(0x12, 1) & 0x40, 0U);
    EXPECT_EQ(left_queues_.transmit.take_used().size(), 9U);
}

TEST_F(VirtioPeerTest, a_peer_must_be_there_be_a_port_and_know_of_it)
{
    EXPECT_EQ(meet(left_, nullptr).error(), "virtio-net: peer=0000:00:05.0: there is no device");

    TestPort self{around_, {{"peer", "0000:00:06.0"}}, "0000:00:06.0"};
    EXPECT_EQ(meet(self, nullptr).error(),
              "virtio-net: peer=0000:00:06.0: is this port itself; without a peer its frames come "
              "back");

    TestPort alone{around_, {}, "0000:00:05.0"};
    EXPECT_EQ(meet(left_, &alone.function()).error(),
              "virtio-net: peer=0000:00:05.0: is not joined to this one; say peer=0000:00:04.0 "
              "there");

    iommu::Endpoint endpoint{around_.endpoint().iommu(), "0000:00:05.0"};
    auto const edu = pci::Function::create(endpoint, around_.memory(), edu_model(),
                                           {.model = "edu", .settings = {}});
    EXPECT_EQ(meet(left_, edu->get()).error(), "virtio-net: peer=0000:00:05.0: is no virtio-net");
}

TEST(VirtioInbox, keeps_frames_in_order_and_loses_what_does_not_fit)
{
    Inbox inbox;
    std::vector<std::byte> frame(1000), got(kMostFrame);
    std::size_t put = 0;
    for (; inbox.put(frame); ++put) frame[0] = static_cast<std::byte>(put + 1);
    EXPECT_EQ(put, Inbox::kCapacity / 1004);
    for (std::size_t i = 0; i < put; ++i) {
        ASSERT_EQ(inbox.take(got), 1000U);
        ASSERT_EQ(got[0], static_cast<std::byte>(i));
        if (i == put / 2) {  // room again, though not at the end
            std::vector<std::byte> const other(7);
            ASSERT_TRUE(inbox.put(other));
            ASSERT_TRUE(inbox.put(frame));
        }
    }
    EXPECT_EQ(inbox.take(got), 7U);
    EXPECT_EQ(inbox.take(got), 1000U);
    EXPECT_EQ(inbox.take(got), 0U);
    EXPECT_TRUE(inbox.put(frame));
    inbox.clear();
    EXPECT_EQ(inbox.take(got), 0U);
}

}  // namespace
}  // namespace pinfold::devices::virtio_net
