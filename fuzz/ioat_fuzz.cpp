// A driver of a DMA engine that scribbles over its chain of descriptors. Nothing may crash or hang,
// no byte may come where the device may not write, and a reset brings the channel back.
#include <array>

#include "device_stage.hpp"
#include "devices/ioat/model.hpp"
#include "input.hpp"

namespace {

struct Descriptor {
    std::uint32_t size, control;
    std::uint64_t source, destination, next;
    std::array<std::uint64_t, 4> reserved;
};
static_assert(sizeof(Descriptor) == 64);

constexpr std::uint64_t kRing = 0;  // the first page: 64 descriptors
std::uint64_t in_ring(std::uint64_t at) { return DeviceStage::kIova + kRing + at % 64 * 64; }

void set(DeviceStage& stage, std::uint64_t at, unsigned width, std::uint64_t value)
{
    (void)stage.function().mmio_write(0, at, width, value);
}

void step(Input& input, DeviceStage& stage)
{
    auto const what = input.take<std::uint8_t>();
    switch (what & 7) {
        case 0: {  // any register but the count, which bounds the time
            auto const at = 0x80 + input.take<std::uint8_t>() % 0x30U;
            auto const width = 1U << (what >> 6);
            auto const value = input.take<std::uint64_t>();
            if (at + width <= 0x86 || at >= 0x88) set(stage, at, width, value);
            break;
        }
        case 1: set(stage, 0x86, 2, input.take<std::uint8_t>()); break;
        case 2: set(stage, 0x90, 8, in_ring(what >> 3)); break;
        case 3: set(stage, 0x90, 8, DeviceStage::address(input.take<std::uint32_t>())); break;
        case 4: set(stage, 0x84, 1, what >> 3); break;
        default: {
            auto const shape = input.take<std::uint32_t>();
            auto const source = input.take<std::uint32_t>();
            auto const destination = input.take<std::uint32_t>();
            auto const next = input.take<std::uint32_t>();
            std::uint32_t const bytes = (shape & 0x8000'0000) != 0 ? shape : shape >> 8 & 0x3fff;
            stage.put(kRing + (what >> 3) * std::uint64_t{64},
                      Descriptor{bytes,
                                 (shape & 0xff) | (shape & 1) << 24,
                                 DeviceStage::address(source),
                                 DeviceStage::address(destination),
                                 (next & 0x100) != 0 ? DeviceStage::address(next) : in_ring(next),
                                 {}});
        }
    }
}

void check_alive(DeviceStage& stage)
{
    stage.check_untouched();
    if (!stage.function().reset()) std::abort();
    (void)stage.function().config_write(4, 2, 6);
    constexpr std::uint64_t kFrom = 2 * DeviceStage::kPage, kTo = 3 * DeviceStage::kPage;
    stage.put(kFrom, 0x5a5a);
    stage.put(kTo, 0);
    stage.put(
        kRing,
        Descriptor{8, 0, DeviceStage::kIova + kFrom, DeviceStage::kIova + kTo, in_ring(1), {}});
    set(stage, 0x90, 8, in_ring(0));
    set(stage, 0x86, 2, 1);
    if (stage.get<int>(kTo) != 0x5a5a) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size)
{
    static DeviceStage stage{pinfold::devices::ioat::model(), {}};
    if (!stage.function().reset()) std::abort();
    stage.clear();
    (void)stage.function().config_write(4, 2, 6);
    Input input{data, size};
    while (!input.empty()) step(input, stage);
    check_alive(stage);
    return 0;
}
