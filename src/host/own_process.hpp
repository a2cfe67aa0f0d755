// The process that the engine lives in, with the memory semantics of one kernel. Thread safe.
//
// read() and write() rest on guarded_copy(): the process's fault handlers must ask recover().
#pragma once

#include "base/kernel.hpp"
#include "host/process.hpp"

namespace pinfold::host {

class OwnProcess : public Process {
public:
    OwnProcess(LockedMemory::Source& source, PageSize host_page, Kernel kernel = Kernel::v7_3)
        : mm_{std::make_shared<Mm>(*this, source, host_page)},
          host_page_{host_page},
          kernel_{kernel}
    {
    }
    ~OwnProcess() override { mm_->end(); }
    OwnProcess(OwnProcess const&) = delete;
    OwnProcess& operator=(OwnProcess const&) = delete;

    Result<> read(Vaddr from, std::span<std::byte> into) override;
    Result<> write(Vaddr to, std::span<std::byte const> from) override;
    Result<> fault_in(VaddrRange range, Intent intent) override;
    void for_each_foreign(VaddrRange range, Intent intent,
                          FunctionRef<void(Foreign const&)> visit) override;
    std::shared_ptr<Mm> const& mm() override { return mm_; }
    Task task() const override;
    std::byte* local(Vaddr vaddr) override;

private:
    Result<> fault_in_for_read(VaddrRange range);
    Result<> own_mixed_pages(VaddrRange range);

    std::shared_ptr<Mm> mm_;
    PageSize host_page_;
    Kernel kernel_;
};

}  // namespace pinfold::host
