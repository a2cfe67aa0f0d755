#include "devices/nvme/disk.hpp"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

#include "devices/nvme/disk_file.hpp"

namespace pinfold::devices::nvme {
namespace {

constexpr std::size_t kMaxSegments = 1024;     // IOV_MAX
constexpr std::uint64_t kZeroStep = 64 << 20;  // bytes

Result<> errno_result() { return fail(static_cast<Errno>(errno)); }

template <class Call>
auto retry(Call call)
{
    for (;;) {
        auto const result = call();
        if (result >= 0 || errno != EINTR) return result;
    }
}

// What is left of `memory` after its first `done` bytes, at most kMaxSegments of it.
std::span<iovec const> after(std::span<iovec const> memory, std::uint64_t done,
                             std::vector<iovec>& storage)
{
    while (!memory.empty() && done >= memory.front().iov_len) {
        done -= memory.front().iov_len;
        memory = memory.subspan(1);
    }
    auto const count = std::min(memory.size(), kMaxSegments);
    if (done == 0) return memory.first(count);
    storage.assign(memory.begin(), memory.begin() + static_cast<std::ptrdiff_t>(count));
    storage.front().iov_base = static_cast<std::byte*>(storage.front().iov_base) + done;
    storage.front().iov_len -= done;
    return storage;
}

// Repeats a vectored call until all of `memory` is through. `call(segments, count, offset)`.
template <class Call>
Result<> transfer(std::span<iovec const> memory, std::uint64_t offset, Call call)
{
    std::uint64_t left = 0;
    for (auto const& segment : memory) left += segment.iov_len;
    std::vector<iovec> storage;
    for (std::uint64_t done = 0; left != 0;) {
        auto const part = after(memory, done, storage);
        auto const moved = retry([&] {
            return call(part.data(), static_cast<int>(part.size()),
                        static_cast<off_t>(offset + done));
        });
        if (moved < 0) return errno_result();
        if (moved == 0) return fail(Errno::io);
        done += static_cast<std::uint64_t>(moved);
        left -= static_cast<std::uint64_t>(moved);
    }
    return {};
}

Result<> fallocate_range(int file, int mode, std::uint64_t offset, std::uint64_t size)
{
    auto const done = retry([&] {
        return ::fallocate(file, mode | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                           static_cast<off_t>(size));
    });
    if (done != 0) return errno_result();
    return {};
}

Result<> write_zeros(int file, std::uint64_t offset, std::uint64_t size)
{
    alignas(4096) static constexpr std::array<std::byte, 64 * 1024> kZeros{};
    while (size != 0) {
        iovec const segment{const_cast<std::byte*>(kZeros.data()),
                            static_cast<std::size_t>(std::min<std::uint64_t>(size, kZeros.size()))};
        TRY(transfer({&segment, 1}, offset, [&](iovec const* segments, int count, off_t at) {
            return ::pwritev(file, segments, count, at);
        }));
        offset += segment.iov_len;
        size -= segment.iov_len;
    }
    return {};
}

Result<> zero_step(int file, std::uint64_t offset, std::uint64_t size, Disk::Space space)
{
    if (space == Disk::Space::deallocate &&
        fallocate_range(file, FALLOC_FL_PUNCH_HOLE, offset, size)) {
        return {};
    }
    if (fallocate_range(file, FALLOC_FL_ZERO_RANGE, offset, size)) return {};
    return write_zeros(file, offset, size);
}

}  // namespace

pci::Checked<Disk> Disk::open(std::string const& path, DiskAccess access)
{
    auto file = open_disk_file(path, access);
    if (!file) return std::unexpected{std::move(file.error())};
    return Disk{std::move(file->fd), file->size, access};
}

Result<> Disk::read(std::uint64_t offset, std::span<iovec const> memory)
{
    return transfer(memory, offset, [this](iovec const* segments, int count, off_t at) {
        // The plain call is the cheaper one, and most reads are of one piece.
        if (count == 1) return ::pread(file_.get(), segments->iov_base, segments->iov_len, at);
        return ::preadv(file_.get(), segments, count, at);
    });
}

Result<> Disk::write(std::uint64_t offset, std::span<iovec const> memory, Durability durability)
{
    if (access_ == DiskAccess::read_only) return fail(Errno::rofs);
    int const flags = durability == Durability::on_medium ? RWF_DSYNC : 0;
    return transfer(memory, offset, [&](iovec const* segments, int count, off_t at) {
        return ::pwritev2(file_.get(), segments, count, at, flags);
    });
}

Result<> Disk::zero(std::uint64_t offset, std::uint64_t size, Space space, GoesOn goes_on)
{
    if (access_ == DiskAccess::read_only) return fail(Errno::rofs);
    for (std::uint64_t done = 0; done < size; done += kZeroStep) {
        if (!goes_on()) return fail(Errno::intr);
        TRY(zero_step(file_.get(), offset + done, std::min(kZeroStep, size - done), space));
    }
    return {};
}

void Disk::discard(std::uint64_t offset, std::uint64_t size)
{
    if (access_ == DiskAccess::read_only || size == 0) return;
    (void)fallocate_range(file_.get(), FALLOC_FL_PUNCH_HOLE, offset, size);
}

Result<> Disk::flush()
{
    if (access_ == DiskAccess::read_only) return {};
    if (retry([this] { return ::fdatasync(file_.get()); }) != 0) return errno_result();
    return {};
}

}  // namespace pinfold::devices::nvme
