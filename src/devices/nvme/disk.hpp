// A namespace's medium: a regular file or a block device, reached by plain reads and writes in the
// page cache, so that what was written stays when the client is killed.
//
// Not thread safe. The sentences are for the user.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <span>
#include <string>

#include "base/function_ref.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "pci/device.hpp"

namespace pinfold::devices::nvme {

enum class DiskAccess { read_only, read_write };
enum class Durability { cached, on_medium };

// Opens `path` and locks it against other writers, and, for read_write, against readers that expect
// it not to change. Locks are open file description locks that QEMU's tools notice and that notice
// them. The lock lives as long as the descriptor, through fork and exec of others.
pci::Checked<UniqueFd> lock_disk(std::string const& path, DiskAccess access);

class Disk {
public:
    // Takes no lock: whoever starts the run holds it.
    static pci::Checked<Disk> open(std::string const& path, DiskAccess access);

    std::uint64_t size() const { return size_; }
    DiskAccess access() const { return access_; }

    // The whole of `memory`, which may fault: EFAULT. EIO: the file ends before that.
    Result<> read(std::uint64_t offset, std::span<iovec const> memory);
    Result<> write(std::uint64_t offset, std::span<iovec const> memory, Durability durability);
    // Makes the range read as zeros. `deallocate`: give its space back where that works. Asks
    // between its steps whether to go on. EINTR: no, and the rest of the range is as it was.
    enum class Space { keep, deallocate };
    using GoesOn = FunctionRef<bool()>;
    Result<> zero(std::uint64_t offset, std::uint64_t size, Space space, GoesOn goes_on);
    // Gives the range's space back where that works; it then reads as zeros. Otherwise nothing.
    void discard(std::uint64_t offset, std::uint64_t size);
    // Everything written so far is on the medium.
    Result<> flush();

private:
    Disk(UniqueFd file, std::uint64_t size, DiskAccess access)
        : file_{std::move(file)}, size_{size}, access_{access}
    {
    }

    UniqueFd file_;
    std::uint64_t size_;
    DiskAccess access_;
};

}  // namespace pinfold::devices::nvme
