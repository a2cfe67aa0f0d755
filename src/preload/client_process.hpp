// The client as the host's memory sees it: this process, without the BARs that are mapped into it.
// What lies in a BAR belongs to a device and is no page to pin (deviation: EFAULT). Thread safe.
#pragma once

#include "host/own_process.hpp"
#include "preload/bar_map.hpp"

namespace pinfold::preload {

class ClientProcess final : public host::OwnProcess {
public:
    // `bars` outlives the process.
    ClientProcess(host::LockedMemory::Source& source, PageSize host_page, Kernel kernel,
                  BarMap const& bars)
        : OwnProcess{source, host_page, kernel}, bars_{bars}
    {
    }

    Result<> fault_in(VaddrRange range, host::Intent intent) override
    {
        if (!bars_.empty() && bars_.overlaps(range)) return fail(Errno::fault);
        return OwnProcess::fault_in(range, intent);
    }

private:
    BarMap const& bars_;
};

}  // namespace pinfold::preload
