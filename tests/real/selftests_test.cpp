// The kernel's own VFIO self-tests, tools/testing/selftests/vfio of Debian's newest kernel source,
// built by their Makefile and not changed. Their harness prints TAP: a line for each test.
#include <algorithm>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <vector>

#include "huge_pages.hpp"
#include "real_stage.hpp"

namespace pinfold::test {
namespace {

constexpr char const* kModes[] = {"vfio_type1_iommu", "vfio_type1v2_iommu"};
constexpr char const* kPrograms[] = {"vfio_pci_device_test", "vfio_dma_mapping_test",
                                     "vfio_dma_mapping_mmio_test", "vfio_pci_device_init_perf_test",
                                     "vfio_pci_driver_test"};
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

// The rows of a table of two texts in README.md: what they are about, and the reason.
std::map<std::string, std::string> rows(std::string const& first_column)
{
    auto const text = slurp(std::filesystem::path{PINFOLD_REAL_DIR} / "README.md");
    static std::regex const row{R"(^\| `?([^`|]+)`? \| (.+) \|$)"};
    std::istringstream lines{text.substr(std::min(text.find("| " + first_column), text.size()))};
    std::map<std::string, std::string> all;
    std::string line;
    std::getline(lines, line);
    for (std::smatch match; std::getline(lines, line) && line.starts_with('|');)
        if (std::regex_match(line, match, row)) all[match[1]] = match[2];
    return all;
}

std::map<std::string, std::string> listed_skips(std::string const& device)
{
    auto const listed = rows("skipped on " + device);
    EXPECT_FALSE(listed.empty()) << device;
    return listed;
}

class Selftests : public RealStage {
protected:
    void SetUp() override
    {
        RealStage::SetUp();
        if (IsSkipped()) return;
        for (auto const* const program : kPrograms)
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
    void run_mappings_of(std::string const& pages) const
    {
        for (auto const* const mode : kModes)
            expect_all(run_selftest(kMsix, mode, "vfio_dma_mapping_test",
                                    fmt::format("-v {}_anonymous_{}", mode, pages)),
                       1);
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
// other runs. README.md lists which and why, and is right.
TEST_P(Selftests, of_a_device_pass)
{
    for (auto const* const mode : kModes) {
        auto const nvme = run_selftest(kMsix, mode, "vfio_pci_device_test");
        EXPECT_EQ(nvme.passed.size(), 4U);
        EXPECT_EQ(nvme.skipped, listed_skips("nvme"));
        auto const edu = run_selftest(kMsi, mode, "vfio_pci_device_test");
        EXPECT_EQ(edu.passed.size(), 3U);
        EXPECT_EQ(edu.skipped, listed_skips("edu"));
        for (auto const& [test, reason] : edu.skipped) EXPECT_FALSE(nvme.skipped.contains(test));
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

TEST_P(Selftests, of_mappings_of_huge_pages_of_2_MiB_pass_where_the_kernel_has_any)
{
    HugePages const pages{"2048", 1};
    if (!pages.got) GTEST_SKIP() << "the kernel has no huge pages to give";
    run_mappings_of("hugetlb_2mb");
}

TEST_P(Selftests, of_mappings_of_huge_pages_of_1_GiB_pass_where_the_kernel_has_any)
{
    HugePages const pages{"1048576", 1};
    if (!pages.got) GTEST_SKIP() << "the kernel has no huge pages to give";
    run_mappings_of("hugetlb_1gb");
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

// README.md names each program that is not run, with the reason.
TEST(SelftestPrograms, are_run_or_left_out_for_a_reason)
{
    std::set<std::string> built;
    for (auto const& entry : std::filesystem::directory_iterator{
             std::filesystem::path{PINFOLD_PREPARED_DIR} / "selftests"})
        if (entry.path().filename().string().ends_with("_test"))
            built.insert(entry.path().filename());
    std::set<std::string> known(std::begin(kPrograms), std::end(kPrograms));
    for (auto const& [program, reason] : rows("program left out"))
        EXPECT_TRUE(known.insert(program).second) << program << " is run";
    EXPECT_EQ(built, known);
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
