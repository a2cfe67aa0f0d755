#include "machine/disk_locks.hpp"

#include <fmt/format.h>

#include <iterator>

#include "devices/nvme/model.hpp"

namespace pinfold::machine {

Checked<std::vector<UniqueFd>> lock_disks(Description const& machine)
{
    std::vector<UniqueFd> all;
    for (auto const& entry : machine.devices) {
        if (entry.spec.model != devices::nvme::model().name()) continue;
        auto locks = devices::nvme::lock_disks(entry.spec);
        if (!locks) return std::unexpected{fmt::format("{}: {}", entry.where, locks.error())};
        std::ranges::move(*locks, std::back_inserter(all));
    }
    return all;
}

}  // namespace pinfold::machine
