// Asynchronous events, 5.2: requests that the host parks here, and events that complete them. An
// event of a type is told once; the next one of that type waits until the host has read the log
// page that belongs to it. Not thread safe.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "devices/nvme/status.hpp"

namespace pinfold::devices::nvme {

class AsyncEvents {
public:
    enum class Type : std::uint8_t { error = 0, health = 1 };
    // Information, by type.
    static constexpr unsigned kInvalidDoorbellRegister = 0, kInvalidDoorbellValue = 1;  // error
    static constexpr unsigned kTemperatureThreshold = 1;                                // health

    static constexpr std::size_t kLimit = 4;  // AERL + 1

    // Async_event_limit, command_id_conflict; success: the request is parked, not completed.
    Status park(std::uint16_t command_id);
    // False: no such request is parked.
    bool abort(std::uint16_t command_id);
    void happen(Type type, unsigned information);
    // The host has read the log page of this type without asking to keep the event.
    void acknowledge(Type type);
    void reset();

    struct Answer {
        std::uint16_t command_id;
        Reply reply;
    };
    // The next parked request that is to be completed now.
    std::optional<Answer> next();

private:
    std::deque<std::uint16_t> parked_;
    std::deque<std::uint16_t> aborted_;
    std::array<std::uint8_t, 2> waiting_{};  // by type, a bit for each information
    std::array<bool, 2> told_{};             // by type
};

}  // namespace pinfold::devices::nvme
