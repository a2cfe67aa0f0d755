// Debian's DPDK drives emulated devices through its own vfio-pci code: dpdk-testpmd forwards frames
// on virtio ports that loop or are cross-connected, dpdk-test tries a DMA engine.
#include <regex>

#include "huge_pages.hpp"
#include "real_stage.hpp"

namespace pinfold::test {
namespace {

// What testpmd counted on all its ports together when it stopped.
struct Counted {
    unsigned long received = 0;
    unsigned long sent = 0;
    unsigned long lost = 0;
};

Counted counted(std::string const& text)
{
    static std::regex const line{R"((RX|TX)-packets: ([0-9]+)\s+(RX|TX)-dropped: ([0-9]+))"};
    Counted all;
    auto const from = text.find("Accumulated forward statistics");
    if (from == std::string::npos) return all;
    std::string const rest = text.substr(from);
    for (std::sregex_iterator match{rest.begin(), rest.end(), line}, end; match != end; ++match) {
        ((*match)[1] == "RX" ? all.received : all.sent) = std::stoul((*match)[2]);
        all.lost += std::stoul((*match)[4]);
    }
    return all;
}

// What dpdk-test says of each device that it tries, by the number that it gives them.
std::string said_of(unsigned device, std::string const& text)
{
    auto const begin = text.find(fmt::format("### Test dmadev instance {} ", device));
    if (begin == std::string::npos) return {};
    return text.substr(begin, text.find("### Test dmadev instance", begin + 1) - begin);
}

// Every count that it prints: all is done that was asked for, and nothing went wrong. They go up
// within each of its tests; what the last ones are together is returned.
unsigned long expect_all_done(std::string const& said)
{
    static std::regex const line{
        R"(Ops submitted: ([0-9]+)\s+Ops completed: ([0-9]+)\s+Errors: ([0-9]+))"};
    unsigned long all = 0;
    unsigned long last = 0;
    for (std::sregex_iterator match{said.begin(), said.end(), line}, end; match != end; ++match) {
        EXPECT_EQ((*match)[1], (*match)[2]) << "submitted and completed";
        EXPECT_EQ((*match)[3], "0") << "errors after " << (*match)[1];
        auto const now = std::stoul((*match)[1]);
        if (now < last) all += last;
        last = now;
    }
    return all + last;
}

class Dpdk : public RealStage {
protected:
    // testpmd forwards for two seconds, after a first burst.
    Outcome forward(std::string const& devices, std::string const& memory,
                    std::string const& more = "--forward-mode=io --tx-first") const
    {
        return run_for(60, "--report " + devices,
                       fmt::format("sh -c \"(sleep 3; echo) | XDG_RUNTIME_DIR=$PWD dpdk-testpmd "
                                   "--iova-mode=va -l 0,1 {} -- --total-num-mbufs=4096 {}\"",
                                   memory, more));
    }
    static constexpr char const* kNoHuge = "--no-shconf --no-huge -m 64";

    static void expect_forwarded(Outcome const& ran, char const* ports = "ports=1")
    {
        EXPECT_EQ(ran.status, 0);
        EXPECT_NE(ran.out.find(ports), std::string::npos) << ran.out << ran.err;
        auto const all = counted(ran.out);
        EXPECT_GT(all.received, 10'000U) << ran.out << ran.err;
        EXPECT_GE(all.sent, all.received);
        EXPECT_EQ(all.lost, 0U) << ran.out;
        EXPECT_NE(ran.err.find("faults      none"), std::string::npos) << ran.err;
    }
};
INSTANTIATE_TEST_SUITE_P(Ways, Dpdk, kRealWays, name);

PINFOLD_WORKS_WITH("dpdk-testpmd 22.11 (Debian), `virtio-net` legacy and modern",
                   "forwards frames on a port that loops and between two that are "
                   "cross-connected, with `--no-huge` and with huge pages")

TEST_P(Dpdk, testpmd_forwards_what_a_legacy_virtio_port_sends_back)
{
    expect_forwarded(forward("--device virtio-net,bdf=0000:00:04.0,mode=legacy", kNoHuge));
}

TEST_P(Dpdk, testpmd_forwards_what_a_modern_virtio_port_sends_back)
{
    expect_forwarded(forward("--device virtio-net,bdf=0000:00:04.0,mode=modern", kNoHuge));
}

TEST_P(Dpdk, testpmd_forwards_between_two_ports)
{
    expect_forwarded(forward("--device virtio-net,bdf=0000:00:04.0,peer=0000:00:05.0 "
                             "--device virtio-net,bdf=0000:00:05.0,peer=0000:00:04.0,mode=modern",
                             kNoHuge),
                     "ports=2");
}

TEST_P(Dpdk, testpmd_forwards_in_huge_pages_where_the_kernel_has_any)
{
    HugePages const pages{"2048", 64};
    if (!pages.got) GTEST_SKIP() << "the kernel has no huge pages to give";
    expect_forwarded(
        forward("--device virtio-net,bdf=0000:00:04.0,mode=legacy", "--in-memory -m 64"));
}

PINFOLD_WORKS_WITH("dpdk-testpmd 22.11 (Debian), a secondary process",
                   "gets the primary's VFIO descriptors over a socket, maps the BARs of its modern "
                   "`virtio-net`, and forwards frames on it")

TEST_P(Dpdk, a_secondary_process_forwards_on_the_port_of_the_primary)
{
    if (!GetParam().with_namespace || GetParam().as_nobody || ::geteuid() != 0)
        GTEST_SKIP() << "processes of DPDK share huge pages, and only root may mount those";
    HugePages const pages{"2048", 64};
    if (!pages.got) GTEST_SKIP() << "the kernel has no huge pages to give";
    bring(std::filesystem::path{PINFOLD_REAL_DIR} / "dpdk/secondary.sh");
    auto const ran =
        run_for(60, "--report --device virtio-net,bdf=0000:00:04.0,mode=modern", "./secondary.sh");
    expect_forwarded(ran);
    EXPECT_NE(ran.out.find("EAL: Using IOMMU type 1"), std::string::npos)
        << "the secondary process set up no VFIO";
}

PINFOLD_WORKS_WITH(
    "dpdk-test 22.11 (Debian), `ioat`",
    "`dmadev_autotest`: all copies and fills of the DMA engine are right, one by one and in full "
    "rings")

TEST_P(Dpdk, dmadev_autotest_passes_on_a_DMA_engine)
{
    auto const ran = run_for(120, "--report --device ioat,bdf=0000:00:04.0",
                             "env DPDK_TEST=dmadev_autotest XDG_RUNTIME_DIR=. dpdk-test "
                             "--no-shconf --no-huge -m 256 --iova-mode=va -l 0,1");
    EXPECT_EQ(ran.status, 0);
    auto const end = ran.out.size() > 1000 ? ran.out.substr(ran.out.size() - 1000) : ran.out;
    EXPECT_NE(ran.out.find("Test OK"), std::string::npos) << end << ran.err;
    auto const said = said_of(0, ran.out);
    // Of version 3.3 DPDK expects no report of errors (it does from 3.4 on), and provokes none.
    for (auto const* const line :
         {"instance 0 [0000:00:04.0]", "Running copy Tests", "Running burst capacity Tests",
          "device does not report errors, skipping error handling tests", "Running fill Tests"})
        EXPECT_NE(said.find(line), std::string::npos) << line << " is missing:\n" << end;
    constexpr unsigned long kCopies = 640 * 133 + 65536;
    constexpr unsigned long kFills = 6;
    EXPECT_EQ(expect_all_done(said), kCopies + kFills);
    EXPECT_NE(ran.err.find(fmt::format("; {} copies, {} fills,", kCopies, kFills)),
              std::string::npos)
        << ran.err;
    EXPECT_NE(ran.err.find("faults      none"), std::string::npos) << ran.err;
}

}  // namespace
}  // namespace pinfold::test
