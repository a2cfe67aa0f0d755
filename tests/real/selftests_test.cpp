// The kernel's own VFIO self-tests, tools/testing/selftests/vfio of Debian's newest kernel source,
// built by their Makefile and not changed. Their harness prints TAP: a line for each test.
#include <unistd.h>

#include <map>
#include <regex>
#include <vector>

#include "huge_pages.hpp"
#include "real_stage.hpp"

namespace pinfold::test {
namespace {

constexpr char const* kModes[] = {"vfio_type1_iommu", "vfio_type1v2_iommu"};
constexpr char const* kMsi = "--device edu,bdf=0000:00:04.0";
constexpr char const* kMsix = "--device nvme,bdf=0000:00:04.0,disk=disk";

struct Tap {
    std::vector<std::string> passed;
    std::map<std::string, std::string> skipped;  // the reason by the test's name
    std::vector<std::string> failed;
};

Tap parse(std::string const& text)
{
    static std::regex const line{"^(ok|not ok) [0-9]+ ([^ ]+)( # SKIP ?(.*))?$"};
    Tap tap;
    std::istringstream lines{text};
    for (std::string one; std::getline(lines, one);) {
        std::smatch match;
        if (!std::regex_match(one, match, line)) continue;
        if (match[1] == "not ok")
            tap.failed.push_back(match[2]);
        else if (match[3].matched)
            tap.skipped[match[2]] = match[4];
        else
            tap.passed.push_back(match[2]);
    }
    return tap;
}

class Selftests : public RealStage {
protected:
    void SetUp() override
    {
        RealStage::SetUp();
        if (IsSkipped()) return;
        for (auto const* const program :
             {"vfio_pci_device_test", "vfio_dma_mapping_test", "vfio_dma_mapping_mmio_test",
              "vfio_pci_device_init_perf_test", "vfio_pci_driver_test"})
            bring_prepared(std::string{"selftests/"} + program);
        std::ofstream{dir() / "disk"};
        std::filesystem::resize_file(dir() / "disk", 1 << 20);
        std::filesystem::permissions(dir() / "disk", std::filesystem::perms{0666});
    }

    // One program of theirs in one way to an IOMMU, as the kernel that it belongs to.
    Tap run_selftest(std::string const& device, std::string const& mode, std::string const& program,
                     std::string const& more = "") const
    {
        auto const ran = run_for(
            120, "--kernel 7.3 " + device,
            fmt::format("env SELFTESTS_IOMMU_MODE={} ./{} {} 0000:00:04.0", mode, program, more));
        auto tap = parse(ran.out);
        EXPECT_TRUE(tap.failed.empty()) << ran.out << ran.err;
        EXPECT_EQ(ran.status, 0) << ran.out << ran.err;
        return tap;
    }
    static void expect_all(Tap const& tap, std::size_t count)
    {
        EXPECT_EQ(tap.passed.size(), count);
        for (auto const& [test, reason] : tap.skipped)
            ADD_FAILURE() << test << " was skipped: " << reason;
    }
};
INSTANTIATE_TEST_SUITE_P(Ways, Selftests, kRealWays, name);

PINFOLD_WORKS_WITH("the VFIO self-tests of Linux 7.3 (Debian), `tools/testing/selftests/vfio`",
                   "every test of the modes type1 and type1v2: devices, interrupts, DMA mappings "
                   "of small and huge pages, their limits, mappings of BARs, and their driver of "
                   "`ioat`")

// The two kinds of message interrupts are on two devices, and edu has no reset: what one skips, the
// other runs.
TEST_P(Selftests, of_a_device_pass)
{
    using Skipped = std::map<std::string, std::string>;
    for (auto const* const mode : kModes) {
        auto const nvme = run_selftest(kMsix, mode, "vfio_pci_device_test");
        EXPECT_EQ(nvme.passed.size(), 4U);
        EXPECT_EQ(
            nvme.skipped,
            (Skipped{{"vfio_pci_irq_test.msi.enable_trigger_disable", "MSI: not supported"}}));
        auto const edu = run_selftest(kMsi, mode, "vfio_pci_device_test");
        EXPECT_EQ(edu.passed.size(), 3U);
        EXPECT_EQ(
            edu.skipped,
            (Skipped{{"vfio_pci_irq_test.msix.enable_trigger_disable", "MSI-x: not supported"},
                     {"vfio_pci_device_test.reset", "Device does not support reset"}}));
    }
}

TEST_P(Selftests, of_DMA_mappings_and_their_limits_pass)
{
    for (auto const* const mode : kModes) {
        expect_all(run_selftest(kMsix, mode, "vfio_dma_mapping_test",
                                fmt::format("-v {}_anonymous", mode)),
                   1);
        expect_all(run_selftest(kMsix, mode, "vfio_dma_mapping_test", fmt::format("-v {}", mode)),
                   3);
    }
}

TEST_P(Selftests, of_mappings_of_huge_pages_pass_where_the_kernel_has_any)
{
    if (::geteuid() != 0) GTEST_SKIP() << "only root can take huge pages from the kernel";
    for (auto const& [size_kb, variant] :
         {std::pair{"2048", "hugetlb_2mb"}, {"1048576", "hugetlb_1gb"}}) {
        HugePages const pages{size_kb, 1};
        for (auto const* const mode : kModes) {
            auto const tap = run_selftest(kMsix, mode, "vfio_dma_mapping_test",
                                          fmt::format("-v {}_anonymous_{}", mode, variant));
            if (pages.got) expect_all(tap, 1);
            EXPECT_EQ(tap.passed.size() + tap.skipped.size(), 1U);
        }
    }
}

TEST_P(Selftests, of_mappings_of_BARs_pass)
{
    for (auto const* const mode : kModes)
        expect_all(
            run_selftest(kMsix, mode, "vfio_dma_mapping_mmio_test", fmt::format("-v {}", mode)), 3);
}

TEST_P(Selftests, of_the_time_that_opening_a_device_takes_pass)
{
    for (auto const* const mode : kModes)
        expect_all(
            run_selftest(kMsix, mode, "vfio_pci_device_init_perf_test", fmt::format("-v {}", mode)),
            1);
}

// Seven tests: a driver comes and goes, copies, copies to and from nowhere, takes its interrupt,
// and starts as many copies at once as the device can count.
TEST_P(Selftests, of_a_driver_pass_on_a_DMA_engine)
{
    for (auto const* const mode : kModes)
        expect_all(run_selftest("--device ioat,bdf=0000:00:04.0,xfercap=15", mode,
                                "vfio_pci_driver_test", fmt::format("-v {}", mode)),
                   7);
}

}  // namespace
}  // namespace pinfold::test
