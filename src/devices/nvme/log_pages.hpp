// The log pages, 5.14.1: errors, health, firmware slots, supported commands. Not thread safe.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "devices/nvme/data_page.hpp"
#include "devices/nvme/features.hpp"
#include "devices/nvme/namespace.hpp"
#include "devices/nvme/status.hpp"

namespace pinfold::devices::nvme {

enum class LogId : std::uint8_t {
    errors = 0x01,
    health = 0x02,
    firmware_slots = 0x03,
    commands_supported = 0x05,
};

struct CommandError {
    std::uint16_t sq_id;
    std::uint16_t command_id;
    Status status;
    std::uint64_t lba;
    std::uint32_t nsid;
};

class ErrorLog {
public:
    static constexpr std::size_t kEntries = 16;  // ELPE + 1

    void add(CommandError const& error);
    std::uint64_t count() const { return count_; }
    void reset() { *this = {}; }
    // The newest first.
    DataPage page() const;

private:
    std::array<CommandError, kEntries> errors_{};
    std::uint64_t count_ = 0;
};

DataPage health_page(std::span<Namespace const> namespaces, Features const& features,
                     ErrorLog const& errors);
DataPage firmware_page();
DataPage commands_page();

}  // namespace pinfold::devices::nvme
