// The process that the engine lives in. Thread safe.
//
// read() and write() rest on guarded_copy(): the process's fault handlers must ask recover().
#pragma once

#include "host/process.hpp"

namespace pinfold::host {

// Whether devices may write to shared mappings of files on a disk: Linux refuses it since 6.5.
enum class TrackedFiles { refused, allowed };

class OwnProcess : public Process {
public:
    OwnProcess(LockedMemory::Source& source, PageSize host_page,
               TrackedFiles tracked_files = TrackedFiles::refused)
        : locked_memory_{source, host_page}, tracked_files_{tracked_files}
    {
    }

    Result<> read(Vaddr from, std::span<std::byte> into) override;
    Result<> write(Vaddr to, std::span<std::byte const> from) override;
    Result<> fault_in(VaddrRange range, Intent intent) override;
    LockedMemory& locked_memory() override { return locked_memory_; }
    std::byte* local(Vaddr vaddr) override;

private:
    LockedMemory locked_memory_;
    TrackedFiles tracked_files_;
};

}  // namespace pinfold::host
