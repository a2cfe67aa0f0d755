#include "devices/nvme/status.hpp"

namespace pinfold::devices::nvme {

Status status_of(Errno error, Status media_error)
{
    switch (error) {
        case Errno::fault: return Status::data_transfer_error;
        case Errno::nospc: return Status::capacity_exceeded;
        case Errno::rofs:
        case Errno::perm: return Status::namespace_write_protected;
        case Errno::intr: return Status::abort_requested;
        case Errno::nomem: return Status::internal_error;
        default: return media_error;
    }
}

}  // namespace pinfold::devices::nvme
