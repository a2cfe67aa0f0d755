#include "devices/virtio_net/registers.hpp"

#include <gtest/gtest.h>

#include "devices/virtio_rig.hpp"

namespace pinfold::devices::virtio_net {
namespace {

class VirtioRegistersTest : public testing::Test {
protected:
    pci::Surroundings around_;
    TestPort port_{around_, {{"mac", "52:54:00:12:34:56"}}};
};

TEST_F(VirtioRegistersTest, legacy_features_are_those_that_can_be_taken_back_up)
{
    auto const offered = port_.in(0, 4);
    EXPECT_EQ(offered, 0x389f8020U);
    port_.out(0x12, 1, 3);
    port_.out(4, 4, 0xffffffff);
    EXPECT_EQ(port_.in(4, 4), offered);
    port_.out(4, 2, 1);
    EXPECT_EQ(port_.in(4, 4), offered) << "too narrow";
    port_.out(0x12, 1, 7);
    port_.out(4, 4, 0);
    EXPECT_EQ(port_.in(4, 4), offered) << "settled once the driver runs";
}

TEST_F(VirtioRegistersTest, legacy_queues_have_their_sizes_and_there_are_three)
{
    for (auto const& [queue, size] : std::vector<std::pair<unsigned, unsigned>>{
             {0, 256}, {1, 256}, {2, 64}, {3, 0}, {0xffff, 0}}) {
        port_.out(0x0e, 2, queue);
        EXPECT_EQ(port_.in(0x0c, 2), size) << queue;
    }
    port_.out(0x08, 4, 0x1234);
    EXPECT_EQ(port_.in(0x08, 4), 0U) << "a queue that is not there has no address";
    port_.out(0x0e, 2, 1);
    port_.out(0x08, 4, 0x1234);
    EXPECT_EQ(port_.in(0x08, 4), 0x1234U);
}

TEST_F(VirtioRegistersTest, legacy_configuration_makes_room_for_vectors_when_MSI_X_is_on)
{
    EXPECT_EQ(port_.in(0x14, 4), 0x12005452U);
    EXPECT_EQ(port_.in(0x18, 4), 0x00015634U);
    EXPECT_EQ(port_.in(0x1c, 4), 0xffffffffU) << "nothing behind it";
    std::vector<pci::TestEvent> events(4);
    port_.enable_msix(events);
    EXPECT_EQ(port_.in(0x14, 2), 0xffffU);
    port_.out(0x14, 2, 0);
    port_.out(0x16, 2, 3);
    EXPECT_EQ(port_.in(0x14, 2), 0U);
    EXPECT_EQ(port_.in(0x16, 2), 3U);
    port_.out(0x16, 2, 4);
    EXPECT_EQ(port_.in(0x16, 2), 0xffffU) << "there is no such vector";
    EXPECT_EQ(port_.in(0x18, 4), 0x12005452U);
    EXPECT_EQ(port_.in(0x1e, 2), 1U) << "the link is up";
}

TEST_F(VirtioRegistersTest, a_legacy_driver_without_the_command_writes_its_address)
{
    port_.out(0x14, 1, 0x02);
    port_.out(0x18, 2, 0xbbaa);
    EXPECT_EQ(port_.in(0x14, 4), 0x12005402U);
    EXPECT_EQ(port_.in(0x18, 2), 0xbbaaU);
    port_.out(0x1a, 2, 0);
    EXPECT_EQ(port_.in(0x1a, 2), 1U) << "the link's state is not the driver's";
    port_.out(0x12, 1, 0);
    EXPECT_EQ(port_.in(0x14, 4), 0x12005452U) << "a reset brings it back";
    port_.out(4, 4, feature::kControlMac);
    port_.out(0x14, 1, 0x02);
    EXPECT_EQ(port_.in(0x14, 1), 0x52U);
}

TEST_F(VirtioRegistersTest, version_1_must_be_taken_with_nothing_that_is_not_offered)
{
    using namespace feature;
    EXPECT_EQ(port_.start_modern(kVersion1, {}), 0xfU);
    EXPECT_EQ(port_.start_modern(kVersion1 | kMac | kAccessPlatform, {}), 0xfU);
    EXPECT_EQ(port_.start_modern(kMac, {}), 0x7U) << "without version 1";
    EXPECT_EQ(port_.start_modern(kVersion1 | bit(0), {}), 0x7U) << "not offered";
    EXPECT_EQ(port_.start_modern(kVersion1 | bit(60), {}), 0x7U) << "not offered";
    port_.set(0, 4, 2);
    EXPECT_EQ(port_.get(4, 4), 0U) << "there are no more than 64";
}

TEST_F(VirtioRegistersTest, version_1_queues_can_be_made_smaller_by_powers_of_two)
{
    port_.set(0x16, 2, 0);
    EXPECT_EQ(port_.get(0x12, 2), 3U);
    EXPECT_EQ(port_.get(0x18, 2), 256U);
    for (unsigned const wrong : {0U, 3U, 255U, 257U, 512U, 0x8000U}) {
        port_.set(0x18, 2, wrong);
        EXPECT_EQ(port_.get(0x18, 2), 256U) << wrong;
    }
    port_.set(0x18, 2, 16);
    EXPECT_EQ(port_.get(0x18, 2), 16U);
    port_.set(0x1c, 2, 2);
    EXPECT_EQ(port_.get(0x1c, 2), 0U) << "only 1 enables";
    port_.set(0x1c, 2, 1);
    EXPECT_EQ(port_.get(0x1c, 2), 1U);
    port_.set(0x18, 2, 8);
    port_.set(0x20, 4, 0x1000);
    EXPECT_EQ(port_.get(0x18, 2), 16U) << "an enabled queue stays as it is";
    EXPECT_EQ(port_.get(0x20, 8), 0U);
    port_.set(0x16, 2, 7);
    EXPECT_EQ(port_.get(0x18, 2), 0U);
    port_.set(0x18, 2, 16);
    port_.set(0x1a, 2, 0);
    port_.set(0x1c, 2, 1);
    port_.set(0x20, 8, 0x1000);
    EXPECT_EQ(port_.get(0x1a, 2), 0xffffU);
    EXPECT_EQ(port_.get(0x1c, 2), 0U);
    EXPECT_EQ(port_.get(0x20, 8), 0U);
}

TEST_F(VirtioRegistersTest, addresses_are_written_in_halves_or_whole_and_read_back)
{
    port_.set(0x16, 2, 2);
    port_.set(0x24, 4, 0xaabb);
    port_.set(0x20, 4, 0x1000);
    port_.set(0x28, 8, 0x1122334455667788);
    port_.set(0x30, 2, 0xffff);
    EXPECT_EQ(port_.get(0x20, 8), 0xaabb00001000U);
    EXPECT_EQ(port_.get(0x28, 4), 0x55667788U);
    EXPECT_EQ(port_.get(0x2c, 4), 0x11223344U);
    EXPECT_EQ(port_.get(0x30, 8), 0U) << "too narrow a write";
    EXPECT_EQ(port_.get(0x1e, 2), 2U) << "its notifications";
    port_.set(0x14, 1, 0);
    port_.set(0x16, 2, 2);
    EXPECT_EQ(port_.get(0x20, 8), 0U) << "a reset forgets";
}

TEST_F(VirtioRegistersTest, version_1_shows_address_and_link_and_nothing_behind)
{
    EXPECT_EQ(port_.get(0x2000, 4), 0x12005452U);
    EXPECT_EQ(port_.get(0x2004, 4), 0x00015634U);
    EXPECT_EQ(port_.get(0x2008, 4), 0xffffffffU);
    port_.set(0x2000, 4, 0);
    EXPECT_EQ(port_.get(0x2000, 4), 0x12005452U);
    EXPECT_EQ(port_.get(0x3000, 4), 0U);
    EXPECT_EQ(port_.get(0x1000, 1), 0U);
}

}  // namespace
}  // namespace pinfold::devices::virtio_net
