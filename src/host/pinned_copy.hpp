// Copies between a device and a pinned page. As guarded_copy(), but a right that the process has
// taken from itself with mprotect() since the pin does not stop them: a pin keeps the page, not the
// process's view of it (rule M-17). Whether the device may is the IOMMU's to decide, before.
//
// Return how many bytes were NOT copied: 0 on success. Fast where the memory is as it was pinned;
// some microseconds where it is not. Thread safe; nothing is allocated on the heap.
#pragma once

#include <cstddef>

namespace pinfold::host {

std::size_t read_pinned(void* into, std::byte const* from, std::size_t size);
std::size_t write_pinned(std::byte* to, void const* from, std::size_t size);

}  // namespace pinfold::host
