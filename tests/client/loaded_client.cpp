// Drives the device of examples/checksum_device.cpp, loaded from its shared object at
// 0000:00:04.0 with limit=6000. Prints what failed; exit status 0 where nothing did.
#include "vfio_client.hpp"

int main()
{
    Edu device;  // it opens whatever is there
    constexpr std::uint64_t kIova = 0x40000;
    auto* const pages = memory(2 * kPage);
    std::memset(pages, 7, 2 * kPage);
    CHECK(device.map(pages, kIova, 2 * kPage) == 0);

    auto const sum_up = [&](std::uint64_t iova, std::uint32_t size) {
        device.registers[0x04 / 4] = size;
        device.set(0x08, iova);
        device.registers[0x10 / 4] = 1;
        return device.registers[0x14 / 4];
    };
    CHECK(device.registers[0] == 0x53554d21);
    CHECK(sum_up(kIova + 4000, 2000) == 1);
    CHECK(device.registers[0x18 / 4] == 14000);
    CHECK(sum_up(kIova, 6001) == 3);
    CHECK(sum_up(kIova + kPage, 5000) == 2);
    CHECK(device.unmap(kIova, 2 * kPage) == 2 * kPage);
    CHECK(sum_up(kIova, 1) == 2);
    CHECK(::ioctl(device.device, VFIO_DEVICE_RESET) == 0);
    CHECK(device.registers[0x14 / 4] == 0);
    return finish();
}
