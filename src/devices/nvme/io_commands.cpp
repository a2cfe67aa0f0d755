#include "devices/nvme/io_commands.hpp"

#include <algorithm>
#include <cstring>

namespace pinfold::devices::nvme {
namespace {

// The range that Read, Write, Compare and Write Zeroes name.
struct Extent {
    std::uint64_t first, count;  // blocks
    std::uint64_t offset, size;  // bytes
    bool force_unit_access;

    // REQUIRES: used only after Namespace::check_range(first, count).
    static Extent of(Command const& command, Namespace const& ns)
    {
        auto const first = std::uint64_t{command.cdw11} << 32 | command.cdw10;
        auto const count = std::uint64_t{low16(command.cdw12)} + 1;
        return {first, count, first << ns.block_lg2(), count << ns.block_lg2(),
                (command.cdw12 & 1U << 30) != 0};
    }
};

// What every transfer checks first. Data of more than MDTS is invalid wherever it lies.
Status check(Extent const& extent, Namespace const& ns)
{
    if (extent.size > kMaxTransfer) return Status::invalid_field;
    return ns.check_range(extent.first, extent.count);
}

// A Dataset Management range, 6.7.
struct Range {
    std::uint32_t attributes;
    std::uint32_t count;
    std::uint64_t first;
};
static_assert(sizeof(Range) == 16);

}  // namespace

Reply IoCommands::execute(Command const& command)
{
    auto const opcode = IoOpcode{command.opcode};
    if (opcode == IoOpcode::flush) return flush(command);

    auto* const ns = state_.find(command.nsid);
    auto const on_namespace = [&](Status (IoCommands::*run)(Command const&, Namespace&)) -> Reply {
        return ns == nullptr ? Status::invalid_namespace : (this->*run)(command, *ns);
    };
    switch (opcode) {
        case IoOpcode::read: return on_namespace(&IoCommands::read);
        case IoOpcode::write: return on_namespace(&IoCommands::write);
        case IoOpcode::compare: return on_namespace(&IoCommands::compare);
        case IoOpcode::write_zeroes: return on_namespace(&IoCommands::write_zeroes);
        case IoOpcode::dataset_management: return on_namespace(&IoCommands::manage_dataset);
        default: return Status::invalid_opcode;
    }
}

Status IoCommands::flush_one(Namespace& ns)
{
    ++ns.counters().flushes;
    auto const done = ns.disk().flush();
    return done ? Status::success : status_of(done.error(), Status::write_fault);
}

Status IoCommands::flush(Command const& command)
{
    if (command.nsid == kBroadcastNsid) {
        for (auto& ns : state_.namespaces) {
            if (auto const status = flush_one(ns); status != Status::success) return status;
        }
        return Status::success;
    }
    auto* const ns = state_.find(command.nsid);
    return ns == nullptr ? Status::invalid_namespace : flush_one(*ns);
}

Status IoCommands::read(Command const& command, Namespace& ns)
{
    auto const extent = Extent::of(command, ns);
    if (auto const status = check(extent, ns); status != Status::success) return status;
    // Forced: what is read has to be on the medium.
    if (extent.force_unit_access && !ns.disk().flush()) return Status::unrecovered_read_error;

    auto const status = state_.transfer.stream(
        command, extent.size, Access::write, Status::unrecovered_read_error,
        [&](std::span<iovec const> memory) { return ns.disk().read(extent.offset, memory); });
    if (status == Status::success) {
        ++ns.counters().reads;
        ns.counters().read_bytes += extent.size;
    }
    return status;
}

// Without the volatile write cache every write is forced.
Durability IoCommands::durability_of(bool force_unit_access) const
{
    return force_unit_access || !state_.features.write_cache() ? Durability::on_medium
                                                               : Durability::cached;
}

void IoCommands::count_write(Namespace& ns, std::uint64_t bytes, Durability durability)
{
    ++ns.counters().writes;
    ns.counters().written_bytes += bytes;
    if (durability == Durability::on_medium) ++ns.counters().forced;
}

Status IoCommands::write(Command const& command, Namespace& ns)
{
    auto const extent = Extent::of(command, ns);
    if (auto const status = check(extent, ns); status != Status::success) return status;
    if (ns.read_only()) return Status::namespace_write_protected;
    if ((command.cdw12 >> 20 & 0xf) != 0) return Status::invalid_field;  // DTYPE: no directives

    auto const durability = durability_of(extent.force_unit_access);
    auto const status =
        state_.transfer.stream(command, extent.size, Access::read, Status::write_fault,
                               [&](std::span<iovec const> memory) {
                                   return ns.disk().write(extent.offset, memory, durability);
                               });
    if (status == Status::success) count_write(ns, extent.size, durability);
    return status;
}

Status IoCommands::compare(Command const& command, Namespace& ns)
{
    auto const extent = Extent::of(command, ns);
    if (auto const status = check(extent, ns); status != Status::success) return status;

    theirs_.resize(extent.size);
    ours_.resize(extent.size);
    if (auto const status = state_.transfer.from_client(command, theirs_);
        status != Status::success) {
        return status;
    }
    iovec const memory{ours_.data(), ours_.size()};
    if (auto const done = ns.disk().read(extent.offset, {&memory, 1}); !done) {
        return status_of(done.error(), Status::unrecovered_read_error);
    }
    ++ns.counters().reads;
    ns.counters().read_bytes += extent.size;
    return std::ranges::equal(ours_, theirs_) ? Status::success : Status::compare_failure;
}

Status IoCommands::write_zeroes(Command const& command, Namespace& ns)
{
    auto const extent = Extent::of(command, ns);
    if (auto const status = ns.check_range(extent.first, extent.count); status != Status::success) {
        return status;
    }
    if (ns.read_only()) return Status::namespace_write_protected;

    bool const deallocate = (command.cdw12 & 1U << 25) != 0;
    auto done = ns.disk().zero(extent.offset, extent.size,
                               deallocate ? Disk::Space::deallocate : Disk::Space::keep,
                               [&] { return state_.transfer.possible(); });
    auto const durability = durability_of(extent.force_unit_access);
    if (done && durability == Durability::on_medium) done = ns.disk().flush();
    if (!done) return status_of(done.error(), Status::write_fault);
    count_write(ns, extent.size, durability);
    return Status::success;
}

// Attributes other than Deallocate are hints that nothing follows from.
Status IoCommands::manage_dataset(Command const& command, Namespace& ns)
{
    std::array<Range, 256> storage;
    auto const ranges = std::span{storage}.first((command.cdw10 & 0xff) + 1);
    if (auto const status = state_.transfer.from_client(command, std::as_writable_bytes(ranges));
        status != Status::success) {
        return status;
    }
    for (auto const& range : ranges) {
        if (auto const status = ns.check_range(range.first, range.count);
            status != Status::success) {
            return status;
        }
    }
    bool const deallocate = (command.cdw11 & 4) != 0;
    if (!deallocate) return Status::success;
    if (ns.read_only()) return Status::namespace_write_protected;
    for (auto const& range : ranges) {
        if (!state_.transfer.possible()) return Status::abort_requested;
        ns.disk().discard(range.first << ns.block_lg2(),
                          std::uint64_t{range.count} << ns.block_lg2());
    }
    return Status::success;
}

}  // namespace pinfold::devices::nvme
