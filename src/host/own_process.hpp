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
        : mm_{std::make_shared<Mm>(*this, source, host_page)}, tracked_files_{tracked_files}
    {
    }
    ~OwnProcess() override { mm_->end(); }
    OwnProcess(OwnProcess const&) = delete;
    OwnProcess& operator=(OwnProcess const&) = delete;

    Result<> read(Vaddr from, std::span<std::byte> into) override;
    Result<> write(Vaddr to, std::span<std::byte const> from) override;
    Result<> fault_in(VaddrRange range, Intent intent) override;
    std::shared_ptr<Mm> const& mm() override { return mm_; }
    Task task() const override;
    std::byte* local(Vaddr vaddr) override;

private:
    std::shared_ptr<Mm> mm_;
    TrackedFiles tracked_files_;
};

}  // namespace pinfold::host
