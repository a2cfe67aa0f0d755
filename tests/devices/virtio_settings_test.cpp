#include "devices/virtio_net/settings.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "devices/virtio_net/capture.hpp"
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

class VirtioCaptureTest : public testing::Test {
protected:
    VirtioCaptureTest()
    {
        std::string name = testing::TempDir() + "/pcap.XXXXXX";
        directory_ = ::mkdtemp(name.data());
        path_ = directory_ / "frames.pcap";
    }
    ~VirtioCaptureTest() override { std::filesystem::remove_all(directory_); }
    Bytes contents() const
    {
        std::ifstream file{path_, std::ios::binary};
        return {std::istreambuf_iterator<char>{file}, {}};
    }
    std::filesystem::path directory_, path_;
};

TEST_F(VirtioCaptureTest, holds_the_frames_behind_a_header_that_tcpdump_knows)
{
    auto const frame = frame_to(kEverybody, 60);
    for (unsigned run = 0; run < 2; ++run) {  // the second one appends
        auto capture = Capture::open(path_);
        ASSERT_TRUE(capture) << capture.error();
        capture->record(std::as_bytes(std::span{frame}));
        EXPECT_FALSE(capture->incomplete());
    }
    auto const bytes = contents();
    ASSERT_EQ(bytes.size(), 24U + 2 * (16 + 60));
    EXPECT_EQ(Bytes(bytes.begin(), bytes.begin() + 8), (Bytes{0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0}));
    EXPECT_EQ(bytes[20], 1U) << "Ethernet";
    EXPECT_EQ(bytes[24 + 8], 60U);
    EXPECT_EQ(bytes[24 + 12], 60U);
    EXPECT_EQ(Bytes(bytes.begin() + 40, bytes.begin() + 100), frame);
    EXPECT_EQ(Bytes(bytes.end() - 60, bytes.end()), frame);
}

TEST_F(VirtioCaptureTest, files_that_are_no_captures_are_left_alone)
{
    std::ofstream{path_} << "a letter to somebody, and longer than a header";
    for (auto const& refused : {Capture::check(path_).error(), Capture::open(path_).error()})
        EXPECT_EQ(refused, "pcap " + path_.string() +
                               ": is there, and is no capture that could be continued; remove it "
                               "first");
    EXPECT_EQ(contents().size(), 46U);
    EXPECT_EQ(Capture::check(directory_).error(),
              "pcap " + directory_.string() + ": Is a directory");
    EXPECT_EQ(Capture::open(directory_ / "no/such").error(),
              "pcap " + (directory_ / "no/such").string() + ": No such file or directory");
    EXPECT_EQ(Capture::check("/dev/null").error(), "pcap /dev/null: is no regular file");
    EXPECT_TRUE(Capture::check(directory_ / "new"));
    EXPECT_FALSE(std::filesystem::exists(directory_ / "new")) << "a check makes nothing";
}

TEST_F(VirtioCaptureTest, a_file_that_is_full_ends_the_capture_and_not_the_process)
{
    auto capture = Capture::open(path_);
    ASSERT_TRUE(capture);
    rlimit before{};
    ::getrlimit(RLIMIT_FSIZE, &before);
    rlimit const small{200, before.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &small);
    auto const frame = frame_to(kEverybody, 60);
    for (unsigned i = 0; i < 4; ++i) capture->record(std::as_bytes(std::span{frame}));
    ::setrlimit(RLIMIT_FSIZE, &before);
    EXPECT_TRUE(capture->incomplete());
    EXPECT_EQ(contents().size(), 24U + 2 * 76);
}

TEST_F(VirtioCaptureTest, a_port_captures_each_frame_once)
{
    pci::Surroundings around;
    Arena arena{around};
    DriverQueue receive{arena, 256}, transmit{arena, 256};
    std::array<DriverQueue*, 2> const queues{&receive, &transmit};
    TestPort port{around, {{"pcap", path_.string()}}};
    port.start_legacy(0, queues);
    auto const page = arena.allocate(2);
    receive.add(0, {{page + kPage, 2000, true}});
    auto const frame = frame_to(kEverybody, 60);
    arena.put_bytes(page + 10, frame);
    transmit.add(0, {{page, 70}});
    port.notify_legacy(kTransmit);
    EXPECT_EQ(receive.used_index(), 1U);
    EXPECT_EQ(contents().size(), 24U + 76);
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
