#include "host/aside.hpp"

#include "host/pinned_copy.hpp"
#include "host/raw_memory.hpp"

namespace pinfold::host {

std::byte* move_aside(std::byte* from, std::size_t size)
{
    // By letting go of it the process unlocks it. The kernel would keep counting it: its mremap()
    // takes VM_LOCKED off the mapping that is left and not its pages out of VmLck.
    raw::munlock(from, size);
    std::byte* const aside = raw::move_leaving_mapping(from, size);
    if (aside == nullptr) return nullptr;
    // The process may have taken rights away since the pin; a pin keeps them. What a file was
    // opened without, mprotect() does not give.
    if (raw::mprotect(aside, size, PROT_READ | PROT_WRITE) != 0) {
        raw::mprotect(aside, size, PROT_READ);
    }
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
    raw::move_onto(aside, size, to);
}

void release_aside(std::byte* aside, std::size_t size) { raw::munmap(aside, size); }

}  // namespace pinfold::host
