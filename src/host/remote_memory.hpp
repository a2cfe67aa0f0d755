// Memory of another process that devices are to reach. It cannot be mapped here, so it gets places
// that stand for it: address space of ours without any access, which frames can be made of, and
// whose copies pinned_copy() sends through the other process's /proc/PID/mem.
//
// A place goes on standing for its page as long as this process lives; when the other has ended,
// copies fail. Nothing is known of what the other does to its memory: a page that it unmaps or
// replaces is gone for devices. Thread safe.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>

#include "base/address.hpp"
#include "base/unique_fd.hpp"

namespace pinfold::host {

class RemoteMemory {
public:
    // `memory`: the other process's /proc/self/mem, as it opened it.
    explicit RemoteMemory(UniqueFd memory) : memory_{std::move(memory)} {}
    ~RemoteMemory();
    RemoteMemory(RemoteMemory const&) = delete;
    RemoteMemory& operator=(RemoteMemory const&) = delete;

    // What stands for the byte at `vaddr`. nullptr: no room for it.
    std::byte* place(Vaddr vaddr);

private:
    UniqueFd memory_;
    std::mutex mutex_;
    std::map<std::uint64_t, std::byte*> windows_;  // by vaddr / kWindow
};

// Whether `place` stands for another process's memory. These three only inside a ReadSection.
bool is_remote(std::byte const* place);
// If it does: the number of bytes that were NOT copied is in `left`. False: it does not.
bool copy_from_remote(std::byte* into, std::byte const* place, std::size_t size, std::size_t& left);
bool copy_to_remote(std::byte* place, std::byte const* from, std::size_t size, std::size_t& left);

}  // namespace pinfold::host
