// Everything that a machine counts, brought into a Counters.
#include <algorithm>
#include <filesystem>
#include <set>

#include "base/read_section.hpp"
#include "machine/counters.hpp"
#include "machine/parts.hpp"

namespace pinfold::machine {

namespace {

using Word = std::uint64_t;

void set(Word& field, Word value)
{
    std::atomic_ref<Word>{field}.store(value, std::memory_order_relaxed);
}

void raise_to(Word& field, Word value)
{
    std::atomic_ref<Word> word{field};
    auto seen = word.load(std::memory_order_relaxed);
    while (seen < value && !word.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
    }
}

Word get(std::atomic<Word> const& word) { return word.load(std::memory_order_relaxed); }

void publish_mappings(type1::Activity const& activity, Counters& counters)
{
    auto const& mappings = activity.mappings;
    auto const& bytes = activity.bytes;
    set(counters.maps, get(mappings.total));
    set(counters.live_mappings, get(mappings.now));
    set(counters.peak_live_mappings, get(mappings.peak));
    set(counters.unmaps, get(mappings.total) - get(mappings.now));
    set(counters.mapped_bytes, get(bytes.total));
    set(counters.live_bytes, get(bytes.now));
    set(counters.peak_live_bytes, get(bytes.peak));
}

void publish_memory(host::Memory const& memory, host::LockedMemory& locked, Counters& counters)
{
    set(counters.page_size, memory.page_size().bytes());
    set(counters.pinned_pages, memory.pinned_pages());
    set(counters.peak_pinned_pages, memory.peak_pinned_pages());
    set(counters.moved_pages, memory.moved_pages());
    set(counters.charged_pages, locked.charged());
    set(counters.peak_charged_pages, locked.peak());
    auto const limit = locked.limit_pages();
    auto const page_lg2 = memory.page_size().lg2();
    set(counters.memlock_limit,
        limit > (Counters::kUnlimited >> page_lg2) - 1 ? Counters::kUnlimited : limit << page_lg2);
    set(counters.memlock_needed, locked.needed_bytes());
    set(counters.memlock_binds, locked.lock_cap() == host::LockCap::no ? 1 : 0);
}

// Domains come and go with their containers; one that an endpoint is attached to stays for the
// length of a ReadSection.
void publish_leaves(Parts const& parts, Counters& counters)
{
    ReadSection const section;
    std::set<iommu::Domain const*> domains;
    for (auto const& endpoint : parts.endpoints)
        if (auto const* const domain = endpoint->domain()) domains.insert(domain);
    iommu::LeafCounts sum{};
    for (auto const* const domain : domains) {
        auto const leaves = domain->leaves();
        std::ranges::transform(sum, leaves, sum.begin(), std::plus{});
    }
    for (std::size_t lg2 = 0; lg2 < sum.size(); ++lg2) {
        raise_to(counters.leaves[lg2], sum[lg2]);
        raise_to(counters.leaves[lg2], get(parts.activity.most_leaves[lg2]));
    }
}

template <std::size_t N>
void copy_text(std::array<char, N>& into, std::string_view text)
{
    auto const kept = text.substr(0, N - 1);
    std::ranges::fill(std::ranges::copy(kept, into.begin()).out, into.end(), '\0');
}

// The first faults of the run, in the order of devices.
void publish_faults(Parts const& parts, Counters& counters)
{
    Word recorded = 0;
    for (Word device = 0; device < parts.endpoints.size(); ++device) {
        for (auto const& fault : parts.endpoints[device]->faults().records()) {
            if (recorded == Counters::kFaults) break;
            auto& record = counters.first_faults[recorded++];
            set(record.iova, fault.iova.raw());
            set(record.access, static_cast<Word>(fault.access));
            set(record.reason, static_cast<Word>(fault.reason));
            set(record.device, device);
        }
    }
    set(counters.fault_records, recorded);
}

void publish_functions(Parts const& parts, Description const& description, Counters& counters)
{
    Word interrupts = 0;
    Word faults = 0;
    pci::DmaPort::Counters dma;
    for (std::size_t i = 0; i < parts.functions.size(); ++i) {
        auto const& function = *parts.functions[i];
        auto const counts = function.counters();
        auto const faulted = parts.endpoints[i]->faults().count();
        interrupts += counts.interrupts;
        faults += faulted;
        dma.reads += counts.dma.reads;
        dma.read_bytes += counts.dma.read_bytes;
        dma.writes += counts.dma.writes;
        dma.written_bytes += counts.dma.written_bytes;
        if (i >= Counters::kDevices) continue;
        auto& line = counters.devices[i];
        copy_text(line.bdf, function.name());
        // Of a shared object, its name without the way there.
        copy_text(line.model,
                  std::filesystem::path{description.devices[i].spec.model}.stem().string());
        copy_text(line.summary, function.summary());
        set(line.dma_bytes, counts.dma.read_bytes + counts.dma.written_bytes);
        set(line.interrupts, counts.interrupts);
        set(line.faults, faulted);
    }
    set(counters.interrupts, interrupts);
    set(counters.faults, faults);
    set(counters.dma_reads, dma.reads);
    set(counters.dma_read_bytes, dma.read_bytes);
    set(counters.dma_writes, dma.writes);
    set(counters.dma_written_bytes, dma.written_bytes);
    set(counters.device_count, parts.functions.size());
}

void publish_exposure(type1::Exposure const& exposure, Counters& counters)
{
    set(counters.exposure_mappings, exposure.mappings());
    set(counters.exposure_bytes, exposure.bytes());
    auto const records = exposure.records();
    auto const shown = std::min(records.size(), Counters::kExposures);
    for (std::size_t i = 0; i < shown; ++i) {
        auto& record = counters.first_exposures[i];
        set(record.start, records[i].memory.start.raw());
        set(record.last, records[i].memory.last.raw());
        set(record.before, records[i].before);
        set(record.behind, records[i].behind);
    }
    set(counters.exposure_records, shown);
}

}  // namespace

void publish_parts(Parts const& parts, Description const& description, host::Process& process,
                   Counters& counters)
{
    publish_mappings(parts.activity, counters);
    publish_memory(*parts.memory, process.locked_memory(), counters);
    publish_leaves(parts, counters);
    publish_functions(parts, description, counters);
    publish_faults(parts, counters);
    if (description.policy == type1::SubpagePolicy::subpage)
        publish_exposure(parts.activity.exposure, counters);
    set(counters.unverified, parts.coarse ? 1 : 0);
}

}  // namespace pinfold::machine
