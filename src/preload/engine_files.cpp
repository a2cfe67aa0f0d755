// read(2), write(2) and their kin on descriptors of ours, and what such a descriptor looks like.
#include <fcntl.h>
#include <limits.h>

#include <algorithm>
#include <optional>

#include "host/guarded_copy.hpp"
#include "preload/engine.hpp"

namespace pinfold::preload {
namespace {

constexpr std::uint64_t kMostAtOnce = 0x7ffff000;          // MAX_RW_COUNT
constexpr std::uint64_t kPastUserMemory = 0x7ffffffff000;  // of x86-64

long refusal(Errno error) { return -number(error); }

// The bytes that a list of parts asks for, as the kernel counts them before it moves any. EINVAL: a
// negative size. EFAULT: the list, or a part, is no memory of the program's.
Result<iovec> part_at(iovec const* parts, long index)
{
    iovec part{};
    if (host::guarded_copy(&part, parts + index, sizeof part) != 0) return fail(Errno::fault);
    if (part.iov_len > static_cast<std::size_t>(SSIZE_MAX)) return fail(Errno::inval);
    auto const start = reinterpret_cast<std::uint64_t>(part.iov_base);
    if (start > kPastUserMemory || part.iov_len > kPastUserMemory - start)
        return fail(Errno::fault);
    return part;
}

Result<std::uint64_t> total(iovec const* parts, long count)
{
    std::uint64_t bytes = 0;
    if (count < 0 || count > IOV_MAX) return fail(Errno::inval);
    for (long i = 0; i < count; ++i)
        bytes = std::min(bytes + TRY(part_at(parts, i)).iov_len, kMostAtOnce);
    return bytes;
}

}  // namespace

// A file that cannot be read or written says so, but for a descriptor that was not opened for it.
long Engine::transfer(Way way, int fd, uapi::Call const& call)
{
    long const result = this->call(fd, call);
    if (result != refusal(Errno::inval)) return result;
    int const flags = ::fcntl(fd, F_GETFL);
    bool const known = flags >= 0 && (flags & O_PATH) == 0;
    bool const closed = (flags & O_ACCMODE) == (way == Way::in ? O_WRONLY : O_RDONLY);
    return known && closed ? refusal(Errno::badf) : result;
}

long Engine::pread(int fd, Vaddr buffer, std::uint64_t size, std::uint64_t offset)
{
    return transfer(
        Way::in, fd,
        {.op = uapi::Call::Op::read, .arg = buffer.raw(), .size = size, .offset = offset});
}

long Engine::pwrite(int fd, Vaddr buffer, std::uint64_t size, std::uint64_t offset)
{
    return transfer(
        Way::out, fd,
        {.op = uapi::Call::Op::write, .arg = buffer.raw(), .size = size, .offset = offset});
}

long Engine::read(int fd, Vaddr buffer, std::uint64_t size)
{
    return transfer(Way::in, fd,
                    {.op = uapi::Call::Op::read_next, .arg = buffer.raw(), .size = size});
}

long Engine::write(int fd, Vaddr buffer, std::uint64_t size)
{
    return transfer(Way::out, fd,
                    {.op = uapi::Call::Op::write_next, .arg = buffer.raw(), .size = size});
}

// A device has no operation for several parts, so the kernel moves one after the other, until one
// is not moved whole. It knows no flag then but that of polling (1), which it ignores.
long Engine::vectors(Way way, int fd, iovec const* parts, long count, off_t offset, int flags)
{
    constexpr int kHighPriority = 1;
    auto const at_once = [&](Vaddr buffer, std::uint64_t size, std::uint64_t at) {
        if (offset == -1) return way == Way::in ? read(fd, buffer, size) : write(fd, buffer, size);
        return way == Way::in ? pread(fd, buffer, size, at) : pwrite(fd, buffer, size, at);
    };
    if (offset < -1) return refusal(Errno::inval);
    auto const at = static_cast<std::uint64_t>(offset);
    auto const asked = total(parts, count);
    bool const unknown_flags = (flags & ~kHighPriority) != 0;
    // Whether there is anything to read at all; before Linux 6.12 the list comes first.
    bool const ask_file =
        asked ? *asked == 0 || unknown_flags : description_.kernel >= Kernel::v6_12;
    if (long const able = ask_file ? at_once(Vaddr{0}, 0, at) : 0; able < 0) return able;
    if (!asked) return refusal(asked.error());
    if (*asked == 0) return 0;
    if (unknown_flags) return refusal(Errno::opnotsupp);

    std::uint64_t moved = 0;
    for (long i = 0; i < count && moved < *asked; ++i) {
        auto const part = part_at(parts, i);
        if (!part) return moved != 0 ? static_cast<long>(moved) : refusal(part.error());
        std::uint64_t const size = std::min<std::uint64_t>(part->iov_len, *asked - moved);
        if (size == 0) continue;
        Vaddr const buffer{reinterpret_cast<std::uint64_t>(part->iov_base)};
        long const result = at_once(buffer, size, at + moved);
        if (result < 0) return moved != 0 ? static_cast<long>(moved) : result;
        moved += static_cast<std::uint64_t>(result);
        if (static_cast<std::uint64_t>(result) != size) break;
    }
    return static_cast<long>(moved);
}

// On Linux a device's descriptor is of the inode that all have which are not files.
int Engine::stand_in(int fd) const
{
    auto const node = nodes_.identify(fd);
    bool const device = node && node->kind == Node::Kind::device;
    return device && anonymous_ ? anonymous_.get() : fd;
}

}  // namespace pinfold::preload
