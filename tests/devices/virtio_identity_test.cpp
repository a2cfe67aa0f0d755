// The face of a virtio network port, byte for byte what QEMU 7.2 shows at 0000:00:07.0 of a q35
// (virtio-net-pci,addr=7), as its monitor reads it.
#include <gtest/gtest.h>

#include "devices/virtio_rig.hpp"

namespace pinfold::devices::virtio_net {
namespace {

std::vector<std::uint32_t> config_of(std::vector<pci::Setting> settings)
{
    pci::Surroundings around;
    TestPort port{around, std::move(settings)};
    std::vector<std::uint32_t> words(port.function().config_size() / 4);
    port.function().config_write(4, 2, 0x103);  // as firmware leaves it
    port.function().config_read(0, std::as_writable_bytes(std::span{words}));
    return words;
}

// BAR addresses are the machine's, not the device's.
void expect_config(std::vector<std::uint32_t> const& words, std::vector<std::uint32_t> expected)
{
    ASSERT_EQ(words.size(), 64U);
    expected.resize(64);
    for (std::size_t i = 0; i < words.size(); ++i)
        EXPECT_EQ(words[i], expected[i]) << std::hex << i * 4;
}

TEST(VirtioNetIdentity, transitional_is_what_QEMU_has_by_default)
{
    expect_config(
        config_of({}),
        {0x10001af4, 0x00100103, 0x02000000, 0,          1,          0,    0,          0,
         0xc,        0,          0,          0x00011af4, 0,          0x98, 0,
         0x0000010b,  //
         0x01100009, 4,          0,          0x1000,     0x03104009, 4,    0x1000,     0x1000,
         0x04105009, 4,          0x2000,     0x1000,     0x02146009, 4,    0x3000,     0x1000,  //
         4,          0x05147009, 0,          0,          0,          0,    0x00038411, 1,
         0x801});
}

TEST(VirtioNetIdentity, modern_is_what_QEMU_has_with_disable_legacy)
{
    expect_config(
        config_of({{"mode", "modern"}}),
        {0x10411af4, 0x00100103, 0x02000001, 0,          0,          0,    0,          0,
         0xc,        0,          0,          0x11001af4, 0,          0x98, 0,
         0x0000010b,  //
         0x01100009, 4,          0,          0x1000,     0x03104009, 4,    0x1000,     0x1000,
         0x04105009, 4,          0x2000,     0x1000,     0x02146009, 4,    0x3000,     0x1000,  //
         4,          0x05147009, 0,          0,          0,          0,    0x00038411, 1,
         0x801});
}

TEST(VirtioNetIdentity, legacy_is_what_QEMU_has_with_disable_modern)
{
    expect_config(config_of({{"mode", "legacy"}}),
                  {0x10001af4, 0x00100103, 0x02000000, 0, 1, 0, 0, 0, 0, 0, 0, 0x00011af4, 0, 0x40,
                   0, 0x0000010b, 0x00030011, 1, 0x801});
}

TEST(VirtioNetIdentity, regions_and_interrupts_are_those_of_its_mode)
{
    pci::Surroundings around;
    TestPort both{around, {}};
    TestPort legacy{around, {{"mode", "legacy"}}, "0000:00:05.0"};
    TestPort modern{around, {{"mode", "modern"}}, "0000:00:06.0"};
    EXPECT_EQ(both.function().region(0)->size, 0x20U);
    EXPECT_FALSE(both.function().region(0)->mappable);
    EXPECT_EQ(both.function().region(1)->size, 0x1000U);
    EXPECT_TRUE(both.function().region(1)->msix_table);
    EXPECT_EQ(both.function().region(4)->size, 0x4000U);
    EXPECT_EQ(legacy.function().region(4)->size, 0U);
    EXPECT_EQ(modern.function().region(0)->size, 0U);
    EXPECT_EQ(both.function().irq_count(pci::IrqIndex::intx), 1U);
    EXPECT_EQ(both.function().irq_count(pci::IrqIndex::msi), 0U);
    EXPECT_EQ(both.function().irq_count(pci::IrqIndex::msix), 4U);
    EXPECT_FALSE(both.function().resettable());
}

TEST(VirtioNetIdentity, registers_can_be_reached_through_the_window_in_configuration_space)
{
    pci::Surroundings around;
    TestPort port{around, {}};
    auto& function = port.function();
    auto const through = [&](std::uint32_t offset, std::uint32_t length) {
        function.config_write(0x84 + 4, 1, 4);
        function.config_write(0x84 + 8, 4, offset);
        function.config_write(0x84 + 12, 4, length);
        std::uint32_t value = 0;
        function.config_read(0x84 + 16, std::as_writable_bytes(std::span{&value, 1}));
        return value;
    };
    EXPECT_EQ(through(0x12, 2), 3U) << "queues";
    function.config_write(0x84 + 12, 4, 1);
    function.config_write(0x84 + 8, 4, 0x14);
    function.config_write(0x84 + 16, 4, 3);
    EXPECT_EQ(port.get(0x14, 1), 3U) << "the status was written";
    EXPECT_EQ(through(0x14, 1), 3U);

    // What is no access is none: the data stay.
    EXPECT_EQ(through(0x12, 3), 3U);
    EXPECT_EQ(through(0x11, 2), 3U);
    EXPECT_EQ(through(0x12, 0), 3U);
    function.config_write(0x84 + 4, 1, 9);
    std::uint32_t value = 0;
    function.config_read(0x84 + 16, std::as_writable_bytes(std::span{&value, 1}));
    EXPECT_EQ(value, 3U);
    function.config_write(0x84 + 16, 4, 0xffffffff);
    EXPECT_EQ(port.get(0x14, 1), 3U);
    function.config_write(0x84 + 4, 1, 2);  // a BAR that is not there
    function.config_read(0x84 + 16, std::as_writable_bytes(std::span{&value, 1}));
    EXPECT_EQ(value, 0xffffffffU) << "as it was written";
}

}  // namespace
}  // namespace pinfold::devices::virtio_net
