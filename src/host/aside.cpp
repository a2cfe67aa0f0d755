#include "host/aside.hpp"

#include "base/page_size.hpp"
#include "host/pinned_copy.hpp"
#include "host/raw_memory.hpp"

namespace pinfold::host {
namespace {

// The process may have taken rights away since the pin; a pin keeps them. What a file was opened
// without, mprotect() does not give.
void grant_rights(std::byte* aside, std::size_t size)
{
    if (raw::mprotect(aside, size, PROT_READ | PROT_WRITE) == 0) return;
    raw::mprotect(aside, size, PROT_READ);
}

// What the kernel moves in no way (huge pages) is copied; what is not there leaves a place that
// nobody can touch.
void take_part_aside(std::byte* from, std::byte* to)
{
    std::size_t const size = k4K.bytes();
    if (raw::move_onto_leaving_mapping(from, size, to)) {
        grant_rights(to, size);
    } else if (raw::msync(from, size, MS_ASYNC) == 0 &&
               raw::mprotect(to, size, PROT_READ | PROT_WRITE) == 0) {
        read_pinned(to, from, size);
    }
}

}  // namespace

std::byte* move_aside(std::byte* from, std::size_t size)
{
    // By letting go of it the process unlocks it. The kernel would keep counting it: its mremap()
    // takes VM_LOCKED off the mapping that is left and not its pages out of VmLck.
    raw::munlock(from, size);
    std::byte* const aside = raw::move_leaving_mapping(from, size);
    if (aside == nullptr) return nullptr;
    grant_rights(aside, size);
    return aside;
}

std::byte* move_parts_aside(std::byte* from, std::size_t size)
{
    std::byte* const aside = raw::map_anonymous(size, PROT_NONE);
    if (aside == nullptr) return nullptr;
    raw::munlock(from, size);
    for (std::size_t at = 0; at < size; at += k4K.bytes()) take_part_aside(from + at, aside + at);
    return aside;
}

std::byte* copy_aside(std::byte const* from, std::size_t size)
{
    std::byte* const aside = raw::map_anonymous(size, PROT_READ | PROT_WRITE);
    if (aside != nullptr) read_pinned(aside, from, size);
    return aside;
}

void bring_back(std::byte* aside, std::size_t size, std::byte* to)
{
    if (raw::move_onto(aside, size, to)) return;
    for (std::size_t at = 0; at < size; at += k4K.bytes()) {
        bool const there = raw::msync(to + at, k4K.bytes(), MS_ASYNC) == 0;
        if (there) raw::move_onto(aside + at, k4K.bytes(), to + at);
    }
    raw::munmap(aside, size);
}

void release_aside(std::byte* aside, std::size_t size) { raw::munmap(aside, size); }

}  // namespace pinfold::host
