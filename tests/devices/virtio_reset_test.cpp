// Resets of a port while other threads send: what returns from a reset has seen the last of its
// accesses and interrupts, also of what a peer had for it.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <mutex>

#include "devices/busy.hpp"
#include "devices/virtio_rig.hpp"

namespace pinfold::devices::virtio_net {
namespace {

using namespace feature;

struct WayToReset {
    char const* name;
    void (*reset)(TestPort&);
};
// A port is a conventional function: its driver resets it, by either interface.
constexpr std::array kWaysToReset{
    WayToReset{"modern", [](TestPort& port) { port.set(0x14, 1, 0); }},
    WayToReset{"legacy", [](TestPort& port) { port.out(0x12, 1, 0); }}};

// A port and its driver: receive buffers that are offered again when they have been used, and
// one frame that is sent again and again. Both rings are filled once; only indexes move.
class Side {
public:
    Side(pci::Surroundings& around, Arena& arena, std::vector<pci::Setting> settings,
         std::string const& bdf)
        : port{around, std::move(settings), bdf},
          arena_{arena},
          receive_{arena, kEntries},
          transmit_{arena, kEntries},
          buffers_{arena.allocate(kEntries * kBufferSize / kPage)},
          frame_{arena.allocate()}
    {
        for (std::uint16_t i = 0; i < kEntries; ++i) {
            receive_.add(i, {{buffers_ + i * kBufferSize, kBufferSize, true}});
            transmit_.add(i, {{frame_, 12 + 60}});
        }
        Bytes bytes(12);
        auto const frame = frame_to(kEverybody, 60);
        bytes.insert(bytes.end(), frame.begin(), frame.end());
        arena_.put_bytes(frame_, bytes);
    }

    void start()
    {
        std::lock_guard const lock{mutex_};
        for (auto* const queue : {&receive_, &transmit_}) {
            arena_.put<std::uint32_t>(queue->used(), 0);
            queue->set_index(0);
        }
        sent_ = 0;
        std::array<DriverQueue*, 2> const queues{&receive_, &transmit_};
        EXPECT_EQ(port.start_modern(kVersion1, queues) & 0xc4, 4U);
    }
    void send()
    {
        {
            std::lock_guard const lock{mutex_};
            transmit_.set_index(sent_ = static_cast<std::uint16_t>(sent_ + 3));
        }
        port.notify_modern(kTransmit);
    }
    void offer_buffers()
    {
        {
            std::lock_guard const lock{mutex_};
            receive_.set_index(static_cast<std::uint16_t>(receive_.used_index() + kEntries / 2));
        }
        port.notify_modern(kReceive);
    }

    // All that the device writes: rings of what is used, and the buffers.
    void fill_written()
    {
        std::lock_guard const lock{mutex_};
        for (auto const& [iova, size] : written()) std::memset(arena_.at(iova), kUntouched, size);
    }
    bool untouched() const
    {
        return std::ranges::all_of(written(), [&](auto const& range) {
            auto const bytes = arena_.get_bytes(range.first, range.second);
            return std::ranges::all_of(bytes, [](auto byte) { return byte == kUntouched; });
        });
    }

    TestPort port;

private:
    static constexpr std::uint16_t kEntries = 64;
    static constexpr std::uint32_t kBufferSize = 128;
    static constexpr std::uint8_t kUntouched = 0x33;

    std::array<std::pair<std::uint64_t, std::size_t>, 3> written() const
    {
        constexpr std::size_t kUsed = 4 + 8 * kEntries;
        return {{{receive_.used(), kUsed},
                 {transmit_.used(), kUsed},
                 {buffers_, kEntries * kBufferSize}}};
    }

    Arena& arena_;
    DriverQueue receive_, transmit_;
    std::uint64_t buffers_, frame_;
    std::mutex mutex_;  // the driver's, for the indexes
    std::uint16_t sent_ = 0;
};

class VirtioReset : public testing::TestWithParam<WayToReset> {
protected:
    struct Traffic {
        std::uint64_t reads, writes, interrupts;
        bool operator==(Traffic const&) const = default;
    };
    static Traffic traffic(Side& side)
    {
        auto const now = side.port.function().counters();
        return {now.dma.reads, now.dma.writes, now.interrupts};
    }

    // Resets `side` while the works go on; `start` begins a round.
    static void reset_again_and_again(Side& side, std::vector<std::function<void()>> works,
                                      std::function<void()> const& start)
    {
        std::vector<pci::TestEvent> const events(3);
        side.port.enable_msix(events);
        Busy busy{std::move(works)};
        std::uint64_t written = 0;
        for (unsigned round = 0; busy.goes_on(kRounds); ++round) {
            auto const before = traffic(side);
            start();
            busy.wait_for_a_round();
            GetParam().reset(side.port);
            auto const after = traffic(side);
            written += after.writes - before.writes;
            side.fill_written();
            busy.wait_for_a_round();
            ASSERT_EQ(traffic(side), after) << "round " << round;
            ASSERT_TRUE(side.untouched()) << "round " << round;
            ASSERT_EQ(side.port.get(0x14, 1), 0U);
        }
        EXPECT_GE(written, busy.rounds()) << "the port was busy";
        EXPECT_TRUE(side.port.faults().empty());
    }

    static constexpr unsigned kRounds = 1000;
    pci::Surroundings around_;
    Arena arena_{around_};
};
INSTANTIATE_TEST_SUITE_P(Ways, VirtioReset, testing::ValuesIn(kWaysToReset),
                         [](auto const& each) { return std::string{each.param.name}; });

TEST_P(VirtioReset, nothing_happens_after_one_of_a_port_that_loops)
{
    Side side{around_, arena_, {}, "0000:00:04.0"};
    reset_again_and_again(
        side, {[&] { side.send(); }, [&] { side.send(); }, [&] { side.offer_buffers(); }},
        [&] { side.start(); });
}

class VirtioPeerReset : public VirtioReset {
protected:
    VirtioPeerReset()
    {
        for (auto* const side : {&left_, &right_})
            EXPECT_TRUE(side->port.function().meet([&](std::string_view bdf) {
                for (auto* const other : {&left_, &right_})
                    if (other->port.function().name() == bdf) return &other->port.function();
                return static_cast<pci::Function*>(nullptr);
            }));
    }
    std::vector<std::function<void()>> both_ways()
    {
        return {[this] { left_.send(); }, [this] { right_.send(); },
                [this] { left_.offer_buffers(); }, [this] { right_.offer_buffers(); }};
    }

    Side left_{around_, arena_, {{"peer", "0000:00:05.0"}}, "0000:00:04.0"};
    Side right_{around_, arena_, {{"peer", "0000:00:04.0"}}, "0000:00:05.0"};
};
INSTANTIATE_TEST_SUITE_P(Ways, VirtioPeerReset, testing::ValuesIn(kWaysToReset),
                         [](auto const& each) { return std::string{each.param.name}; });

TEST_P(VirtioPeerReset, nothing_happens_after_one_while_two_ports_send_to_each_other)
{
    left_.start();
    reset_again_and_again(right_, both_ways(), [this] { right_.start(); });
    left_.port.set(0x14, 1, 0);
}

}  // namespace
}  // namespace pinfold::devices::virtio_net
