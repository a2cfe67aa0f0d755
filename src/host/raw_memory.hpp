// The memory system calls, made directly: the client's own munmap(), mremap() and madvise() may be
// interposed and lead back here, and what the engine does to its own memory is none of that.
// Values are as in the kernel's interface: an address or -errno never mixes with a Result by
// accident.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "base/result.hpp"
#include "base/unique_fd.hpp"

namespace pinfold::host::raw {

// 0, or -1 with errno.
inline long madvise(std::byte* start, std::size_t size, int advice)
{
    return ::syscall(SYS_madvise, start, size, advice);
}
inline long msync(std::byte* start, std::size_t size, int flags)
{
    return ::syscall(SYS_msync, start, size, flags);
}
inline long munmap(std::byte* start, std::size_t size)
{
    return ::syscall(SYS_munmap, start, size);
}
inline long munlock(std::byte* start, std::size_t size)
{
    return ::syscall(SYS_munlock, start, size);
}
inline long mprotect(std::byte* start, std::size_t size, int prot)
{
    return ::syscall(SYS_mprotect, start, size, prot);
}

// The memory at an address that came as a number.
inline std::byte* pointer(std::uint64_t address)
{
    return reinterpret_cast<std::byte*>(address);  // NOLINT(performance-no-int-to-ptr)
}
inline std::byte* pointer(long address) { return pointer(static_cast<std::uint64_t>(address)); }

// Anonymous private memory wherever there is room. nullptr: there is none.
inline std::byte* map_anonymous(std::size_t size, int prot)
{
    long const got = ::syscall(SYS_mmap, nullptr, size, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0L);
    return got == -1 ? nullptr : pointer(got);
}

// Address space without memory or any access. nullptr: there is no room.
inline std::byte* map_reserved(std::size_t size)
{
    long const got = ::syscall(SYS_mmap, nullptr, size, PROT_NONE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0L);
    return got == -1 ? nullptr : pointer(got);
}

// Moves the pages of [from, from + size) to wherever there is room; the range stays mapped, as if
// never touched. nullptr: the kernel refuses, nothing has moved.
inline std::byte* move_leaving_mapping(std::byte* from, std::size_t size)
{
    long const got = ::syscall(SYS_mremap, from, size, size, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0L);
    return got == -1 ? nullptr : pointer(got);
}

// The same, onto [to, to + size), which they replace. False: the kernel refuses.
inline bool move_onto_leaving_mapping(std::byte* from, std::size_t size, std::byte* to)
{
    return ::syscall(SYS_mremap, from, size, size, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP,
                     to) != -1;
}

// Maps the shared pages of [from, from + size) a second time. nullptr: not shared, or no room.
inline std::byte* map_again(std::byte* from, std::size_t size)
{
    long const got = ::syscall(SYS_mremap, from, 0L, size, MREMAP_MAYMOVE, 0L);
    return got == -1 ? nullptr : pointer(got);
}

// Moves the pages of [from, from + size) onto [to, to + size), which they replace. False: errno.
inline bool move_onto(std::byte* from, std::size_t size, std::byte* to)
{
    return ::syscall(SYS_mremap, from, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to) != -1;
}

inline UniqueFd open(char const* path, int flags)
{
    return UniqueFd{static_cast<int>(::syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0))};
}

}  // namespace pinfold::host::raw
