// Opening a disk file: what may serve as one, and what the user is told about what may not.
#pragma once

#include <cstdint>
#include <string>

#include "base/unique_fd.hpp"
#include "devices/nvme/disk.hpp"

namespace pinfold::devices::nvme {

struct DiskFile {
    UniqueFd fd;  // close-on-exec, numbered high, out of the way of the client's own
    std::uint64_t size;
};

// A regular file or a block device that is not empty. Takes no lock.
pci::Checked<DiskFile> open_disk_file(std::string const& path, DiskAccess access);

}  // namespace pinfold::devices::nvme
