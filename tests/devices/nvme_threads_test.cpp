#include <atomic>
#include <thread>

#include "devices/nvme_fixture.hpp"

namespace pinfold::devices::nvme {
namespace {

class NvmeThreads : public NvmeTest {};

TEST_F(NvmeThreads, several_with_a_queue_each_read_what_they_wrote)
{
    constexpr unsigned kThreads = 4;
    constexpr unsigned kRounds = 500;
    constexpr std::uint64_t kBlocksEach = 64;
    auto const seed = std::random_device{}();
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::atomic<unsigned> wrong{0};
    std::vector<std::thread> threads;
    std::vector<NvmeDriver::Pair> queues;
    std::vector<std::uint64_t> pages;
    for (unsigned i = 0; i < kThreads; ++i) {
        queues.push_back(driver_.make_queues(i + 1, 8));
        pages.push_back(rig_.allocate(1));
    }
    for (unsigned i = 0; i < kThreads; ++i)
        threads.emplace_back([&, i] {
            NvmeDriver driver{driver_};
            std::mt19937 random{seed + i};
            auto const data = rig_.memory(pages[i], 512);
            std::vector<std::byte> model(kBlocksEach);
            for (unsigned round = 0; round < kRounds; ++round) {
                std::uint64_t const block = random() % kBlocksEach;
                bool const writes = random() % 2 == 0;
                auto const value = static_cast<std::byte>(random());
                if (writes) std::memset(data.data(), static_cast<int>(value), data.size());
                if (writes) model[block] = value;
                auto command =
                    rw(writes ? IoOpcode::write : IoOpcode::read, i * kBlocksEach + block, 1);
                command.prp1 = pages[i];
                wrong += status_of(driver.run(queues[i], command)) != Status::success;
                wrong += data.front() != model[block] || data.back() != model[block];
            }
        });
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(wrong, 0U);
    EXPECT_TRUE(healthy());
}

}  // namespace
}  // namespace pinfold::devices::nvme
