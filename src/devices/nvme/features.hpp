// Get Features and Set Features, 5.14, 5.15 and 5.21. None is saveable: a saved value is the
// default, and a reset of the controller brings the defaults back. Not thread safe.
#pragma once

#include <bitset>
#include <cstdint>
#include <optional>

#include "devices/nvme/status.hpp"
#include "devices/nvme/wire.hpp"

namespace pinfold::devices::nvme {

enum class FeatureId : std::uint8_t {
    arbitration = 0x01,
    power_management = 0x02,
    temperature_threshold = 0x04,
    error_recovery = 0x05,
    volatile_write_cache = 0x06,
    number_of_queues = 0x07,
    interrupt_coalescing = 0x08,
    interrupt_vector = 0x09,
    write_atomicity = 0x0a,
    async_event_configuration = 0x0b,
    keep_alive_timer = 0x0f,
};

// The steps of the Keep Alive Timer, 7.12: KAS, and in milliseconds.
inline constexpr std::uint16_t kKeepAliveUnits = 1;
inline constexpr std::uint32_t kKeepAliveStep = kKeepAliveUnits * 100;

// Kelvin. The drive never gets warmer or colder than this.
inline constexpr std::uint16_t kTemperature = 313;
inline constexpr std::uint16_t kWarningTemperature = 343, kCriticalTemperature = 353;

class Features {
public:
    void reset() { current_ = {}; }

    // `namespaces` is how many there are; `io_queues` whether any I/O queue exists.
    Reply get(Command const& command, unsigned namespaces) const;
    Reply set(Command const& command, unsigned namespaces, bool io_queues);

    bool write_cache() const { return current_.write_cache != 0; }
    // Number of Queues: how many the host was granted.
    unsigned submission_queues() const { return low16(current_.queues) + 1; }
    unsigned completion_queues() const { return high16(current_.queues) + 1; }
    // Milliseconds, a multiple of kKeepAliveStep; 0: no Keep Alive is asked for.
    std::uint32_t keep_alive() const { return current_.keep_alive; }
    void set_keep_alive(std::uint32_t milliseconds);
    // The temperature is not where the host wants it; whether it wants to hear of it.
    bool temperature_warning() const;
    bool temperature_event_enabled() const { return (current_.async_events & 2) != 0; }

private:
    struct Values {
        std::uint32_t arbitration = 0;
        std::uint32_t power = 0;
        std::uint32_t over_temperature = kWarningTemperature, under_temperature = 0;
        std::uint32_t error_recovery = 0;
        std::uint32_t write_cache = 1;
        std::uint32_t queues = (kIoQueues - 1) << 16 | (kIoQueues - 1);
        std::uint32_t coalescing = 0;
        std::bitset<kVectors> not_coalesced;
        std::uint32_t write_atomicity = 0;
        std::uint32_t async_events = 0;
        std::uint32_t keep_alive = 0;
    };

    static Reply value(Values const& values, FeatureId id, std::uint32_t cdw11);
    Reply store(FeatureId id, std::uint32_t value, bool io_queues);
    Status set_temperature(std::uint32_t cdw11);
    Reply set_queues(std::uint32_t cdw11, bool io_queues);
    Status set_vector(std::uint32_t cdw11);

    Values current_;
};

}  // namespace pinfold::devices::nvme
