// VFIO_DEVICE_RESET while other threads have the device copy: once it has returned, no byte
// arrives. Runs on an I/OAT engine. Prints what failed; exit status 0 where nothing did.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "vfio_client.hpp"

namespace {

constexpr std::uint64_t kIova = 0x10'0000;
constexpr unsigned kRounds = 1000, kThreads = 3;
constexpr auto kMost = std::chrono::seconds{5};  // where others have the processors
constexpr std::uint8_t kUntouched = 0x33, kCopied = 0x55;
constexpr std::uint32_t kBytes = 64;

// Register offsets of an I/OAT 3 channel.
constexpr unsigned kDelay = 0x0c, kControl = 0x80, kCount = 0x86, kStatus = 0x88, kChain = 0x90;
constexpr unsigned kHalted = 3;

struct Descriptor {
    std::uint32_t size, control;
    std::uint64_t source, destination, next;
    std::array<std::uint64_t, 4> reserved;
};

void set16(Edu const& engine, unsigned at, std::uint16_t value)
{
    auto* const byte = reinterpret_cast<char volatile*>(engine.registers) + at;
    *reinterpret_cast<std::uint16_t volatile*>(byte) = value;
}

// One thread tells the engine of ever more descriptors; the others write a register that does
// nothing.
class Threads {
public:
    explicit Threads(Edu const& engine)
    {
        for (auto& count : counts_)
            threads_.emplace_back([this, &engine, &count] {
                bool const first = &count == counts_.data();
                for (; !stop_; ++count)
                    set16(engine, first ? kCount : kDelay, first ? descriptors += 2 : 0);
            });
    }
    ~Threads()
    {
        stop_ = true;
        for (auto& thread : threads_) thread.join();
    }
    // Until each has begun and ended a write since the call.
    void wait() const
    {
        for (auto const& count : counts_)
            for (unsigned const before = count; count - before < 2;) std::this_thread::yield();
    }

    std::atomic<std::uint16_t> descriptors{0};

private:
    std::atomic<bool> stop_{false};
    std::array<std::atomic<unsigned>, kThreads> counts_{};
    std::vector<std::thread> threads_;
};

}  // namespace

int main()
{
    Edu engine;
    std::uint8_t* const ring = memory(3 * kPage);
    std::uint8_t* const source = ring + kPage;
    std::uint8_t* const copy = source + kPage;
    std::memset(source, kCopied, kPage);
    Descriptor const again{kBytes, 0, kIova + kPage, kIova + 2 * kPage, kIova, {}};
    std::memcpy(ring, &again, sizeof again);
    CHECK(engine.map(ring, kIova, 3 * kPage) == 0);

    Threads threads{engine};
    auto const end = std::chrono::steady_clock::now() + kMost;
    unsigned copied = 0, round = 0;
    for (; round < kRounds && failures == 0 && std::chrono::steady_clock::now() < end; ++round) {
        threads.descriptors = 0;
        engine.set(kChain, kIova);
        set16(engine, kControl, 0x0d);
        threads.wait();
        CHECK(::ioctl(engine.device, VFIO_DEVICE_RESET) == 0);
        copied += copy[0] == kCopied ? 1 : 0;
        std::memset(copy, kUntouched, kPage);
        threads.wait();
        CHECK(std::all_of(copy, copy + kBytes, [](auto byte) { return byte == kUntouched; }));
        CHECK((engine.registers[kStatus / 4] & 7U) == kHalted);
    }
    CHECK(copied > round / 2);
    return finish();
}
