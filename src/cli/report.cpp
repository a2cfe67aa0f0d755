#include "cli/report.hpp"

#include <fmt/format.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "iommu/fault_log.hpp"
#include "machine/text.hpp"

namespace pinfold::cli {

namespace {

using machine::Counters;

// Rows of a name and what there is to say, aligned.
class Page {
public:
    explicit Page(Colour colour) : colour_{colour} {}
    void title(std::string_view text)
    {
        text_ += colour_ == Colour::yes ? fmt::format("\x1b[1m{}\x1b[0m\n", text)
                                        : fmt::format("{}\n", text);
    }
    void row(std::string_view name, std::string_view said)
    {
        text_ += fmt::format("  {:<11} {}\n", name, said);
    }
    void gap() { text_ += '\n'; }
    std::string take() { return std::move(text_); }

private:
    Colour colour_;
    std::string text_;
};

std::string plural(std::uint64_t count, std::string_view one, std::string_view many)
{
    return fmt::format("{} {}", count_text(count), count == 1 ? one : many);
}

std::string ending(int status)
{
    if (WIFSIGNALED(status)) return fmt::format("ended by SIG{}", ::sigabbrev_np(WTERMSIG(status)));
    return fmt::format("exit status {}", WEXITSTATUS(status));
}

std::string limit_text(Counters const& run)
{
    if (run.memlock_binds == 0) return "no limit (CAP_IPC_LOCK)";
    if (run.memlock_limit == Counters::kUnlimited) return "no limit";
    return fmt::format("limit {}", bytes_text(run.memlock_limit));
}

bool refused(Counters const& run)
{
    return run.memlock_binds != 0 && run.memlock_needed > run.memlock_limit;
}

std::string leaves_text(Counters const& run)
{
    std::string text;
    for (std::size_t lg2 = 0; lg2 < run.leaves.size(); ++lg2)
        if (run.leaves[lg2] != 0)
            text += fmt::format("{}{} of {}", text.empty() ? "" : ", ", count_text(run.leaves[lg2]),
                                machine::size_text(std::uint64_t{1} << lg2));
    return text.empty() ? "none" : text + " (most at once)";
}

void mapping_rows(Page& page, Counters const& run)
{
    page.row("mapped", fmt::format("{}, {} in all", plural(run.maps, "mapping", "mappings"),
                                   bytes_text(run.mapped_bytes)));
    page.row("", fmt::format("at most {} at once, {}; {} left at the end",
                             count_text(run.peak_live_mappings), bytes_text(run.peak_live_bytes),
                             run.live_mappings == 0 ? "none" : count_text(run.live_mappings)));
    page.row(
        "pinned",
        fmt::format("at most {} of {} ({}), {}", plural(run.peak_pinned_pages, "page", "pages"),
                    machine::size_text(run.page_size),
                    bytes_text(run.peak_pinned_pages * run.page_size), limit_text(run)));
    if (refused(run))
        page.row("", fmt::format("refused: it needed {}", bytes_text(run.memlock_needed)));
    if (run.moved_pages != 0)
        page.row("", fmt::format("{} kept for devices after the program had given them up",
                                 plural(run.moved_pages, "page", "pages")));
    page.row("leaves", leaves_text(run));
}

void exposure_rows(Page& page, Counters const& run)
{
    if (run.exposure_mappings == 0) return;
    page.row("kept away",
             fmt::format("{} of parts of pages; whole pages would have shown devices {} more",
                         plural(run.exposure_mappings, "mapping", "mappings"),
                         bytes_text(run.exposure_bytes)));
    auto const shown = std::min<std::uint64_t>(run.exposure_records, Counters::kExposures);
    for (std::size_t i = 0; i < shown; ++i) {
        auto const& record = run.first_exposures[i];
        page.row("", fmt::format("{:#x} to {:#x}: {} before, {} behind", record.start, record.last,
                                 bytes_text(record.before), bytes_text(record.behind)));
    }
}

void traffic_rows(Page& page, Counters const& run)
{
    page.row("DMA",
             fmt::format("{} in {} from memory, {} in {} to memory", bytes_text(run.dma_read_bytes),
                         plural(run.dma_reads, "operation", "operations"),
                         bytes_text(run.dma_written_bytes),
                         plural(run.dma_writes, "operation", "operations")));
    page.row("interrupts", count_text(run.interrupts));
    page.row("registers",
             fmt::format("{} trapped", plural(run.mmio_traps, "mapped access", "mapped accesses")));
}

template <std::size_t N>
std::string_view text_of(std::array<char, N> const& text)
{
    return {text.data(), ::strnlen(text.data(), N)};
}

void fault_rows(Page& page, Counters const& run)
{
    page.row("faults", run.faults == 0 ? "none" : count_text(run.faults));
    auto const shown = std::min<std::uint64_t>(run.fault_records, Counters::kFaults);
    for (std::size_t i = 0; i < shown; ++i) {
        auto const& fault = run.first_faults[i];
        auto const device = std::min<std::uint64_t>(fault.device, Counters::kDevices - 1);
        page.row("", fmt::format(
                         "{} {} iova {:#x}: {}", text_of(run.devices[device].bdf),
                         fault.access == static_cast<std::uint64_t>(Access::read) ? "reading from"
                                                                                  : "writing to",
                         fault.iova, describe(static_cast<iommu::FaultReason>(fault.reason))));
    }
    if (run.faults > shown && shown > 0)
        page.row("", fmt::format("and {} more", count_text(run.faults - shown)));
}

void device_rows(Page& page, Counters const& run)
{
    auto const shown = std::min<std::uint64_t>(run.device_count, Counters::kDevices);
    for (std::size_t i = 0; i < shown; ++i) {
        auto const& device = run.devices[i];
        auto const summary = text_of(device.summary);
        page.row(i == 0 ? "devices" : "",
                 fmt::format("{} {}: {} of DMA, {}{}{}", text_of(device.bdf), text_of(device.model),
                             bytes_text(device.dma_bytes),
                             plural(device.interrupts, "interrupt", "interrupts"),
                             summary.empty() ? "" : "; ", summary));
    }
}

}  // namespace

std::string count_text(std::uint64_t count)
{
    auto digits = fmt::format("{}", count);
    for (auto at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, 1, ',');
    return digits;
}

std::string bytes_text(std::uint64_t bytes)
{
    constexpr std::array kUnits{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (bytes < 1024) return fmt::format("{} bytes", bytes);
    double scaled = static_cast<double>(bytes) / 1024;
    std::size_t unit = 0;
    // What would be printed as 1024.0 is 1.0 of the next.
    for (; scaled >= 1023.95 && unit + 1 < kUnits.size(); ++unit) scaled /= 1024;
    return fmt::format("{:.1f} {}", scaled, kUnits[unit]);
}

std::string report(RunOutcome const& outcome, Colour colour)
{
    Page page{colour};
    page.title(fmt::format("{} on machine {}: {}, {:.2f} s",
                           std::filesystem::path{outcome.program}.filename().string(),
                           outcome.machine, ending(outcome.status), outcome.seconds));
    if (outcome.engines.empty()) page.row("", "It opened no VFIO file.");
    for (auto const& run : outcome.engines) {
        if (outcome.engines.size() > 1) {
            page.gap();
            page.title(fmt::format("process {}", run.pid));
        }
        if (run.unverified != 0)
            page.row("unverified",
                     "the IOMMU's pages are larger than the host's: no Linux runs on that");
        mapping_rows(page, run);
        exposure_rows(page, run);
        traffic_rows(page, run);
        fault_rows(page, run);
        device_rows(page, run);
    }
    return page.take();
}

std::optional<std::string> memlock_hint(RunOutcome const& outcome)
{
    if (outcome.status == 0) return std::nullopt;
    auto const hungriest = std::ranges::max_element(outcome.engines, {}, [](Counters const& run) {
        return refused(run) ? run.memlock_needed : 0;
    });
    if (hungriest == outcome.engines.end() || !refused(*hungriest)) return std::nullopt;
    auto const kib = (hungriest->memlock_needed + 1023) / 1024;
    return fmt::format(
        "the program was refused locked memory: it needed {} (limit {}). "
        "Try: ulimit -l {}, or pinfold run --memlock {}",
        bytes_text(hungriest->memlock_needed), bytes_text(hungriest->memlock_limit), kib,
        machine::size_text(kib * 1024));
}

}  // namespace pinfold::cli
