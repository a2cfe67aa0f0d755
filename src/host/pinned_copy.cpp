#include "host/pinned_copy.hpp"

#include <algorithm>

#include "base/page_size.hpp"
#include "host/guarded_copy.hpp"
#include "host/raw_memory.hpp"
#include "host/remote_memory.hpp"

namespace pinfold::host {
namespace {

// Reads and writes /proc/self/mem as a debugger would, rights or none; private memory only for
// writing. Returns how many bytes were not copied.
std::size_t through_proc_mem(long call, int flags, void* ours, std::byte const* theirs,
                             std::size_t size)
{
    UniqueFd const memory = raw::open("/proc/self/mem", flags);
    auto* at = static_cast<std::byte*>(ours);
    while (memory && size != 0) {
        long const done = ::syscall(call, memory.get(), at, size, theirs);
        if (done <= 0) break;
        at += done;
        theirs += done;
        size -= static_cast<std::size_t>(done);
    }
    return size;
}

// Writes one page's part through a second mapping of it, which shared memory can have.
std::size_t through_second_mapping(std::byte* to, std::byte const* from, std::size_t size)
{
    auto const offset = reinterpret_cast<std::uintptr_t>(to) & k4K.mask();
    std::byte* const again = raw::map_again(to - offset, k4K.bytes());
    if (again == nullptr) return size;
    std::size_t left = size;
    if (raw::mprotect(again, k4K.bytes(), PROT_READ | PROT_WRITE) == 0) {
        left = guarded_copy(again + offset, from, size);
    }
    raw::munmap(again, k4K.bytes());
    return left;
}

}  // namespace

std::size_t read_pinned(void* into, std::byte const* from, std::size_t size)
{
    std::size_t const left = guarded_copy(into, from, size);
    if (left == 0) return 0;
    std::size_t const done = size - left;
    std::size_t remote_left = 0;
    if (copy_from_remote(static_cast<std::byte*>(into) + done, from + done, left, remote_left))
        return remote_left;
    return through_proc_mem(SYS_pread64, O_RDONLY, static_cast<std::byte*>(into) + done,
                            from + done, left);
}

std::size_t write_pinned(std::byte* to, void const* from, std::size_t size)
{
    auto* at = const_cast<std::byte*>(static_cast<std::byte const*>(from));
    std::size_t left = guarded_copy(to, at, size);
    std::size_t remote_left = 0;
    if (left != 0 && copy_to_remote(to + (size - left), at + (size - left), left, remote_left))
        return remote_left;
    while (left != 0) {
        auto const done = size - left;
        // Page by page: each page may be of another kind.
        std::size_t const piece = std::min<std::size_t>(
            left, k4K.bytes() - (reinterpret_cast<std::uintptr_t>(to + done) & k4K.mask()));
        std::size_t missed = guarded_copy(to + done, at + done, piece);
        if (missed == piece) {
            missed = through_proc_mem(SYS_pwrite64, O_RDWR, at + done, to + done, piece);
        }
        if (missed == piece) missed = through_second_mapping(to + done, at + done, piece);
        left -= piece - missed;
        if (missed != 0) break;
    }
    return left;
}

}  // namespace pinfold::host
