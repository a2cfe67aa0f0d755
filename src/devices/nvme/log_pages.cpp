#include "devices/nvme/log_pages.hpp"

#include <algorithm>

#include "devices/nvme/identify.hpp"

namespace pinfold::devices::nvme {

void ErrorLog::add(CommandError const& error) { errors_[count_++ % kEntries] = error; }

DataPage ErrorLog::page() const
{
    DataPage page;
    auto const shown = std::min<std::uint64_t>(count_, kEntries);
    for (std::uint64_t age = 0; age < shown; ++age) {
        auto const number = count_ - age;  // 1 is the first error ever
        auto const& error = errors_[(number - 1) % kEntries];
        auto const at = static_cast<std::size_t>(age * 64);
        page.put(at + 0, number);
        page.put(at + 8, error.sq_id);
        page.put(at + 10, error.command_id);
        page.put(at + 12, static_cast<std::uint16_t>(nvme::number(error.status) << 1));
        page.put(at + 14, std::uint16_t{0xffff});  // the field at fault is not told
        page.put(at + 16, error.lba);
        page.put(at + 24, error.nsid);
    }
    return page;
}

DataPage health_page(std::span<Namespace const> namespaces, Features const& features,
                     ErrorLog const& errors)
{
    Namespace::Counters total;
    bool read_only = !namespaces.empty();
    for (auto const& ns : namespaces) {
        total.reads += ns.counters().reads;
        total.read_bytes += ns.counters().read_bytes;
        total.writes += ns.counters().writes;
        total.written_bytes += ns.counters().written_bytes;
        read_only = read_only && ns.read_only();
    }
    // Data is counted in thousands of 512 bytes, rounded up.
    constexpr std::uint64_t kUnit = 512'000;

    DataPage page;
    page.put(0, static_cast<std::uint8_t>((features.temperature_warning() ? 2U : 0U) |
                                          (read_only ? 8U : 0U)));
    page.put(1, kTemperature);
    page.put(3, std::uint8_t{100});  // spare blocks, per cent, and where a warning would begin
    page.put(4, std::uint8_t{10});
    page.put(32, (total.read_bytes + kUnit - 1) / kUnit);
    page.put(48, (total.written_bytes + kUnit - 1) / kUnit);
    page.put(64, total.reads);
    page.put(80, total.writes);
    page.put(112, std::uint64_t{1});  // power cycles
    page.put(176, errors.count());
    return page;
}

DataPage firmware_page()
{
    DataPage page;
    page.put(0, std::uint8_t{1});  // slot 1 is active
    page.put_text(8, 8, kFirmware);
    return page;
}

DataPage commands_page()
{
    constexpr std::uint32_t kSupported = 1, kChangesBlocks = 2;
    DataPage page;
    for (auto const opcode :
         {AdminOpcode::delete_sq, AdminOpcode::create_sq, AdminOpcode::get_log_page,
          AdminOpcode::delete_cq, AdminOpcode::create_cq, AdminOpcode::identify, AdminOpcode::abort,
          AdminOpcode::set_features, AdminOpcode::get_features, AdminOpcode::async_event_request,
          AdminOpcode::keep_alive, AdminOpcode::doorbell_buffer_config}) {
        page.put(static_cast<std::size_t>(opcode) * 4, kSupported);
    }
    constexpr std::uint32_t kChangesNamespace = 1 << 3;  // NCC, beside the blocks
    page.put(static_cast<std::size_t>(AdminOpcode::format_nvm) * 4,
             kSupported | kChangesBlocks | kChangesNamespace);
    for (auto const opcode : {IoOpcode::flush, IoOpcode::read, IoOpcode::compare}) {
        page.put(1024 + static_cast<std::size_t>(opcode) * 4, kSupported);
    }
    for (auto const opcode :
         {IoOpcode::write, IoOpcode::write_zeroes, IoOpcode::dataset_management}) {
        page.put(1024 + static_cast<std::size_t>(opcode) * 4, kSupported | kChangesBlocks);
    }
    return page;
}

}  // namespace pinfold::devices::nvme
