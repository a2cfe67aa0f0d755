#include "host/device_memory.hpp"

#include <gtest/gtest.h>

#include "host/memory.hpp"

namespace pinfold::host {
namespace {

class Nothing final : public DeviceMemory {
public:
    Result<> read(std::uint64_t, std::span<std::byte>) override { return fail(Errno::io); }
    Result<> write(std::uint64_t, std::span<std::byte const>) override { return fail(Errno::io); }
    bool decoded() const override { return false; }
};

TEST(DeviceWindows, lie_aligned_and_apart_and_are_found_from_end_to_end)
{
    DeviceWindows windows{{Paddr{0x10000}, Paddr{0xfffff}}};
    Nothing one;
    Nothing two;
    auto const first = windows.add(one, 0x3000).value();
    auto const second = windows.add(two, 0x8000).value();
    EXPECT_EQ(first, Paddr{0x10000});
    EXPECT_EQ(second, Paddr{0x18000});
    EXPECT_EQ(windows.find(first)->device, &one);
    EXPECT_EQ(windows.find(first + 0x2fff)->offset, 0x2fffU);
    EXPECT_EQ(windows.find(first + 0x2fff)->size, 1U);
    EXPECT_FALSE(windows.find(first + 0x3000));
    EXPECT_FALSE(windows.find(Paddr{0xffff}));
    EXPECT_EQ(windows.find(second + 0x7000)->device, &two);
    windows.remove(first);
    EXPECT_FALSE(windows.find(first));
    EXPECT_TRUE(windows.find(second));
}

TEST(DeviceWindows, end_where_there_is_no_room)
{
    DeviceWindows windows{{Paddr{0x10000}, Paddr{0x1efff}}};
    Nothing device;
    EXPECT_EQ(windows.add(device, 0x10000).error(), Errno::nomem);
    EXPECT_EQ(windows.add(device, 0).error(), Errno::nomem);
    EXPECT_EQ(windows.add(device, ~std::uint64_t{0}).error(), Errno::nomem);
    EXPECT_TRUE(windows.add(device, 0x8000));
    EXPECT_EQ(windows.add(device, 0x8000).error(), Errno::nomem);
    EXPECT_TRUE(windows.add(device, 0x4000));
}

TEST(DeviceWindows, of_a_machines_memory_are_reserved_and_no_frames)
{
    for (unsigned const bits : {48U, 52U})
        for (auto const page : {k4K, k64K}) {
            Memory memory{{.page_size = page, .paddr_bits = bits}};
            Nothing device;
            auto const start = memory.devices().add(device, 1 << 20).value();
            EXPECT_TRUE(memory.reserved(start));
            EXPECT_TRUE(memory.reserved(start + 0xfffff));
            EXPECT_EQ(start.raw() >> bits, 0U);
            EXPECT_EQ(memory.at(start), nullptr);
            memory.unpin(start, 3);  // nothing that was pinned
            EXPECT_EQ(memory.pinned_pages(), 0U);
        }
}

}  // namespace
}  // namespace pinfold::host
