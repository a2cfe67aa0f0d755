// Two devices, one of which writes and reads the other's registers by DMA: under a machine with edu
// at 0000:00:04.0 and at 0000:00:05.0. Prints what failed; exit status 0 where nothing did.
#include "vfio_client.hpp"

int main()
{
    Edu edu;
    int const group = must(::open("/dev/vfio/1", O_RDWR), "/dev/vfio/1");
    must(::ioctl(group, VFIO_GROUP_SET_CONTAINER, &edu.container), "SET_CONTAINER");
    int const other = must(::ioctl(group, VFIO_GROUP_GET_DEVICE_FD, "0000:00:05.0"), "device");
    auto* const registers = static_cast<std::uint32_t volatile*>(
        ::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, other, edu.bar_offset()));
    CHECK(registers != MAP_FAILED);

    constexpr std::uint64_t kPeer = 0x100000;
    constexpr std::uint64_t kMemory = 0x200000;
    auto* const pages = memory(kPage);
    auto const word = [&](std::uint64_t at) {
        std::uint32_t value = 0;
        std::memcpy(&value, pages + at, sizeof value);
        return value;
    };
    CHECK(edu.map(const_cast<std::uint32_t*>(registers), kPeer, kPage) == 0);
    CHECK(edu.map(pages, kMemory, kPage) == 0);

    // From memory to the first device, and from there into a register of the second.
    std::uint32_t const pattern = 0x12345678;
    std::memcpy(pages, &pattern, sizeof pattern);
    edu.transfer(kMemory, 4, Edu::Direction::to_device);
    edu.transfer(kPeer + 4, 4, Edu::Direction::from_device);
    CHECK(registers[1] == ~pattern);
    // And back: identification and liveness, which know 4 bytes at a time.
    edu.transfer(kPeer, 4, Edu::Direction::to_device, 64);
    edu.transfer(kPeer + 4, 4, Edu::Direction::to_device, 68);
    edu.transfer(kMemory + 64, 8, Edu::Direction::from_device, 64);
    CHECK(word(64) == 0x010000ed && word(68) == ~pattern);

    // What the program unmaps stays mapped for the device.
    CHECK(::munmap(const_cast<std::uint32_t*>(registers), kPage) == 0);
    edu.transfer(kPeer, 4, Edu::Direction::to_device, 128);
    edu.transfer(kMemory + 128, 4, Edu::Direction::from_device, 128);
    CHECK(word(128) == 0x010000ed);
    // With decoding off nobody answers.
    std::uint16_t const off = 0;
    off_t const config = edu.config_offset();
    CHECK(::pwrite(other, &off, sizeof off, config + 4) == sizeof off);
    edu.transfer(kPeer, 4, Edu::Direction::to_device, 192);
    edu.transfer(kMemory + 192, 4, Edu::Direction::from_device, 192);
    CHECK(word(192) != 0x010000ed);
    CHECK(edu.unmap(kPeer, kPage) == static_cast<long>(kPage));
    CHECK(edu.unmap(kMemory, kPage) == static_cast<long>(kPage));
    return finish();
}
