// An open file description: what the three kinds of VFIO file have in common. A file answers what
// it knows and leaves the rest to the answers below, which are those of the kernel for a file
// without that operation.
//
// Thread safety: any call from any thread, several at once. A file is destroyed when its last
// descriptor is gone and no call is inside it any more; the destructor is the release.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

#include "base/function_ref.hpp"
#include "uapi/call.hpp"

namespace pinfold::type1 {
class Container;
}

namespace pinfold::uapi {

class File {
public:
    File() = default;
    virtual ~File() = default;
    File(File const&) = delete;
    File& operator=(File const&) = delete;

    // ENOTTY: no such request here (some files say EINVAL). EFAULT: `arg` is not accessible.
    virtual Reply ioctl(Client& client, std::uint32_t request, std::uint64_t arg) = 0;

    // pread(2) and pwrite(2). EINVAL here: the file cannot be read or written.
    virtual Reply read(Client& client, Vaddr buffer, std::uint64_t size, std::uint64_t offset);
    virtual Reply write(Client& client, Vaddr buffer, std::uint64_t size, std::uint64_t offset);

    // read(2) and write(2): `transfer` at the file's position, which moves on by what it gives. As
    // on Linux, two at once may find the same position.
    Reply at_position(FunctionRef<Reply(std::uint64_t offset)> transfer);

    // A trapped access to a mapped BAR; `size` is 1, 2, 4 or 8. EINVAL here: nothing can be mapped.
    virtual Reply mmio_read(std::uint64_t offset, unsigned size);
    virtual Reply mmio_write(std::uint64_t offset, unsigned size, std::uint64_t value);

    // mmap(2). ENODEV here: the file cannot be mapped.
    virtual Result<BarMapping> mmap(std::uint64_t offset, std::uint64_t size, bool shared);

    // The number of the group that this file is; nullopt: it is no group file.
    virtual std::optional<unsigned> group_number() const { return std::nullopt; }
    // The container that this file is; nullptr: it is no container file.
    virtual std::shared_ptr<type1::Container> container() const { return nullptr; }

private:
    friend class FileTable;
    std::atomic<std::uint64_t> position_{0};
    FileId id_ = FileId::none;  // from the moment on that the table has it
};

// What a file may ask about other files: to judge a descriptor that it was handed.
class Files {
public:
    virtual ~Files() = default;
    // The group that a description is. nullopt: it is none of ours, or not a group.
    virtual std::optional<unsigned> group_number(FileId file) = 0;
};

}  // namespace pinfold::uapi
