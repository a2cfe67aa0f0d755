// The one interface through which a client's calls reach the engine. A Call and a Reply are plain
// values, and whatever a call needs of its process comes through a Client, so a call can be made
// from another process: by a message that carries the Call, with a Client that reaches back over
// that connection.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "base/address.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "host/device_memory.hpp"
#include "host/process.hpp"

namespace pinfold::uapi {

// An open file description of ours: a container, a group or a device. Descriptors share it by dup
// and fork.
enum class FileId : std::uint32_t { none = 0 };

// That the DMA of a group is a user's.
using DmaClaim = std::shared_ptr<void const>;

// The process that makes a call.
class Client {
public:
    virtual ~Client() = default;
    virtual host::Process& process() = 0;
    // The description behind a descriptor of the client. EBADF: the descriptor is not open.
    // FileId::none: it is open and not ours.
    virtual Result<FileId> file(int fd) = 0;
    // A reference of our own to the client's eventfd. EBADF: not open. EINVAL: not an eventfd.
    virtual Result<UniqueFd> eventfd(int fd) = 0;
    // A new descriptor of the client for `file`, close-on-exec. EMFILE. On success the descriptor
    // owns `file`.
    virtual Result<int> install(FileId file) = 0;
    // Whether the device of that name is bound to vfio-pci now. It is where nobody can unbind it.
    virtual bool bound(std::string_view) { return true; }
    // Whether a driver that uses DMA by itself has a device of the group.
    virtual bool in_use_by_kernel(unsigned) { return false; }
    // Keeps such drivers from the group for as long as what comes back lives. EPERM: one has a
    // device of it.
    virtual Result<DmaClaim> claim_dma(unsigned) { return DmaClaim{}; }
};

struct Call {
    enum class Op : std::uint8_t {
        ioctl,
        read,
        write,
        read_next,  // at the file's position, which moves on by what was read
        write_next,
        mmio_read,
        mmio_write
    };
    FileId file = FileId::none;
    Op op = Op::ioctl;
    std::uint32_t request = 0;  // ioctl: the number
    std::uint64_t arg =
        0;  // ioctl: the argument as passed; read, write: the buffer's vaddr; mmio_write: the value
    std::uint64_t size = 0;  // read, write: count; mmio: 1, 2, 4 or 8
    std::uint64_t offset =
        0;  // read, write, mmio: offset in the device file (region << 40 | offset)
};

// What a system call gives: a value >= 0, or an errno. mmio_read: the value read.
using Reply = Result<std::uint64_t>;

// How a stretch of a BAR is to be mapped into a client that called mmap on a device descriptor.
struct BarMapping {
    int memory = -1;             // a memory descriptor of the engine's, valid for the device's life
    std::uint64_t offset = 0;    // where in it the mapping starts
    std::vector<bool> readable;  // one for each 4 KiB page: mapped readable, or without any access
    std::uint64_t region_offset =
        0;  // the mapping's start as an offset in the device file, for mmio calls
    // The device's memory as other devices reach it, and the paddr of the mapping's start.
    host::DeviceMemory const* device = nullptr;
    Paddr paddr;
};

}  // namespace pinfold::uapi
