// The client as the host's memory sees it: this process, and the BARs that are mapped into it,
// whose pages are a device's (rules 3.3). Thread safe.
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
        if (bars_.empty() || !bars_.overlaps(range)) return OwnProcess::fault_in(range, intent);
        for (auto const& part : bars_.parts(range)) {
            if (!part.place) {
                TRY(OwnProcess::fault_in(part.range, intent));
                continue;
            }
            auto const& bar = *part.place;
            bool const allowed = bar.accessible && (intent == host::Intent::read || bar.writable);
            if (!allowed || bar.device == nullptr || !bar.device->decoded())
                return fail(Errno::fault);
        }
        return {};
    }

    void for_each_foreign(VaddrRange range, host::Intent intent,
                          FunctionRef<void(Foreign const&)> visit) override
    {
        if (bars_.empty() || !bars_.overlaps(range)) {
            OwnProcess::for_each_foreign(range, intent, visit);
            return;
        }
        for (auto const& part : bars_.parts(range)) {
            if (part.place)
                visit({part.range, part.place->paddr});
            else
                OwnProcess::for_each_foreign(part.range, intent, visit);
        }
    }

private:
    BarMap const& bars_;
};

}  // namespace pinfold::preload
