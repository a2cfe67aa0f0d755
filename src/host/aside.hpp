// Places in the engine's keeping for pages that a process lets go of while devices still reach
// them. Nothing here allocates from the heap: it runs inside the client's munmap(), which may be
// its allocator's.
#pragma once

#include <cstddef>

namespace pinfold::host {

// Takes the pages of [from, from + size) to a new place, as they are: other mappings of them still
// see what a device writes. The range at `from` stays mapped, and untouched. nullptr: the kernel
// moves no such range in one go (several mappings, huge pages, no room); nothing has changed but
// that it is not mlock()ed any more.
std::byte* move_aside(std::byte* from, std::size_t size);

// The same for one host page that consists of several mappings: each small page of it moves, or is
// copied where the kernel does not move it. A hole stays a hole. nullptr: no room.
std::byte* move_parts_aside(std::byte* from, std::size_t size);

// A copy in a new place. nullptr: no memory.
std::byte* copy_aside(std::byte const* from, std::size_t size);

// Undoes move_aside() and move_parts_aside().
void bring_back(std::byte* aside, std::size_t size, std::byte* to);

void release_aside(std::byte* aside, std::size_t size);

}  // namespace pinfold::host
