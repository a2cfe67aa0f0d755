// What pcap= leaves in its file: by itself, and from the frames of ports.
#include "devices/virtio_net/capture.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <fstream>

#include "devices/virtio_rig.hpp"
#include "support/command.hpp"

namespace pinfold::devices::virtio_net {
namespace {

class VirtioCaptureTest : public testing::Test {
protected:
    Bytes contents() const
    {
        std::ifstream file{path_, std::ios::binary};
        return {std::istreambuf_iterator<char>{file}, {}};
    }

    test::Scratch scratch_;
    std::filesystem::path const& directory_ = scratch_.path();
    std::filesystem::path path_ = directory_ / "frames.pcap";
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

// pcap-savefile(5), as a program that reads such files takes it.
struct Record {
    std::uint32_t seconds, nanoseconds, captured, length;
    Bytes frame;
};

std::vector<Record> records(std::filesystem::path const& path)
{
    std::ifstream file{path, std::ios::binary};
    std::array<std::uint32_t, 6> header{};
    file.read(reinterpret_cast<char*>(header.data()), sizeof header);
    EXPECT_EQ(header, (std::array<std::uint32_t, 6>{0xa1b23c4d, 0x0004'0002, 0, 0, 262144, 1}));
    std::vector<Record> all;
    Record one;
    while (file.read(reinterpret_cast<char*>(&one), 16)) {
        one.frame.resize(std::min<std::size_t>(one.captured, kMostFrame));
        file.read(reinterpret_cast<char*>(one.frame.data()),
                  static_cast<std::streamsize>(one.frame.size()));
        EXPECT_TRUE(file) << "the last frame is cut off";
        all.push_back(one);
    }
    EXPECT_EQ(file.gcount(), 0) << "the last header is cut off";
    return all;
}

std::vector<Bytes> frames(std::filesystem::path const& path)
{
    std::vector<Bytes> all;
    for (auto const& one : records(path)) {
        EXPECT_EQ(one.captured, one.frame.size());
        EXPECT_EQ(one.length, one.frame.size());
        all.push_back(one.frame);
    }
    return all;
}

// One end of a wire: a port of either interface with its queues and its capture.
class End {
public:
    static constexpr std::uint32_t kBuffer = 3 * kPage - 12;

    End(pci::Surroundings& around, Arena& arena, std::string const& mode, std::string const& pcap,
        std::string const& bdf, std::vector<pci::Setting> settings = {})
        : modern_{mode == "modern"},
          arena_{arena},
          port_{around, with(std::move(settings), mode, pcap), bdf},
          receive_{arena, 256},
          transmit_{arena, 256},
          out_{arena.allocate(3)},
          in_{arena.allocate(3)}
    {
    }
    TestPort& port() { return port_; }
    void start()
    {
        std::array<DriverQueue*, 2> const queues{&receive_, &transmit_};
        if (modern_)
            port_.start_modern(feature::kVersion1, queues);
        else
            port_.start_legacy(0, queues);
        for (std::uint16_t i = 0; i < 16; ++i) receive_.add(i, {{in_, kBuffer, true}});
    }
    // The header's bytes are 0xee, which none of a frame's first bytes is.
    void send(Bytes const& frame)
    {
        Bytes bytes(modern_ ? 12 : 10, 0xee);
        bytes.insert(bytes.end(), frame.begin(), frame.end());
        arena_.put_bytes(out_, bytes);
        transmit_.add(0, {{out_, static_cast<std::uint32_t>(bytes.size())}});
        modern_ ? port_.notify_modern(kTransmit) : port_.notify_legacy(kTransmit);
    }
    std::size_t received() { return receive_.take_used().size(); }

private:
    static std::vector<pci::Setting> with(std::vector<pci::Setting> settings,
                                          std::string const& mode, std::string const& pcap)
    {
        settings.push_back({"mode", mode});
        settings.push_back({"pcap", pcap});
        return settings;
    }

    bool modern_;
    Arena& arena_;
    TestPort port_;
    DriverQueue receive_, transmit_;
    std::uint64_t out_, in_;
};

class VirtioPortCaptureTest : public VirtioCaptureTest,
                              public testing::WithParamInterface<char const*> {
protected:
    pci::Surroundings around_;
    Arena arena_{around_};
};
INSTANTIATE_TEST_SUITE_P(Modes, VirtioPortCaptureTest, testing::Values("legacy", "modern"),
                         [](auto const& mode) { return std::string{mode.param}; });

TEST_P(VirtioPortCaptureTest, a_frame_that_comes_back_is_captured_once_without_its_header)
{
    End end{around_, arena_, GetParam(), path_, "0000:00:04.0"};
    end.start();
    std::vector<Bytes> sent;
    for (std::size_t const size : {14U, 61U, 1514U, 9000U}) {
        sent.push_back(frame_to(kEverybody, size, static_cast<std::uint8_t>(size)));
        end.send(sent.back());
    }
    EXPECT_EQ(end.received(), sent.size());
    EXPECT_EQ(frames(path_), sent);
}

TEST_P(VirtioPortCaptureTest, each_of_two_ports_captures_what_it_sends_and_what_it_is_sent)
{
    auto const right_path = directory_ / "right.pcap";
    End left{around_, arena_, GetParam(), path_, "0000:00:04.0", {{"peer", "0000:00:05.0"}}};
    End right{around_, arena_, GetParam(), right_path, "0000:00:05.0", {{"peer", "0000:00:04.0"}}};
    ASSERT_TRUE(meet(left.port(), &right.port().function()));
    ASSERT_TRUE(meet(right.port(), &left.port().function()));
    left.start();
    right.start();
    std::vector<Bytes> all;
    for (std::size_t const size : {14U, 61U, 1514U, 9000U}) {
        all.push_back(frame_to(kEverybody, size, 1));
        left.send(all.back());
        all.push_back(frame_to(kEverybody, size + 1, 2));
        right.send(all.back());
    }
    EXPECT_EQ(left.received(), all.size() / 2);
    EXPECT_EQ(right.received(), all.size() / 2);
    EXPECT_EQ(frames(path_), all);
    EXPECT_EQ(frames(right_path), all);
}

TEST_P(VirtioPortCaptureTest, a_frame_that_the_driver_does_not_take_was_on_the_wire_all_the_same)
{
    End end{around_, arena_, GetParam(), path_, "0000:00:04.0"};
    end.start();
    auto const longer_than_a_buffer = frame_to(kEverybody, End::kBuffer);
    end.send(longer_than_a_buffer);
    EXPECT_EQ(end.received(), 0U);
    EXPECT_EQ(frames(path_), std::vector<Bytes>{longer_than_a_buffer});
}

TEST_P(VirtioPortCaptureTest, the_time_of_each_frame_is_when_it_was_on_the_wire)
{
    using Clock = std::chrono::system_clock;
    End end{around_, arena_, GetParam(), path_, "0000:00:04.0"};
    end.start();
    std::vector<Clock::time_point> moments{Clock::now()};
    for (unsigned i = 0; i < 3; ++i) {
        end.send(frame_to(kEverybody, 60));
        moments.push_back(Clock::now());
    }
    auto const all = records(path_);
    ASSERT_EQ(all.size(), 3U);
    for (std::size_t i = 0; i < all.size(); ++i) {
        EXPECT_LT(all[i].nanoseconds, 1'000'000'000U);
        Clock::time_point const at{std::chrono::seconds{all[i].seconds} +
                                   std::chrono::nanoseconds{all[i].nanoseconds}};
        EXPECT_GE(at, moments[i]) << i;
        EXPECT_LE(at, moments[i + 1]) << i;
    }
}

}  // namespace
}  // namespace pinfold::devices::virtio_net
