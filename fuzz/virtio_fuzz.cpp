// A driver of a network port that scribbles over its rings: loops, lengths of nothing and of
// everything, indirect tables in indirect tables, indices out of range and around the end. Nothing
// may crash or hang, no byte may come where the device may not write, and a reset brings it back.
#include "device_stage.hpp"
#include "devices/virtio_net/model.hpp"
#include "devices/virtio_net/wire.hpp"
#include "input.hpp"

namespace {

using namespace pinfold::devices::virtio_net;

// Queues in the legacy layout, three pages each; behind them what buffers and tables lie in.
constexpr std::uint64_t kQueueBytes = 3 * DeviceStage::kPage;
constexpr std::uint64_t table(unsigned queue) { return queue * kQueueBytes; }
constexpr std::uint64_t available(unsigned queue) { return table(queue) + kQueueSizes[queue] * 16; }
constexpr std::uint64_t used(unsigned queue)
{
    auto const end = available(queue) + 2 * (3 + std::uint64_t{kQueueSizes[queue]});
    return (end + DeviceStage::kPage - 1) & ~(DeviceStage::kPage - 1);
}
constexpr std::uint64_t kBuffers = kQueues * kQueueBytes;

class Driver {
public:
    explicit Driver(DeviceStage& stage) : stage_{stage} {}

    void out(std::uint64_t at, unsigned width, std::uint64_t value)
    {
        (void)stage_.function().bar_write(0, at, width, value);
    }
    void set(std::uint64_t at, unsigned width, std::uint64_t value)
    {
        (void)stage_.function().mmio_write(4, at, width, value);
    }
    void start_legacy(std::uint32_t features)
    {
        out(0x12, 1, 0);
        out(0x12, 1, 3);
        out(0x04, 4, features);
        for (unsigned i = 0; i < kQueues; ++i) {
            out(0x0e, 2, i);
            out(0x08, 4, (DeviceStage::kIova + table(i)) >> 12);
        }
        out(0x12, 1, 7);
    }
    void start_modern(std::uint64_t features)
    {
        set(0x14, 1, 0);
        set(0x14, 1, 3);
        for (unsigned half = 0; half < 2; ++half) {
            set(0x08, 4, half);
            set(0x0c, 4, features >> 32 * half & 0xffff'ffff);
        }
        set(0x14, 1, 0xb);
        for (unsigned i = 0; i < kQueues; ++i) {
            set(0x16, 2, i);
            set(0x20, 8, DeviceStage::kIova + table(i));
            set(0x28, 8, DeviceStage::kIova + available(i));
            set(0x30, 8, DeviceStage::kIova + used(i));
            set(0x1c, 2, 1);
        }
        set(0x14, 1, 0xf);
    }
    void offer(unsigned queue, std::uint16_t head)
    {
        auto const index = stage_.get<std::uint16_t>(available(queue) + 2);
        stage_.put(available(queue) + 4 + 2 * (index % kQueueSizes[queue]), head);
        stage_.put(available(queue) + 2, static_cast<std::uint16_t>(index + 1));
    }

private:
    DeviceStage& stage_;
};

void step(Input& input, DeviceStage& stage, Driver& driver)
{
    auto const what = input.take<std::uint8_t>();
    unsigned const queue = (what >> 4) % kQueues;
    auto const descriptor = [&] {
        auto const where = input.take<std::uint32_t>();
        auto const length = input.take<std::uint16_t>();
        auto const shape = input.take<std::uint16_t>();
        bool const huge = length == 0xffff;
        return Descriptor{DeviceStage::address(where), huge ? 0xffff'fff0U : length,
                          static_cast<std::uint16_t>(shape & 7),
                          static_cast<std::uint16_t>(shape >> 7)};
    };
    switch (what & 15) {
        case 0: driver.start_legacy(input.take<std::uint32_t>()); break;
        case 1: driver.start_modern(input.take<std::uint32_t>() | feature::kVersion1); break;
        case 2:
            stage.put(available(queue) + 2 * std::uint64_t{input.take<std::uint16_t>()} % 0x206,
                      input.take<std::uint16_t>());
            break;
        case 3: driver.offer(queue, input.take<std::uint16_t>()); break;
        case 4:  // a table elsewhere
            stage.put(kBuffers + input.take<std::uint8_t>() * std::uint64_t{16}, descriptor());
            break;
        case 5: {
            auto const width = 1U << (what >> 6);
            driver.out(input.take<std::uint8_t>() % 32 & ~(width - 1), width,
                       input.take<std::uint32_t>());
            break;
        }
        case 6:
            driver.set(input.take<std::uint16_t>() % 0x3010, 1U << (what >> 6),
                       input.take<std::uint64_t>());
            break;
        case 7:
        case 8: driver.out(0x10, 2, queue); break;
        case 9: driver.set(0x3000 + std::uint64_t{4} * queue, 2, queue); break;
        default: {
            auto const at = input.take<std::uint8_t>();
            stage.put(table(queue) + at * std::uint64_t{16}, descriptor());
            if ((what & 1) != 0) driver.offer(queue, at);
        }
    }
}

void check_alive(DeviceStage& stage, Driver& driver)
{
    stage.check_untouched();
    driver.out(0x12, 1, 0);
    std::memset(stage.page(0), 0, kBuffers + 2 * DeviceStage::kPage);
    driver.start_legacy(0);
    auto const buffers = DeviceStage::kIova + kBuffers;
    stage.put(table(kReceive), Descriptor{buffers + DeviceStage::kPage, 2000, kDescriptorWrite, 0});
    driver.offer(kReceive, 0);
    stage.put(table(kTransmit), Descriptor{buffers, 70, 0, 0});
    stage.put(kBuffers + 20, 0x5a);
    driver.offer(kTransmit, 0);
    driver.out(0x10, 2, kTransmit);
    if (stage.get<std::uint16_t>(used(kReceive) + 2) != 1) std::abort();
    if (stage.get<int>(kBuffers + DeviceStage::kPage + 20) != 0x5a) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size)
{
    static DeviceStage stage{model(), {}};
    (void)stage.function().config_write(4, 2, 7);
    Driver driver{stage};
    driver.out(0x12, 1, 0);
    stage.clear();
    Input input{data, size};
    while (!input.empty()) step(input, stage, driver);
    check_alive(stage, driver);
    return 0;
}
