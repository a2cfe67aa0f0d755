#include "devices/nvme/admin_commands.hpp"

#include <algorithm>
#include <cstring>

#include "devices/nvme/identify.hpp"

namespace pinfold::devices::nvme {

std::optional<Reply> AdminCommands::execute(Command const& command)
{
    switch (AdminOpcode{command.opcode}) {
        case AdminOpcode::delete_sq: return state_.queues.delete_submission(command);
        case AdminOpcode::create_sq: return create_submission_queue(command);
        case AdminOpcode::get_log_page: return get_log_page(command);
        case AdminOpcode::delete_cq: return state_.queues.delete_completion(command);
        case AdminOpcode::create_cq: return create_completion_queue(command);
        case AdminOpcode::identify: return identify(command);
        case AdminOpcode::abort: return abort(command);
        case AdminOpcode::set_features: return set_features(command);
        case AdminOpcode::get_features:
            return state_.features.get(command, static_cast<unsigned>(state_.namespaces.size()));
        case AdminOpcode::async_event_request:
            if (auto const status = state_.events.park(command.id); status != Status::success) {
                return status;
            }
            return std::nullopt;
        case AdminOpcode::keep_alive: return keep_alive();
        case AdminOpcode::doorbell_buffer_config: return configure_doorbells(command);
        case AdminOpcode::format_nvm: return format(command);
    }
    return Status::invalid_opcode;
}

Reply AdminCommands::create_completion_queue(Command const& command)
{
    return state_.queues.create_completion(command, state_.transfer.page_lg2(),
                                           state_.registers.configuration().cq_entry_lg2());
}

Reply AdminCommands::create_submission_queue(Command const& command)
{
    return state_.queues.create_submission(command, state_.transfer.page_lg2(),
                                           state_.registers.configuration().sq_entry_lg2());
}

Reply AdminCommands::identify(Command const& command)
{
    switch (command.cdw10 & 0xff) {
        case 0x00: return identify_one(command, identify_namespace);
        case 0x01:
            return state_.transfer.to_client(
                command, identify_controller(state_.serial, state_.namespaces).bytes());
        case 0x02:
            if (command.nsid >= kBroadcastNsid - 1) return Status::invalid_namespace;
            return state_.transfer.to_client(
                command, active_namespaces(state_.namespaces, command.nsid).bytes());
        case 0x03: return identify_one(command, namespace_descriptors);
        case 0x05:
        case 0x06:
        case 0x07: return identify_command_set(command);
        case 0x1c: return state_.transfer.to_client(command, command_sets().bytes());
        default: return Status::invalid_field;
    }
}

// What hosts of a later version ask for: there is the NVM command set, and it has nothing to add.
Reply AdminCommands::identify_command_set(Command const& command)
{
    constexpr std::uint32_t kNvm = 0;
    if (command.cdw11 >> 24 != kNvm) return Status::invalid_field;
    switch (command.cdw10 & 0xff) {
        case 0x05: return identify_one(command, [](Namespace const&) { return DataPage{}; });
        case 0x06: return state_.transfer.to_client(command, DataPage{}.bytes());
        default:
            if (command.nsid >= kBroadcastNsid - 1) return Status::invalid_namespace;
            return state_.transfer.to_client(
                command, active_namespaces(state_.namespaces, command.nsid).bytes());
    }
}

Reply AdminCommands::identify_one(Command const& command, DataPage (*make)(Namespace const&))
{
    auto const* const ns = state_.find(command.nsid);
    if (ns == nullptr) return Status::invalid_namespace;
    return state_.transfer.to_client(command, make(*ns).bytes());
}

Reply AdminCommands::get_log_page(Command const& command)
{
    // All pages are the controller's, not a namespace's (LPA bit 0 is clear).
    if (command.nsid != 0 && command.nsid != kBroadcastNsid) return Status::invalid_field;

    DataPage page;
    std::size_t page_size = 512;
    switch (LogId{static_cast<std::uint8_t>(command.cdw10)}) {
        case LogId::errors:
            page = state_.errors.page();
            page_size = ErrorLog::kEntries * 64;
            break;
        case LogId::health:
            page = health_page(state_.namespaces, state_.features, state_.errors);
            break;
        case LogId::firmware_slots: page = firmware_page(); break;
        case LogId::commands_supported:
            page = commands_page();
            page_size = 4096;
            break;
        default: return Status::invalid_log_page;
    }

    auto const dwords = (std::uint64_t{low16(command.cdw11)} << 16 | high16(command.cdw10)) + 1;
    auto const offset = std::uint64_t{command.cdw13} << 32 | command.cdw12;
    if ((offset & 3) != 0 || offset > page_size) return Status::invalid_field;
    if (dwords * 4 > kMaxTransfer) return Status::invalid_field;
    // What lies behind the page's end is zero.
    std::vector<std::byte> bytes(dwords * 4);
    std::memcpy(bytes.data(), page.bytes().data() + offset,
                std::min<std::uint64_t>(bytes.size(), page_size - offset));
    auto const status = state_.transfer.to_client(command, bytes);

    bool const retain = (command.cdw10 & 1U << 15) != 0;
    if (status == Status::success && !retain) {
        switch (LogId{static_cast<std::uint8_t>(command.cdw10)}) {
            case LogId::errors: state_.events.acknowledge(AsyncEvents::Type::error); break;
            case LogId::health: state_.events.acknowledge(AsyncEvents::Type::health); break;
            default: break;
        }
    }
    return status;
}

Reply AdminCommands::set_features(Command const& command)
{
    auto& features = state_.features;
    auto const keep_alive_before = features.keep_alive();
    auto const reply = features.set(command, static_cast<unsigned>(state_.namespaces.size()),
                                    state_.queues.any_io_queue());
    if (reply.status != Status::success) return reply;

    switch (FeatureId{static_cast<std::uint8_t>(command.cdw10)}) {
        case FeatureId::number_of_queues:
            state_.queues.allow(features.submission_queues(), features.completion_queues());
            break;
        case FeatureId::temperature_threshold:
        case FeatureId::async_event_configuration:
            if (features.temperature_warning() && features.temperature_event_enabled()) {
                state_.events.happen(AsyncEvents::Type::health, AsyncEvents::kTemperatureThreshold);
            }
            break;
        case FeatureId::keep_alive_timer:
            if (state_.restart_keep_alive()) break;
            features.set_keep_alive(keep_alive_before);
            return Status::internal_error;
        default: break;
    }
    return reply;
}

Reply AdminCommands::keep_alive()
{
    return state_.restart_keep_alive() ? Status::success : Status::internal_error;
}

// 5.7. Both buffers are a page of the host's size.
Reply AdminCommands::configure_doorbells(Command const& command)
{
    auto const in_page = (std::uint64_t{1} << state_.transfer.page_lg2()) - 1;
    if (((command.prp1 | command.prp2) & in_page) != 0) return Status::invalid_field;
    state_.doorbells.set(Iova{command.prp1}, Iova{command.prp2});
    return Status::success;
}

// 5.23. Erasing all user data is what formatting does anyway; there are no keys to erase, no
// metadata and no protection information.
Reply AdminCommands::format(Command const& command)
{
    unsigned const format = command.cdw10 & 0xf, erase = command.cdw10 >> 9 & 7;
    bool const protection = (command.cdw10 >> 4 & 0x1f) != 0;
    if (format >= kFormats.size()) return Status::invalid_format;
    if (protection) return Status::invalid_format;
    if (erase > 1) return Status::invalid_field;
    if (command.nsid == kBroadcastNsid) {
        for (auto& ns : state_.namespaces)
            if (auto const status = format_one(ns, format); status != Status::success)
                return status;
        return Status::success;
    }
    auto* const ns = state_.find(command.nsid);
    return ns == nullptr ? Status::invalid_namespace : format_one(*ns, format);
}

Status AdminCommands::format_one(Namespace& ns, unsigned format)
{
    if (ns.read_only()) return Status::namespace_write_protected;
    if (ns.disk().size() >> kFormats[format] == 0) return Status::invalid_format;
    auto const done = ns.format(kFormats[format], [&] { return state_.transfer.possible(); });
    return done ? Status::success : status_of(done.error(), Status::write_fault);
}

// A command is complete before the host can think of aborting it, unless it is parked. Bit 0 of the
// answer: not aborted.
Reply AdminCommands::abort(Command const& command)
{
    auto const sq_id = low16(command.cdw10);
    auto const command_id = static_cast<std::uint16_t>(high16(command.cdw10));
    bool const aborted = sq_id == 0 && state_.events.abort(command_id);
    return {Status::success, aborted ? 0U : 1U};
}

}  // namespace pinfold::devices::nvme
