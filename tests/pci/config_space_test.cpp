#include "pci/config_space.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <random>

#include "pci/support.hpp"

namespace pinfold::pci {
namespace {

constexpr BarAddresses kAddresses{0x12'0000'4000, 0, 0xc040, 0xfebd'1000, 0, 0};

struct Space : ConfigSpace {
    explicit Space(Identity const& identity = full_identity()) : ConfigSpace{identity, kAddresses}
    {
    }

    std::uint32_t get(std::size_t offset, unsigned width = 4) const
    {
        std::uint32_t value = 0;
        read(offset, std::as_writable_bytes(std::span{&value, 1}).first(width));
        return value;
    }
    std::vector<std::byte> all() const
    {
        std::vector<std::byte> bytes(size());
        read(0, bytes);
        return bytes;
    }
    // Capabilities by id, walked as clients do.
    std::map<unsigned, unsigned> capabilities() const
    {
        std::map<unsigned, unsigned> found;
        unsigned at = get(0x34, 1);
        for (int most = 0; at != 0 && most < 48; ++most, at = get(at + 1, 1))
            found.emplace(get(at, 1), at);
        return found;
    }
    std::uint32_t sized(std::size_t bar)
    {
        std::uint32_t const before = get(bar);
        write(bar, 4, ~0U);
        std::uint32_t const mask = get(bar);
        write(bar, 4, before);
        EXPECT_EQ(get(bar), before);
        return mask;
    }
};

TEST(ConfigSpace, one_read_of_it_all_shows_identity_and_state_after_an_open)
{
    Space const space;
    auto const bytes = space.all();
    ASSERT_EQ(bytes.size(), 4096U);
    auto const word = [&](std::size_t at) {
        std::uint16_t value;
        std::memcpy(&value, &bytes[at], 2);
        return value;
    };
    EXPECT_EQ(word(0x00), 0x1b36);
    EXPECT_EQ(word(0x02), 0x0010);
    EXPECT_EQ(word(0x04), 0x0103);  // as SeaBIOS leaves it: decoding on, bus master off
    EXPECT_EQ(word(0x06), 0x0010);
    EXPECT_EQ(bytes[0x08], std::byte{2});
    EXPECT_EQ(word(0x09), 0x0802);
    EXPECT_EQ(bytes[0x0b], std::byte{1});
    EXPECT_EQ(bytes[0x0e], std::byte{0});
    EXPECT_EQ(word(0x2c), 0x1af4);
    EXPECT_EQ(word(0x2e), 0x1100);
    EXPECT_EQ(bytes[0x3d], std::byte{1});
    EXPECT_EQ(space.get(0x100), 0U);  // no extended capability
    EXPECT_FALSE(space.bus_master());
    EXPECT_TRUE(space.memory_decoded());
}

TEST(ConfigSpace, the_list_holds_each_capability_once_and_ends)
{
    Space const space;
    auto const found = space.capabilities();
    EXPECT_EQ(found,
              (std::map<unsigned, unsigned>{{1, 0x40}, {0x10, 0x50}, {0x11, 0x90}, {5, 0xa0}}));
    EXPECT_EQ(space.get(0x92, 2), 7U);    // eight vectors, disabled
    EXPECT_EQ(space.get(0x94), 0x2000U);  // table: BAR 0
    EXPECT_EQ(space.get(0x98), 0x3000U);
    EXPECT_EQ(space.get(0xa2, 2), 0x0084U);  // four vectors, 64 bits
    EXPECT_NE(space.get(0x54) & 1U << 28, 0U);
}

TEST(ConfigSpace, a_conventional_function_is_256_bytes_with_no_more_than_it_says)
{
    Identity identity = full_identity();
    identity.pci_express = false;
    identity.msix = {};
    ConfigSpace const space{identity, kAddresses};
    EXPECT_EQ(space.size(), 256U);
    std::array<std::byte, 2> head{};
    space.read(0x34, std::span{head}.first(1));
    EXPECT_EQ(head[0], std::byte{0x40});
    space.read(0x40, head);
    EXPECT_EQ(head, (std::array{std::byte{5}, std::byte{0}}));

    identity.msi_vectors = 0;
    ConfigSpace const bare{identity, kAddresses};
    bare.read(0x34, std::span{head}.first(1));
    EXPECT_EQ(head[0], std::byte{0});
    bare.read(0x06, std::span{head}.first(1));
    EXPECT_EQ(head[0], std::byte{0});
}

TEST(ConfigSpace, BARs_can_be_sized_and_moved_and_keep_their_type)
{
    Space space;
    EXPECT_EQ(space.get(0x10), 0x4004U);
    EXPECT_EQ(space.get(0x14), 0x12U);
    EXPECT_EQ(space.sized(0x10), 0xffffc004U);
    EXPECT_EQ(space.sized(0x14), 0xffffffffU);
    EXPECT_EQ(space.get(0x18), 0xc041U);
    EXPECT_EQ(space.sized(0x18), 0xffffffc1U);
    EXPECT_EQ(space.sized(0x1c), 0xfffff000U);
    EXPECT_EQ(space.sized(0x20), 0U);
    EXPECT_EQ(space.sized(0x30), 0U);  // no ROM
    space.write(0x1c, 4, 0x12345678);
    EXPECT_EQ(space.get(0x1c), 0x12345000U);
    space.write(0x1f, 1, 0xab);
    EXPECT_EQ(space.get(0x1c), 0xab345000U);
    space.power_on();
    EXPECT_EQ(space.get(0x1c), 0xfebd1000U);
}

TEST(ConfigSpace, COMMAND_says_what_is_decoded_and_who_may_master)
{
    Space space;
    space.write(0x04, 2, 0xffff);
    EXPECT_EQ(space.get(0x04, 2), 0x0507U);
    EXPECT_TRUE(space.bus_master());
    EXPECT_TRUE(space.intx_disabled());
    space.write(0x04, 2, 0x0005);
    EXPECT_FALSE(space.memory_decoded());
    EXPECT_TRUE(space.io_decoded());
    EXPECT_FALSE(space.intx_disabled());
    space.write(0x04, 1, 0x06);
    EXPECT_TRUE(space.memory_decoded());
    EXPECT_FALSE(space.io_decoded());
    space.power_on();
    EXPECT_FALSE(space.bus_master());
}

TEST(ConfigSpace, in_D3_a_function_is_deaf_and_dumb_and_wakes_as_it_was)
{
    Space space;
    space.write(0x04, 2, 0x0007);
    space.write(0x44, 2, 3);
    EXPECT_EQ(space.get(0x44, 2), 0x000bU);
    EXPECT_FALSE(space.memory_decoded());
    EXPECT_FALSE(space.io_decoded());
    EXPECT_FALSE(space.bus_master());
    space.write(0x44, 2, 0);
    EXPECT_TRUE(space.memory_decoded());
    EXPECT_TRUE(space.bus_master());
}

TEST(ConfigSpace, the_FLR_bit_asks_for_a_reset_and_reads_0)
{
    Space space;
    std::uint32_t const before = space.get(0x58, 2);
    EXPECT_EQ(space.write(0x58, 2, before), ConfigSpace::Request::none);
    EXPECT_EQ(space.write(0x58, 2, before | 0x8000), ConfigSpace::Request::reset);
    EXPECT_EQ(space.get(0x58, 2), before);
    EXPECT_EQ(space.write(0x59, 1, 0x80), ConfigSpace::Request::reset);
    EXPECT_EQ(space.write(0x58, 4, 0x8000), ConfigSpace::Request::reset);
    EXPECT_EQ(space.write(0x5a, 2, 0x8000), ConfigSpace::Request::none);
}

TEST(ConfigSpace, MSI_control_is_the_clients_within_what_is_set_up)
{
    Space space;
    space.write(0xa2, 2, 0x0001);
    EXPECT_EQ(space.get(0xa2, 2), 0x0000U) << "not set up: it cannot be enabled";
    space.write(0xa2, 2, 0xffff);
    EXPECT_EQ(space.get(0xa2, 2), 0x008eU) << "what it says of itself is the client's too";
    space.show_msi(3);
    EXPECT_TRUE(space.msi_enabled());
    space.write(0xa2, 2, 0x0071);
    EXPECT_EQ(space.get(0xa2, 2), 0x0021U) << "three vectors: no more than four";
    space.write(0xa2, 2, 0x0010);
    EXPECT_FALSE(space.msi_enabled());
    space.show_msi(0);
    space.write(0xa2, 1, 0x11);
    EXPECT_EQ(space.get(0xa2, 2), 0x0000U);
    space.write(0xa4, 4, 0xfee00123);
    space.write(0xa8, 4, 0x1);
    space.write(0xac, 2, 0x4041);
    EXPECT_EQ(space.get(0xa4), 0xfee00123U);
    EXPECT_EQ(space.get(0xa8), 0x1U);
    EXPECT_EQ(space.get(0xac, 2), 0x4041U);
}

TEST(ConfigSpace, MSI_X_control_shows_what_SET_IRQS_did_and_takes_no_writes)
{
    Space space;
    space.write(0x92, 2, 0xc000);
    EXPECT_EQ(space.get(0x92, 2), 7U);
    space.show_msix(true);
    EXPECT_EQ(space.get(0x92, 2), 0x8007U);
    space.write(0x92, 2, 0);
    EXPECT_EQ(space.get(0x92, 2), 0x8007U);
    space.show_msix(false);
    EXPECT_EQ(space.get(0x92, 2), 7U);
}

// PCI Express 4.0, 7.8.4; and what vfio-pci lets its user write of it.
TEST(ConfigSpace, of_error_reporting_masks_and_severity_can_be_written_and_nothing_else)
{
    Identity identity = full_identity();
    identity.error_reporting = true;
    Space space{identity};
    EXPECT_EQ(space.get(0x100), 0x0002'0001U) << "version 2, and the end of the list";
    auto const before = space.all();
    std::map<std::size_t, std::uint32_t> turned;
    for (std::size_t at = 0x100; at < 0x148; at += 4) {
        std::uint32_t const ones = (space.write(at, 4, ~0U), space.get(at));
        std::uint32_t const zeros = (space.write(at, 4, 0), space.get(at));
        if (ones != zeros) turned[at] = ones ^ zeros;
        EXPECT_EQ(ones & zeros, turned.contains(at) ? 0U : zeros);
    }
    EXPECT_EQ(turned, (std::map<std::size_t, std::uint32_t>{
                          {0x108, 0x0017'f010}, {0x10c, 0x0017'f010}, {0x114, 0x31c1}}));
    EXPECT_TRUE(std::equal(before.begin(), before.begin() + 0x100, space.all().begin()));
    space.power_on();
    EXPECT_EQ(space.all(), before);
    EXPECT_EQ(space.get(0x108), 0U);
    EXPECT_EQ(space.get(0x10c), 0x0006'2010U);
    EXPECT_EQ(space.get(0x114), 0x2000U) << "advisory errors are masked";
}

TEST(ConfigSpace, random_writes_never_touch_what_is_fixed)
{
    auto const seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random{seed};
    Space space;
    // Learn what writes of all ones and of all zeros can change.
    constexpr std::size_t kUsed = 0x100;
    auto const before = space.all();
    std::array<std::byte, kUsed> changeable{};
    for (unsigned const value : {~0U, 0U})
        for (std::size_t i = 0; i < kUsed; ++i) {
            space.write(i, 1, value);
            changeable[i] |= before[i] ^ space.all()[i];
        }
    for (std::size_t const fixed :
         {0U, 1U, 2U, 3U, 6U, 7U, 8U, 9U, 10U, 11U, 14U, 0x2cU, 0x2eU, 0x34U, 0x3dU, 0x92U})
        EXPECT_EQ(changeable[fixed], std::byte{0}) << fixed;
    for (std::size_t i = kUsed; i < space.size(); i += 4) space.write(i, 4, ~0U);
    EXPECT_TRUE(std::equal(before.begin() + kUsed, before.end(), space.all().begin() + kUsed));

    for (int step = 0; step < 20000; ++step) {
        unsigned const width = 1U << random() % 3;
        std::size_t const offset = random() % (kUsed / width) * width;
        space.write(offset, width, static_cast<std::uint32_t>(random()));
        if (step % 100 != 0) continue;
        auto const now = space.all();
        for (std::size_t i = 0; i < kUsed; ++i)
            ASSERT_EQ((now[i] ^ before[i]) & ~changeable[i], std::byte{0}) << i << " step " << step;
    }
    space.power_on();
    EXPECT_EQ(space.all(), before);
}

}  // namespace
}  // namespace pinfold::pci
