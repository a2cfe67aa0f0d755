#include "devices/virtio_net/settings.hpp"

#include <gtest/gtest.h>

#include "devices/virtio_rig.hpp"

namespace pinfold::devices::virtio_net {
namespace {

pci::Checked<Settings> parse(std::vector<pci::Setting> settings, std::string const& bdf = "")
{
    return parse_settings({.model = "virtio-net", .settings = std::move(settings), .bdf = bdf});
}

TEST(VirtioSettings, are_a_mode_an_address_a_peer_and_a_file)
{
    auto const all = parse(
        {{"mode", "modern"}, {"mac", "52:54:00:aB:Cd:01"}, {"peer", "0A:1f.7"}, {"pcap", "x.pcap"}},
        "0001:02:03.4");
    ASSERT_TRUE(all) << all.error();
    EXPECT_EQ(all->interface, Interface::modern);
    EXPECT_EQ(all->mac, (Mac{0x52, 0x54, 0, 0xab, 0xcd, 1}));
    EXPECT_EQ(all->peer, "0000:0a:1f.7");
    EXPECT_EQ(all->pcap, "x.pcap");
    EXPECT_EQ(all->self, "0001:02:03.4");
    EXPECT_EQ(parse({}, "0001:02:03.4")->mac, (Mac{2, 0, 1, 2, 3, 4})) << "each has its own";
    EXPECT_EQ(parse({{"mode", "legacy"}})->interface, Interface::legacy);
    EXPECT_EQ(parse({{"mode", "transitional"}})->interface, Interface::transitional);
}

TEST(VirtioSettings, that_are_wrong_are_named_with_what_is_right)
{
    auto const said = [](std::string const& key, std::string const& value) {
        auto const parsed = parse({{key, value}});
        return parsed ? std::string{} : parsed.error();
    };
    EXPECT_EQ(said("speed", "10"),
              "virtio-net: there is no setting 'speed'; there are mac, mode, peer and pcap");
    EXPECT_EQ(said("mode", "Modern"),
              "virtio-net: mode=Modern: say transitional, legacy or modern");
    for (auto const* const wrong :
         {"", "52:54:00:12:34", "52:54:00:12:34:56:", "52:54:00:12:34:5", "52-54-00-12-34-56",
          "52:54:00:12:34:5g", "52:54:00:12:34:56 ", "+1:54:00:12:34:56"})
        EXPECT_EQ(said("mac", wrong),
                  std::string{"virtio-net: mac="} + wrong +
                      ": a MAC address is six bytes, such as 52:54:00:12:34:56");
    EXPECT_EQ(said("mac", "01:00:5e:00:00:01"),
              "virtio-net: mac=01:00:5e:00:00:01: is the address of a group, not of a port");
    for (auto const* const wrong :
         {"", "5", "0000:00:05", "0000:00:20.0", "0000:00:05.8", "0000:00:05.0x", "0000-00-05.0"})
        EXPECT_EQ(said("peer", wrong),
                  std::string{"virtio-net: peer="} + wrong +
                      ": say the address of another virtio-net, such as 0000:00:05.0");
    EXPECT_EQ(said("pcap", ""), "virtio-net: pcap= names no file");
    EXPECT_EQ(parse({{"mode", "legacy"}, {"mode", "legacy"}}).error(),
              "virtio-net: mode is given twice");
}

TEST(VirtioModel, is_checked_before_anything_is_made)
{
    pci::DeviceSpec const spec{.model = "virtio-net", .settings = {{"pcap", "/"}}};
    EXPECT_EQ(model().check(spec).error(), "virtio-net: pcap /: Is a directory");
    EXPECT_FALSE(model().check({.model = "virtio-net", .settings = {{"mode", "x"}}}));
    EXPECT_TRUE(model().check({.model = "virtio-net", .settings = {}}));
}

}  // namespace
}  // namespace pinfold::devices::virtio_net
