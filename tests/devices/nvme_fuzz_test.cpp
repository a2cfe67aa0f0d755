// Hostile clients: random bytes as registers, doorbells and commands. Nothing may crash or hang, no
// byte outside the mapped memory and the disk may change, and a reset must bring the controller
// back.
#include "devices/nvme_fixture.hpp"

namespace pinfold::devices::nvme {
namespace {

class NvmeFuzz : public NvmeTest {
protected:
    NvmeFuzz() : seed_{std::random_device{}()}, random_{seed_}
    {
        RecordProperty("seed", std::to_string(seed_));
    }

    std::uint64_t below(std::uint64_t limit) { return random_() % limit; }
    // Mostly addresses that make sense, some that nearly do, some wild.
    std::uint64_t address()
    {
        switch (below(8)) {
            case 0: return random_();
            case 1: return ~std::uint64_t{0} - below(3 * kPage);
            case 2: return NvmeRig::kIova + NvmeRig::kSize - below(3 * kPage);
            case 3: return NvmeRig::kIova + below(NvmeRig::kSize);
            default: return NvmeRig::kIova + below(NvmeRig::kSize / kPage) * kPage;
        }
    }
    std::uint32_t dword()
    {
        switch (below(4)) {
            case 0: return static_cast<std::uint32_t>(random_());
            case 1:
                return static_cast<std::uint32_t>(below(256)) << 16 |
                       static_cast<std::uint32_t>(below(16));
            case 2: return 0;
            default: return static_cast<std::uint32_t>(below(32));
        }
    }
    Command command()
    {
        Command made{};
        made.opcode = static_cast<std::uint8_t>(below(8) == 0 ? random_() : below(14));
        if (below(24) == 0)
            made.opcode = static_cast<std::uint8_t>(AdminOpcode::doorbell_buffer_config);
        made.flags = static_cast<std::uint8_t>(below(16) == 0 ? random_() : 0);
        made.id = static_cast<std::uint16_t>(below(100));
        made.nsid = below(8) == 0 ? dword() : 1;
        made.prp1 = address();
        made.prp2 = address();
        if (below(3) == 0) {  // one SGL descriptor where the PRPs are
            made.flags = 0x40;
            made.prp2 = sgl_rest();
        }
        made.cdw10 = dword();
        made.cdw11 = dword();
        made.cdw12 = dword();
        made.cdw13 = dword();
        made.cdw14 = dword();
        made.cdw15 = dword();
        return made;
    }
    // Length and type of an SGL descriptor: of each type there is, and of some that there are not.
    std::uint64_t sgl_rest()
    {
        static constexpr std::array<std::uint64_t, 4> kTypes{0x00, 0x10, 0x20, 0x30};
        std::uint64_t const type = below(16) == 0 ? below(256) : kTypes[below(4)];
        std::uint64_t const length = below(8) == 0   ? random_() & 0xffff'ffff
                                     : below(2) == 0 ? 16 * below(20)
                                                     : 512 * below(10);
        return length | type << 56;
    }
    // SGL segments that lead to places of all kinds, back to themselves among them.
    void scribble_segments(std::uint64_t iova)
    {
        for (std::uint64_t i = 0; i < kPage / 16; ++i) {
            std::array const words{below(4) == 0 ? iova + below(kPage) : address(), sgl_rest()};
            std::memcpy(rig_.memory(iova + i * 16, 16).data(), words.data(), 16);
        }
    }
    // As if the client had scribbled over its queues.
    void scribble_commands(std::uint64_t iova, std::uint64_t count)
    {
        for (std::uint64_t i = 0; i < count; ++i) {
            auto const made = command();
            auto const slot = rig_.memory(iova + i * sizeof made, sizeof made);
            std::memcpy(slot.data(), &made, sizeof made);
        }
    }
    // PRP lists that lead to places of all kinds.
    void scribble_addresses(std::uint64_t iova)
    {
        for (std::uint64_t i = 0; i < kPage / 8; ++i) {
            auto const made = address();
            std::memcpy(rig_.memory(iova + i * 8, 8).data(), &made, 8);
        }
    }
    void expect_alive()
    {
        EXPECT_TRUE(rig_.guards_untouched());
        EXPECT_EQ(disk_.size(), kDiskSize);
        ASSERT_TRUE(rig_.function().reset());
        driver_.enable();
        auto queue = driver_.make_queues(1, 8);
        // One block fits a page whatever size a random Format NVM has left behind; the format
        // outlives the reset.
        auto command = rw(IoOpcode::read, 0, 1);
        driver_.point(command, rig_.allocate(1), kPage);
        EXPECT_EQ(status_of(driver_.run(queue, command)), Status::success);
    }

    std::uint64_t seed_;
    std::mt19937_64 random_;
};

TEST_F(NvmeFuzz, random_register_and_doorbell_accesses)
{
    SCOPED_TRACE(testing::Message() << "seed " << seed_);
    for (int step = 0; step < 60'000; ++step) {
        auto const width = 1U << below(4);
        auto const base = below(2) == 0 ? 0 : kDoorbells;
        auto const offset = base + below(below(4) == 0 ? 0x1000 : 0x40);
        switch (below(8)) {
            case 0: (void)rig_.function().mmio_read(0, offset, width); break;
            case 1: rig_.write32(0x14, 0x46'0000 | static_cast<std::uint32_t>(below(2))); break;
            case 2: rig_.write64(0x28 + below(2) * 8, address()); break;
            case 3: rig_.write32(0x24, dword()); break;
            case 4: rig_.write32(kDoorbells + below(8) * 4, dword()); break;
            default: (void)rig_.function().mmio_write(0, offset, width, random_()); break;
        }
    }
    expect_alive();
}

TEST_F(NvmeFuzz, random_commands_in_the_admin_queue)
{
    SCOPED_TRACE(testing::Message() << "seed " << seed_);
    for (int round = 0; round < 150; ++round) {
        if (round % 10 == 0) driver_.enable(128);
        auto& queue = driver_.admin_queue();
        scribble_addresses(address() % NvmeRig::kSize / kPage % 4096 * kPage + NvmeRig::kIova);
        scribble_commands(queue.sq, queue.sq_size);
        for (int i = 0; i < 8; ++i) {
            rig_.write32(NvmeDriver::tail_doorbell(0), static_cast<std::uint32_t>(below(128)));
            rig_.write32(NvmeDriver::head_doorbell(0), static_cast<std::uint32_t>(below(128)));
        }
    }
    expect_alive();
}

TEST_F(NvmeFuzz, random_commands_in_io_queues)
{
    SCOPED_TRACE(testing::Message() << "seed " << seed_);
    for (int round = 0; round < 60; ++round) {
        driver_.enable(16);
        std::vector<NvmeDriver::Pair> queues;
        for (unsigned id = 1; id <= 3; ++id) queues.push_back(driver_.make_queues(id, 64, id));
        scribble_addresses(NvmeRig::kIova + below(NvmeRig::kSize / kPage) * kPage);
        scribble_segments(NvmeRig::kIova + below(NvmeRig::kSize / kPage) * kPage);
        for (auto& queue : queues) scribble_commands(queue.sq, queue.sq_size);
        for (int i = 0; i < 20; ++i) {
            auto const id = static_cast<unsigned>(1 + below(3));
            rig_.write32(NvmeDriver::tail_doorbell(id), static_cast<std::uint32_t>(below(64)));
            rig_.write32(NvmeDriver::head_doorbell(id), static_cast<std::uint32_t>(below(64)));
        }
    }
    expect_alive();
}

// Doorbell buffers anywhere, with any values in them, while commands of all kinds run.
TEST_F(NvmeFuzz, random_doorbell_buffers)
{
    SCOPED_TRACE(testing::Message() << "seed " << seed_);
    for (int round = 0; round < 60; ++round) {
        driver_.enable(16);
        auto queue = driver_.make_queues(1, 64, 1);
        Command configure{};
        configure.opcode = static_cast<std::uint8_t>(AdminOpcode::doorbell_buffer_config);
        configure.prp1 = address();
        configure.prp2 = address();
        (void)driver_.admin(configure);
        for (int i = 0; i < 20; ++i) {
            scribble_commands(queue.sq, queue.sq_size);
            for (auto const buffer : {configure.prp1, configure.prp2}) {
                if (buffer < NvmeRig::kIova || buffer > NvmeRig::kIova + NvmeRig::kSize - kPage)
                    continue;
                for (std::uint64_t at = 0; at < 16; at += 4) {
                    auto const value = dword();
                    std::memcpy(rig_.memory(buffer + at, 4).data(), &value, 4);
                }
            }
            rig_.write32(NvmeDriver::tail_doorbell(1), static_cast<std::uint32_t>(below(64)));
            rig_.write32(NvmeDriver::head_doorbell(1), static_cast<std::uint32_t>(below(64)));
        }
    }
    expect_alive();
}

TEST_F(NvmeFuzz, random_bytes_everywhere)
{
    SCOPED_TRACE(testing::Message() << "seed " << seed_);
    for (int round = 0; round < 30; ++round) {
        driver_.enable(128);
        auto const memory = rig_.memory();
        for (std::size_t i = 0; i < 64 * kPage; i += 8) {
            auto const value = random_();
            std::memcpy(memory.data() + i, &value, 8);
        }
        for (int i = 0; i < 60; ++i) {
            auto const queue = static_cast<unsigned>(below(3));
            rig_.write32(NvmeDriver::tail_doorbell(queue), dword());
            rig_.write32(NvmeDriver::head_doorbell(queue), dword());
        }
    }
    expect_alive();
}

}  // namespace
}  // namespace pinfold::devices::nvme
