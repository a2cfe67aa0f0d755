#include "cli/report.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>

namespace pinfold::cli {
namespace {

using machine::Counters;

Counters some_counters()
{
    Counters run;
    run.pid = 42;
    run.maps = 1234;
    run.mapped_bytes = 64 << 20;
    run.peak_live_mappings = 37;
    run.peak_live_bytes = 8 << 20;
    run.live_mappings = 1;
    run.page_size = 4096;
    run.peak_pinned_pages = 2048;
    run.memlock_limit = 8 << 20;
    run.memlock_needed = 8 << 20;
    run.memlock_binds = 1;
    run.leaves[12] = 2080;
    run.leaves[21] = 12;
    run.dma_reads = 1;
    run.dma_read_bytes = 512;
    run.dma_writes = 2000;
    run.dma_written_bytes = 1 << 30;
    run.interrupts = 5120;
    run.mmio_traps = 10233;
    run.device_count = 1;
    std::ranges::copy(std::string_view{"0000:00:04.0"}, run.devices[0].bdf.begin());
    std::ranges::copy(std::string_view{"nvme"}, run.devices[0].model.begin());
    std::ranges::copy(std::string_view{"1024 commands"}, run.devices[0].summary.begin());
    run.devices[0].dma_bytes = 3 << 20;
    run.devices[0].interrupts = 1;
    return run;
}

TEST(Report, is_a_page_of_aligned_rows)
{
    RunOutcome const outcome{"/usr/bin/qemu-img", "vtd", 1.844, 0, {some_counters()}};
    EXPECT_EQ(report(outcome, Colour::no),
              "qemu-img on machine vtd: exit status 0, 1.84 s\n"
              "  mapped      1,234 mappings, 64.0 MiB in all\n"
              "              at most 37 at once, 8.0 MiB; 1 left at the end\n"
              "  pinned      at most 2,048 pages of 4K (8.0 MiB), limit 8.0 MiB\n"
              "  leaves      2,080 of 4K, 12 of 2M (most at once)\n"
              "  DMA         512 bytes in 1 operation from memory, 1.0 GiB in 2,000 operations to "
              "memory\n"
              "  interrupts  5,120\n"
              "  registers   10,233 mapped accesses trapped\n"
              "  faults      none\n"
              "  devices     0000:00:04.0 nvme: 3.0 MiB of DMA, 1 interrupt; 1024 commands\n");
}

TEST(Report, faults_are_told_with_device_iova_and_reason)
{
    auto run = some_counters();
    run.faults = 3;
    run.fault_records = 2;
    run.first_faults[0] = {0x1000, 2, 1, 0};
    run.first_faults[1] = {0xfee00000, 1, 0, 0};
    auto const text = report({"p", "vtd", 0, 0, {run}}, Colour::no);
    EXPECT_TRUE(
        text.contains("  faults      3\n"
                      "              0000:00:04.0 writing to iova 0x1000: nothing is mapped "
                      "there\n"
                      "              0000:00:04.0 reading from iova 0xfee00000: no domain is "
                      "attached\n"
                      "              and 1 more\n"))
        << text;
}

TEST(Report, what_parts_of_pages_kept_from_devices_has_its_rows)
{
    auto run = some_counters();
    EXPECT_EQ(report({"p", "vtd", 0, 0, {run}}, Colour::no).find("kept away"), std::string::npos);
    run.exposure_mappings = 1;
    run.exposure_bytes = 61440;
    run.exposure_records = 1;
    run.first_exposures[0] = {0x20000, 0x20fff, 0, 61440};
    EXPECT_NE(report({"p", "vtd", 0, 0, {run}}, Colour::no)
                  .find("  kept away   1 mapping of parts of pages; whole pages would have shown "
                        "devices 60.0 KiB more\n"
                        "              0x20000 to 0x20fff: 0 bytes before, 60.0 KiB behind\n"),
              std::string::npos);
}

TEST(Report, a_machine_that_no_Linux_runs_on_is_marked)
{
    auto run = some_counters();
    run.unverified = 1;
    EXPECT_NE(report({"p", "vtd", 0, 0, {run}}, Colour::no)
                  .find("  unverified  the IOMMU's pages are larger than the host's: no Linux runs "
                        "on that\n"),
              std::string::npos);
}

TEST(Report, says_so_where_no_vfio_file_was_opened)
{
    EXPECT_EQ(report({"true", "vtd", 0, 0, {}}, Colour::no),
              "true on machine vtd: exit status 0, 0.00 s\n"
              "              It opened no VFIO file.\n");
}

TEST(Report, processes_are_told_apart_and_a_signal_is_named)
{
    auto const text =
        report({"p", "vtd", 0, SIGSEGV, {some_counters(), some_counters()}}, Colour::no);
    EXPECT_TRUE(text.starts_with("p on machine vtd: ended by SIGSEGV, 0.00 s\n\nprocess 42\n"))
        << text;
}

TEST(Report, only_colour_brings_escape_sequences)
{
    RunOutcome const outcome{"p", "vtd", 0, 0, {some_counters()}};
    EXPECT_FALSE(report(outcome, Colour::no).contains('\x1b'));
    EXPECT_TRUE(report(outcome, Colour::yes).contains('\x1b'));
}

// The counters come from a file that the client's process could write anything into.
TEST(Report, garbage_in_the_counters_makes_a_strange_page_and_nothing_worse)
{
    Counters run;
    auto* const bytes = reinterpret_cast<unsigned char*>(&run);
    std::fill_n(bytes, sizeof run, static_cast<unsigned char>(0xff));
    auto const text = report({"p", "vtd", 0, 0, {run}}, Colour::no);
    EXPECT_TRUE(text.contains("faults")) << text;
}

TEST(MemlockHint, tells_the_number_where_a_refused_program_failed)
{
    auto run = some_counters();
    run.memlock_needed = (9 << 20) + 1;
    EXPECT_EQ(
        memlock_hint({"p", "vtd", 0, 1 << 8, {run}}),
        "the program was refused locked memory: it needed 9.0 MiB (limit 8.0 MiB). Try: ulimit "
        "-l 9217, or pinfold run --memlock 9217K");
}

TEST(MemlockHint, is_silent_where_the_program_managed_or_was_not_refused)
{
    auto run = some_counters();
    EXPECT_FALSE(memlock_hint({"p", "vtd", 0, 1 << 8, {run}}));
    EXPECT_FALSE(memlock_hint({"p", "vtd", 0, 1 << 8, {}}));
    run.memlock_needed = 9 << 20;
    EXPECT_FALSE(memlock_hint({"p", "vtd", 0, 0, {run}}));
    run.memlock_binds = 0;
    EXPECT_FALSE(memlock_hint({"p", "vtd", 0, 1 << 8, {run}}));
}

TEST(Amounts, are_rounded_for_people)
{
    EXPECT_EQ(bytes_text(0), "0 bytes");
    EXPECT_EQ(bytes_text(1023), "1023 bytes");
    EXPECT_EQ(bytes_text(1024), "1.0 KiB");
    EXPECT_EQ(bytes_text((1 << 20) - 1), "1.0 MiB");
    EXPECT_EQ(bytes_text(~std::uint64_t{0}), "16.0 EiB");
    EXPECT_EQ(count_text(0), "0");
    EXPECT_EQ(count_text(999), "999");
    EXPECT_EQ(count_text(1000), "1,000");
    EXPECT_EQ(count_text(1234567), "1,234,567");
}

}  // namespace
}  // namespace pinfold::cli
