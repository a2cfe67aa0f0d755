// Hostile drivers: random registers and random rings. Nothing may crash or hang, and a reset must
// bring the port back.
#include <gtest/gtest.h>

#include <random>

#include "devices/virtio_rig.hpp"

namespace pinfold::devices::virtio_net {
namespace {

class VirtioFuzz : public testing::Test {
protected:
    VirtioFuzz() : seed_{std::random_device{}()}, random_{seed_}
    {
        RecordProperty("seed", std::to_string(seed_));
    }
    std::uint64_t below(std::uint64_t limit) { return random_() % limit; }
    std::uint64_t address()
    {
        switch (below(6)) {
            case 0: return random_();
            case 1: return ~std::uint64_t{0} - below(2 * kPage);
            default: return Arena::kIova + below(Arena::kPages * kPage);
        }
    }
    Descriptor descriptor()
    {
        auto const length = below(8) == 0 ? random_() : below(3000);
        auto const flags = below(16) == 0 ? random_() : below(8);
        auto const next = below(16) == 0 ? random_() : below(256);
        return {address(), static_cast<std::uint32_t>(length), static_cast<std::uint16_t>(flags),
                static_cast<std::uint16_t>(next)};
    }
    // Some of the queue's table, its ring, and a step of its index.
    void scribble(DriverQueue& queue)
    {
        for (unsigned i = 0; i < 16; ++i)
            queue.describe(static_cast<std::uint16_t>(below(queue.size)), descriptor());
        for (unsigned i = 0; i < 8; ++i)
            arena_.put<std::uint16_t>(
                queue.available() + 4 + 2 * below(queue.size),
                static_cast<std::uint16_t>(below(32) == 0 ? random_() : below(queue.size)));
        auto const index = arena_.get<std::uint16_t>(queue.available() + 2);
        auto const step = below(32) == 0 ? random_() : below(4);
        queue.set_index(static_cast<std::uint16_t>(index + step));
    }
    void poke()
    {
        static constexpr std::array<unsigned, 4> kWidths{1, 2, 4, 8};
        auto const width = kWidths[below(4)];
        auto const value = below(2) == 0 ? random_() : below(16);
        if (below(2) == 0) {
            auto const at = below(0x20 / width) * width;
            if (below(2) == 0)
                port_.out(at, width, value);
            else
                (void)port_.in(at, width);
        } else {
            auto const page = below(4) * 0x1000;
            auto const at = page + below(below(2) == 0 ? 0x40 : 0x1000 - 8);
            if (below(2) == 0)
                port_.set(at, width, value);
            else
                (void)port_.get(at, width);
        }
    }
    void expect_alive()
    {
        for (auto* const queue : {&receive_, &transmit_})
            for (std::uint64_t page = 0; page < 3; ++page)
                std::memset(arena_.at(queue->descriptors + page * kPage), 0, kPage);
        DriverQueue receive = receive_, transmit = transmit_;
        std::array<DriverQueue*, 2> const queues{&receive, &transmit};
        port_.start_legacy(0, queues);
        receive.add(0, {{pages_ + kPage, 2000, true}});
        arena_.put_bytes(pages_ + 10, frame_to(kEverybody, 60));
        transmit.add(0, {{pages_, 70}});
        port_.notify_legacy(kTransmit);
        ASSERT_EQ(receive.used_index(), 1U);
        ASSERT_EQ(arena_.get_bytes(pages_ + kPage + 10, 60), frame_to(kEverybody, 60));
    }

    unsigned seed_;
    std::mt19937_64 random_;
    pci::Surroundings around_;
    Arena arena_{around_};
    DriverQueue receive_{arena_, 256}, transmit_{arena_, 256}, control_{arena_, 64};
    std::uint64_t pages_ = arena_.allocate(2);
    TestPort port_{around_, {}};
};

TEST_F(VirtioFuzz, random_registers_do_no_harm)
{
    SCOPED_TRACE(seed_);
    for (unsigned round = 0; round < 20; ++round) {
        for (unsigned i = 0; i < 2000; ++i) poke();
        expect_alive();
        if (HasFatalFailure()) return;
    }
}

TEST_F(VirtioFuzz, random_rings_do_no_harm)
{
    SCOPED_TRACE(seed_);
    std::array<DriverQueue*, 3> const queues{&receive_, &transmit_, &control_};
    for (unsigned round = 0; round < 300; ++round) {
        for (auto* const queue : queues)
            std::memset(arena_.at(queue->available()), 0, kPage - 16 * 64);
        if (below(2) == 0)
            port_.start_legacy(static_cast<std::uint32_t>(random_()), queues);
        else
            port_.start_modern(
                (random_() & 0xffff'ffff & ~std::uint64_t{0x7f}) | feature::kVersion1, queues);
        for (unsigned i = 0; i < 20; ++i) {
            for (auto* const queue : queues) scribble(*queue);
            if (below(2) == 0)
                port_.notify_legacy(static_cast<unsigned>(below(4)));
            else
                port_.notify_modern(static_cast<unsigned>(below(4)));
            if (below(8) == 0) poke();
        }
    }
    expect_alive();
}

}  // namespace
}  // namespace pinfold::devices::virtio_net
