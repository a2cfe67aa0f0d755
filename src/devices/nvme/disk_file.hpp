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

// A sole writer of a block device is refused where a file system or another such writer holds it
// (open(2), O_EXCL).
enum class Claim { none, sole_writer };

// A regular file or a block device that is not empty. Takes no lock.
pci::Checked<DiskFile> open_disk_file(std::string const& path, DiskAccess access,
                                      Claim claim = Claim::none);

}  // namespace pinfold::devices::nvme
