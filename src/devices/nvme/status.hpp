// How a command ends, 4.6.1. A value is the completion's status field: status code, type << 8, and
// Do Not Retry << 14 where trying again cannot help.
#pragma once

#include <cstdint>
#include <expected>

#include "base/errno.hpp"

namespace pinfold::devices::nvme {

enum class Status : std::uint16_t {
    success = 0,

    // Generic (type 0).
    invalid_opcode = 0x4001,
    invalid_field = 0x4002,
    command_id_conflict = 0x4003,
    data_transfer_error = 0x0004,
    internal_error = 0x0006,
    abort_requested = 0x0007,
    invalid_namespace = 0x400b,
    command_sequence_error = 0x400c,
    sgl_segment_invalid = 0x400d,
    sgl_number_invalid = 0x400e,
    sgl_length_invalid = 0x400f,
    sgl_type_invalid = 0x4011,
    prp_offset_invalid = 0x4013,
    keep_alive_expired = 0x0019,
    namespace_write_protected = 0x4020,
    lba_out_of_range = 0x4080,
    capacity_exceeded = 0x0081,

    // Command specific (type 1).
    completion_queue_invalid = 0x4100,
    invalid_queue_identifier = 0x4101,
    invalid_queue_size = 0x4102,
    async_event_limit = 0x4105,
    invalid_interrupt_vector = 0x4108,
    invalid_log_page = 0x4109,
    invalid_format = 0x410a,
    invalid_queue_deletion = 0x410c,
    feature_not_saveable = 0x410d,
    feature_not_changeable = 0x410e,
    feature_not_namespace_specific = 0x410f,

    // Media (type 2).
    write_fault = 0x0280,
    unrecovered_read_error = 0x0281,
    compare_failure = 0x0285,
};

constexpr std::uint16_t number(Status status) { return static_cast<std::uint16_t>(status); }

// A command's answer: its status and dword 0.
struct Reply {
    Reply(Status s) : status{s} {}  // NOLINT(google-explicit-constructor): most answers are that
    Reply(Status s, std::uint32_t dword) : status{s}, result{dword} {}

    Status status;
    std::uint32_t result = 0;
};

// What the host is told when the disk file answers `error`. REQUIRES: the transfer as such was
// valid.
Status status_of(Errno error, Status media_error);

}  // namespace pinfold::devices::nvme
