#include "devices/nvme/features.hpp"

#include <algorithm>
#include <limits>

namespace pinfold::devices::nvme {
namespace {

enum Select : std::uint32_t { kCurrent = 0, kDefault = 1, kSaved = 2, kCapabilities = 3 };

// Bits of what Select 3 answers.
constexpr std::uint32_t kNamespaceSpecific = 2, kChangeable = 4;

FeatureId id_of(Command const& command)
{
    return FeatureId{static_cast<std::uint8_t>(command.cdw10)};
}

bool names_namespace(Command const& command)
{
    return command.nsid != 0 && command.nsid != kBroadcastNsid;
}

// Temperature Threshold, 5.21.1.4: the composite temperature is the only sensor.
struct Threshold {
    std::uint32_t kelvin, sensor, type;
    static Threshold of(std::uint32_t cdw11)
    {
        return {low16(cdw11), cdw11 >> 16 & 0xf, cdw11 >> 20 & 3};
    }
    bool over() const { return type == 0; }
    bool valid() const { return type < 2; }
};

}  // namespace

bool Features::temperature_warning() const
{
    return kTemperature >= current_.over_temperature || kTemperature <= current_.under_temperature;
}

Reply Features::get(Command const& command, unsigned namespaces) const
{
    auto const id = id_of(command);
    auto const select = command.cdw10 >> 8 & 7;
    if (names_namespace(command) && command.nsid > namespaces) return Status::invalid_namespace;

    auto const reply = value(select == kCurrent ? current_ : Values{}, id, command.cdw11);
    if (reply.status != Status::success) return reply;
    if (select == kCapabilities) {
        auto const specific = id == FeatureId::error_recovery ? kNamespaceSpecific : 0;
        return {Status::success, kChangeable | specific};
    }
    return select > kCapabilities ? Status::invalid_field : reply;
}

Reply Features::value(Values const& values, FeatureId id, std::uint32_t cdw11)
{
    auto const ok = [](std::uint32_t result) { return Reply{Status::success, result}; };
    switch (id) {
        case FeatureId::arbitration: return ok(values.arbitration);
        case FeatureId::power_management: return ok(values.power);
        case FeatureId::temperature_threshold: {
            auto const threshold = Threshold::of(cdw11);
            if (!threshold.valid() || threshold.sensor != 0) return Status::invalid_field;
            return ok(threshold.over() ? values.over_temperature : values.under_temperature);
        }
        case FeatureId::error_recovery: return ok(values.error_recovery);
        case FeatureId::volatile_write_cache: return ok(values.write_cache);
        case FeatureId::number_of_queues: return ok(values.queues);
        case FeatureId::interrupt_coalescing: return ok(values.coalescing);
        case FeatureId::interrupt_vector: {
            auto const vector = low16(cdw11);
            if (vector >= kVectors) return Status::invalid_field;
            return ok(vector | (values.not_coalesced[vector] ? 1U << 16 : 0U));
        }
        case FeatureId::write_atomicity: return ok(values.write_atomicity);
        case FeatureId::async_event_configuration: return ok(values.async_events);
        case FeatureId::keep_alive_timer: return ok(values.keep_alive);
    }
    return Status::invalid_field;
}

Reply Features::set(Command const& command, unsigned namespaces, bool io_queues)
{
    auto const id = id_of(command);
    if (auto const known = value(Values{}, id, 0); known.status != Status::success) return known;
    if ((command.cdw10 & 1U << 31) != 0) return Status::feature_not_saveable;
    if (names_namespace(command)) {
        if (command.nsid > namespaces) return Status::invalid_namespace;
        // QEMU's NVMe driver names the namespace when it sets the write cache, and drives take it.
        if (id != FeatureId::error_recovery && id != FeatureId::volatile_write_cache) {
            return Status::feature_not_namespace_specific;
        }
    }
    return store(id, command.cdw11, io_queues);
}

Reply Features::store(FeatureId id, std::uint32_t cdw11, bool io_queues)
{
    switch (id) {
        case FeatureId::arbitration: current_.arbitration = cdw11 & 0xffff'ff07; break;
        case FeatureId::power_management:
            if ((cdw11 & 0x1f) != 0) return Status::invalid_field;  // there is one power state
            current_.power = cdw11 & 0xe0;
            break;
        case FeatureId::temperature_threshold: return set_temperature(cdw11);
        case FeatureId::error_recovery:
            // Deallocated blocks can be read: no error for them can be asked for.
            if ((cdw11 & 1U << 16) != 0) return Status::invalid_field;
            current_.error_recovery = low16(cdw11);
            break;
        case FeatureId::volatile_write_cache: current_.write_cache = cdw11 & 1; break;
        case FeatureId::number_of_queues: return set_queues(cdw11, io_queues);
        case FeatureId::interrupt_coalescing: current_.coalescing = low16(cdw11); break;
        case FeatureId::interrupt_vector: return set_vector(cdw11);
        case FeatureId::write_atomicity: current_.write_atomicity = cdw11 & 1; break;
        case FeatureId::async_event_configuration: current_.async_events = cdw11 & 0xff; break;
        case FeatureId::keep_alive_timer: set_keep_alive(cdw11); break;
    }
    return Status::success;
}

// Rounded up, as far as 32 bits go.
void Features::set_keep_alive(std::uint32_t milliseconds)
{
    constexpr auto kMost = std::numeric_limits<std::uint32_t>::max() / kKeepAliveStep;
    auto const steps = milliseconds / kKeepAliveStep + (milliseconds % kKeepAliveStep != 0 ? 1 : 0);
    current_.keep_alive = std::min(steps, kMost) * kKeepAliveStep;
}

Status Features::set_temperature(std::uint32_t cdw11)
{
    auto const threshold = Threshold::of(cdw11);
    constexpr std::uint32_t kAllSensors = 0xf;
    if (!threshold.valid() || (threshold.sensor != 0 && threshold.sensor != kAllSensors)) {
        return Status::invalid_field;
    }
    (threshold.over() ? current_.over_temperature : current_.under_temperature) = threshold.kelvin;
    return Status::success;
}

Reply Features::set_queues(std::uint32_t cdw11, bool io_queues)
{
    if (io_queues) return Status::command_sequence_error;
    if (low16(cdw11) == 0xffff || high16(cdw11) == 0xffff) return Status::invalid_field;
    current_.queues = std::min(low16(cdw11), kIoQueues - 1) | std::min(high16(cdw11), kIoQueues - 1)
                                                                  << 16;
    return {Status::success, current_.queues};
}

Status Features::set_vector(std::uint32_t cdw11)
{
    if (low16(cdw11) >= kVectors) return Status::invalid_field;
    current_.not_coalesced[low16(cdw11)] = (cdw11 & 1U << 16) != 0;
    return Status::success;
}

}  // namespace pinfold::devices::nvme
