// /proc/PID/status of this process, as Linux would write it: what is pinned for DMA counts in
// VmLck, on the same counter as what the program has locked itself (rule P-1).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace pinfold::preload {

// `status` with `bytes` more in the line VmLck; as it is where there is no such line.
std::string with_locked(std::string_view status, std::uint64_t bytes);

// `fd` is a descriptor of some process's status file, nothing read from it yet. Where it is this
// process's, the descriptor becomes one of a copy that with_locked() made; it stays as it is where
// there is no room for one.
void show_locked(int fd, std::uint64_t bytes);

}  // namespace pinfold::preload
